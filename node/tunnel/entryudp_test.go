package tunnel

import (
	"errors"
	"io"
	"net/netip"
	"testing"
)

// What waits is bounded in bytes over all users, and none of it is left when
// they are gone.
func TestWhatWaitsAtASocketIsBounded(t *testing.T) {
	us := &udpUsers{users: map[netip.AddrPort]*udpUser{}}
	long := make([]byte, 60_000)
	for i := range 10 {
		u := &udpUser{
			queued: &us.queued, from: netip.AddrPortFrom(netip.IPv6Loopback(), uint16(i)),
			queue: make(chan *[]byte, maxQueue), closed: make(chan struct{}),
		}
		us.users[u.from] = u
		for range maxQueue {
			u.put(long)
			u.put(long[:1])
		}
		if got := us.queued.Load(); got > maxQueued+maxQueued/16 || got < maxQueued/2 {
			t.Fatalf("%d bytes wait", got)
		}
	}
	buf := make([]byte, len(long))
	for _, u := range us.users {
		if len(u.queue) > 1 { // one is read, and one only looked at
			if n, err := u.Read(buf); err != nil || n != len(long) {
				t.Errorf("%d bytes, %v", n, err)
			}
			if n, err := u.Next(); err != nil || n != 1 {
				t.Errorf("%d bytes, %v", n, err)
			}
		}
		us.remove(u)
		_ = u.Close()
		if _, err := (&udpUser{queue: u.queue, closed: u.closed}).Next(); !errors.Is(err, io.EOF) {
			t.Errorf("reading ended by %v", err)
		}
	}
	if got := us.queued.Load(); got != 0 || len(us.users) != 0 {
		t.Errorf("%d bytes of %d users are left", got, len(us.users))
	}
}
