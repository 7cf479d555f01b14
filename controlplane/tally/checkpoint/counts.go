package checkpoint

import (
	"math"
	"time"

	"google.golang.org/protobuf/types/known/timestamppb"

	signalboxv1 "signalbox/proto/gen/signalbox/v1"
)

// Places in Counts.n. Five status classes follow the last.
const (
	requests = iota
	bytesReceived
	bytesSent
	nodeFailures
	statuses
	classes = 5
	fields  = statuses + classes
)

// Counts is what was carried: numbers that only grow, and the newest moment of
// activity. It holds no pointer, so that the garbage collector need not look
// at any number of them.
type Counts struct {
	n [fields]uint64
	// last is in nanoseconds since 1970; zero when nothing ever moved.
	last int64
}

// CountsOf reads counts as they are written on the wire. What makes no sense
// there is left out: a sixth status class, a moment that is none.
func CountsOf(c *signalboxv1.RouteCounters, last *timestamppb.Timestamp) Counts {
	var v Counts
	v.n[requests] = c.GetRequests()
	v.n[bytesReceived] = c.GetBytesReceived()
	v.n[bytesSent] = c.GetBytesSent()
	v.n[nodeFailures] = c.GetNodeFailures()
	copy(v.n[statuses:], c.GetStatuses())
	if s := last.GetSeconds(); s >= 0 && s < math.MaxInt64/int64(time.Second) && last.IsValid() {
		v.last = s*int64(time.Second) + int64(last.GetNanos())
	}
	return v
}

// Counters is the reverse of CountsOf.
func (c *Counts) Counters() *signalboxv1.RouteCounters {
	return &signalboxv1.RouteCounters{
		Requests:      c.n[requests],
		BytesReceived: c.n[bytesReceived],
		BytesSent:     c.n[bytesSent],
		Statuses:      append([]uint64(nil), c.n[statuses:]...),
		NodeFailures:  c.n[nodeFailures],
	}
}

// Places in Counts.n of what a tunnel instance carried.
const (
	tcpReceived = iota
	tcpSent
	udpReceived
	udpSent
)

// CountsOfInstance reads an instance's counts as CountsOf does a route's.
func CountsOfInstance(c *signalboxv1.InstanceCounters, last *timestamppb.Timestamp) Counts {
	v := CountsOf(nil, last)
	v.n[tcpReceived], v.n[tcpSent] = c.GetTcpReceived(), c.GetTcpSent()
	v.n[udpReceived], v.n[udpSent] = c.GetUdpReceived(), c.GetUdpSent()
	return v
}

// InstanceCounters is the reverse of CountsOfInstance.
func (c *Counts) InstanceCounters() *signalboxv1.InstanceCounters {
	return &signalboxv1.InstanceCounters{
		TcpReceived: c.n[tcpReceived], TcpSent: c.n[tcpSent], UdpReceived: c.n[udpReceived], UdpSent: c.n[udpSent],
	}
}

// Activity is the reverse of CountsOf; nil when nothing ever moved.
func (c *Counts) Activity() *timestamppb.Timestamp {
	if c.last == 0 {
		return nil
	}
	return timestamppb.New(time.Unix(0, c.last))
}

// Join raises c to what o has more of, and reports whether that was anything.
// Joining is how two views of one node process become one: in any order and
// any number of times, the result is the same.
func (c *Counts) Join(o *Counts) (grew bool) {
	for i, n := range o.n {
		if n > c.n[i] {
			c.n[i], grew = n, true
		}
	}
	if o.last > c.last {
		c.last, grew = o.last, true
	}
	return grew
}

// Add sums what two different node processes carried.
func (c *Counts) Add(o *Counts) {
	for i, n := range o.n {
		c.n[i] += n
	}
	c.last = max(c.last, o.last)
}

// Grow makes c, a sum with before in it, one with after in its place. After is
// before, raised.
func (c *Counts) Grow(before, after *Counts) {
	for i := range c.n {
		c.n[i] += after.n[i] - before.n[i]
	}
	c.last = max(c.last, after.last)
}
