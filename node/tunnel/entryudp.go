package tunnel

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/netip"
	"sync"
	"sync/atomic"

	"signalbox/node/tunnel/link"
)

const (
	// maxUDPUsers bounds UDP sessions where the URL has no slots.
	maxUDPUsers = 16_384
	// maxQueue bounds the datagrams of a user that wait to be carried on; what
	// comes when it is full is lost, as datagrams are.
	maxQueue = 128
	// maxQueued bounds what waits of all users of a socket, in bytes.
	maxQueued = 4 << 20
	// small is the capacity of buffers that most datagrams fit into.
	small = 2048
)

// smalls are buffers of waiting datagrams that are not long.
var smalls = sync.Pool{New: func() any {
	b := make([]byte, 0, small)
	return &b
}}

// udpUsers are the users of one socket, each with a stream of its own.
type udpUsers struct {
	*entry
	socket *udpSocket
	queued atomic.Int64 // bytes that wait, of all users

	mu    sync.Mutex // guards what follows
	users map[netip.AddrPort]*udpUser
}

// newUDPUsers returns the users of a socket.
func newUDPUsers(e *entry, socket *net.UDPConn) *udpUsers {
	return &udpUsers{entry: e, socket: newUDPSocket(socket), users: map[netip.AddrPort]*udpUser{}}
}

// serve takes datagrams until ctx ends.
func (us *udpUsers) serve(ctx context.Context) error {
	var running sync.WaitGroup
	defer running.Wait()
	buf := make([]byte, link.MaxDatagram+1)
	for {
		n, told, from, err := us.socket.read(buf)
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
		if errors.Is(err, net.ErrClosed) {
			return err
		}
		if err != nil { // of a datagram that was sent, or one that did not fit
			us.log.repeat(slog.LevelWarn, "udp", fmt.Sprintf("Read of UDP failed: %v", err))
			continue
		}
		if u := us.take(buf[:n], told, from); u != nil {
			running.Go(func() { us.carry(ctx, u) })
		}
	}
}

// take queues a datagram, and returns its user if that is a new one.
func (us *udpUsers) take(d, told []byte, from netip.AddrPort) *udpUser {
	us.mu.Lock() // so that nothing is queued for a user who is removed
	defer us.mu.Unlock()
	u, fresh := us.user(from, told)
	if u == nil {
		return nil
	}
	u.put(d)
	if !fresh {
		return nil
	}
	return u
}

// user returns the user at an address, nil if there can be none more. told is
// what was said of the datagram. mu is held.
func (us *udpUsers) user(from netip.AddrPort, told []byte) (u *udpUser, fresh bool) {
	if u := us.users[from]; u != nil {
		return u, false
	}
	if len(us.users) >= maxUDPUsers || !us.slots.Take() {
		us.log.user(slog.LevelWarn, fmt.Sprintf("Datagrams of %s refused: %v", from, errFull))
		return nil, false
	}
	u = &udpUser{
		socket: us.socket, queued: &us.queued, from: from, answering: us.socket.answering(told),
		name:  netip.AddrPortFrom(from.Addr().Unmap(), from.Port()),
		queue: make(chan *[]byte, maxQueue), closed: make(chan struct{}),
	}
	us.users[from] = u
	return u, true
}

// carry serves a user until there was nothing for too long.
func (us *udpUsers) carry(ctx context.Context, u *udpUser) {
	defer us.slots.Give()
	defer us.remove(u)
	us.inst.Opened(link.UDP)
	defer us.inst.Closed(link.UDP)
	far, err := us.udp(ctx, u.name)
	if err != nil {
		if ctx.Err() == nil {
			us.log.user(slog.LevelWarn, fmt.Sprintf("Datagrams of %s lost: %s", u.name, reasonOf(err)))
		}
		return
	}
	us.log.detail("Starting transfer: %s", u.name)
	received, sent := us.counts(link.UDP)
	err = us.carrier.UDP(ctx, u, far, received, sent, us.lost(u.name))
	us.ended(ctx, link.UDP, u.name, err)
}

// lost returns what logs datagrams of a user that could not be carried on.
func (r *run) lost(user fmt.Stringer) func(error) {
	return func(err error) { r.log.user(slog.LevelWarn, fmt.Sprintf("Datagram of %s lost: %v", user, err)) }
}

// remove forgets a user, who is a new one with the next datagram, and what was
// still queued.
func (us *udpUsers) remove(u *udpUser) {
	us.mu.Lock()
	defer us.mu.Unlock()
	delete(us.users, u.from)
	if u.next != nil {
		u.release(u.next)
	}
	for {
		select {
		case b := <-u.queue:
			u.release(b)
		default:
			return
		}
	}
}

// A udpUser is the near side of one address's datagrams.
type udpUser struct {
	socket    *udpSocket
	queued    *atomic.Int64 // see udpUsers
	from      netip.AddrPort
	answering []byte         // see udpSocket
	name      netip.AddrPort // from, as people write it
	queue     chan *[]byte
	next      *[]byte // taken off queue, not yet read; the reader's alone
	closed    chan struct{}
	once      sync.Once
}

// put hands a datagram to whoever reads, or loses it.
func (u *udpUser) put(d []byte) {
	if u.queued.Load()+int64(max(small, len(d))) > maxQueued {
		return
	}
	b := smalls.Get().(*[]byte)
	*b = append((*b)[:0], d...)
	u.queued.Add(int64(cap(*b)))
	select {
	case u.queue <- b:
	default:
		u.release(b)
	}
}

// release gives up what put took.
func (u *udpUser) release(b *[]byte) {
	u.queued.Add(-int64(cap(*b)))
	if cap(*b) <= small {
		smalls.Put(b)
	}
}

// Next waits for a datagram and says how long it is.
func (u *udpUser) Next() (int, error) {
	if u.next == nil {
		select {
		case u.next = <-u.queue:
		case <-u.closed:
			return 0, io.EOF
		}
	}
	return len(*u.next), nil
}

// Read returns the next datagram.
func (u *udpUser) Read(p []byte) (int, error) {
	if _, err := u.Next(); err != nil {
		return 0, err
	}
	n := copy(p, *u.next)
	u.release(u.next)
	u.next = nil
	return n, nil
}

// Write sends a datagram to the user.
func (u *udpUser) Write(p []byte) (int, error) { return u.socket.write(p, u.answering, u.from) }

// Close ends Read.
func (u *udpUser) Close() error {
	u.once.Do(func() { close(u.closed) })
	return nil
}
