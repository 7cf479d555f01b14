package feed

import (
	"cmp"
	"maps"
	"net"
	"slices"
	"time"

	signalboxv1 "signalbox/proto/gen/signalbox/v1"
)

// A link is one address at which a control plane is, or may be.
type link struct {
	// addr is what is dialed, "host:port", and host what a certificate there
	// must be for.
	addr, host string
	// stream is the number of the attempt that runs, 0 when none does.
	stream int
	// replica is whom the address last led to, empty while that is unknown.
	replica string
	// parked is a replica to which another link leads. The address is not
	// tried while that one does its work.
	parked string
	// due is when to try next, while no attempt runs.
	due time.Time
	// fails counts attempts since the last Welcome.
	fails int
	// err is why the last attempt ended, nil when it has not.
	err error
	// wanted is when the address was last among those named.
	wanted time.Time
}

// links are all addresses, by address. What is named by operators or by
// control planes is tried again and again; what is named no more is dropped
// once it could not be reached for a while.
type links struct {
	all map[string]*link
	// seeds are the addresses behind each seed, as last resolved.
	seeds map[string][]string
	// members are as a control plane last named them.
	members []*signalboxv1.Member
}

// refresh makes links of all addresses that are named, and drops those that
// have not been for longer than forget.
func (l *links) refresh(now time.Time, forget time.Duration) {
	for seed, addrs := range l.seeds {
		host, _, _ := net.SplitHostPort(seed)
		for _, addr := range addrs {
			l.want(addr, host, "", now)
		}
	}
	for _, m := range l.members {
		if host, _, err := net.SplitHostPort(m.GetAddress()); err == nil {
			l.want(m.GetAddress(), host, m.GetId(), now)
		}
	}
	maps.DeleteFunc(l.all, func(_ string, k *link) bool { return k.stream == 0 && now.Sub(k.wanted) > forget })
}

// want takes note that an address is named, by a member's id if it is known.
func (l *links) want(addr, host, replica string, now time.Time) {
	k := l.all[addr]
	if k == nil {
		k = &link{addr: addr, host: host, due: now, parked: replica}
		l.all[addr] = k
	}
	k.wanted = now
}

// due returns the links to try now, in order of their addresses, and when the
// next one is due; zero when none waits.
func (l *links) due(now time.Time) (try []*link, next time.Time) {
	for _, addr := range slices.Sorted(maps.Keys(l.all)) {
		k := l.all[addr]
		switch {
		case k.stream != 0:
		case k.due.After(now):
			if next.IsZero() || k.due.Before(next) {
				next = k.due
			}
		case !l.held(k):
			k.parked = ""
			try = append(try, k)
		}
	}
	return try, next
}

// held reports whether another link leads to the replica that k is parked
// for, or did until just now and has not failed to since.
func (l *links) held(k *link) bool {
	if k.parked == "" {
		return false
	}
	for _, o := range l.all {
		if o != k && o.replica == k.parked && o.parked == "" && o.fails == 0 {
			return true
		}
	}
	return false
}

// of is the link of a stream, nil when it is no more.
func (l *links) of(stream int) *link {
	for _, k := range l.all {
		if k.stream == stream {
			return k
		}
	}
	return nil
}

// tried reports whether every link was tried and none is being tried for the
// first time.
func (l *links) tried() bool {
	for _, k := range l.all {
		if k.fails == 0 && k.replica == "" && !l.held(k) {
			return false
		}
	}
	return true
}

// sorted are all links in order of their addresses.
func (l *links) sorted() []*link {
	return slices.SortedFunc(maps.Values(l.all), func(a, b *link) int { return cmp.Compare(a.addr, b.addr) })
}
