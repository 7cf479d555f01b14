package tunnel

import (
	"container/list"
	"context"
	"fmt"
	"log/slog"
	"net"
	"net/netip"
	"sync"
	"time"

	"signalbox/node/tunnel/link"
	"signalbox/proto/tunnelurl"
)

const (
	// glance is how long a connection from where a client is known that lets the
	// server speak first is waited for: a client that speaks first does so at
	// once.
	glance = 25 * time.Millisecond
	// maxKnown bounds the addresses of which it is remembered what they speak.
	maxKnown = 4096
)

// expecting is what a wire's server may have: it says whether a client at that
// address has introduced itself, so that connections of it are to come.
type expecting interface {
	Expects(ip netip.Addr) bool
}

// A door hands connections at the tunnel's port to the wire's server whose
// language they speak. Strangers keep nobody waiting: everyone is listened to at
// once, and of too many who have not shown the key the oldest is sent away.
type door struct {
	*run
	servers map[tunnelurl.Wire]Server

	mu      sync.Mutex                    // guards what follows
	unknown *list.List                    // of *link.Conn that are not Known, the oldest first
	known   map[netip.Addr]tunnelurl.Wire // what was spoken last at an address, of 1.4 and 1.14
}

// newDoor returns a door to some servers.
func newDoor(r *run, servers map[tunnelurl.Wire]Server) *door {
	return &door{run: r, servers: servers, unknown: list.New(), known: map[netip.Addr]tunnelurl.Wire{}}
}

// serve accepts connections until ctx ends, and waits for them.
func (d *door) serve(ctx context.Context, l *net.TCPListener) error {
	var open sync.WaitGroup
	defer open.Wait()
	for {
		c, err := d.accept(ctx, l)
		if err != nil {
			return err
		}
		unknown := link.NewConn(c)
		leave := d.enter(unknown) // in the order in which they came
		unknown.OnKnown(leave)
		open.Go(func() {
			defer leave()
			d.let(ctx, unknown)
		})
	}
}

// let lets one connection in, and returns when its server is done with it.
func (d *door) let(ctx context.Context, c *link.Conn) {
	w, ok := d.url.Wire, true
	if w == tunnelurl.Auto {
		w, ok = d.identify(ctx, c)
	}
	s := d.servers[w]
	if !ok || s == nil {
		if ctx.Err() == nil {
			d.log.user(slog.LevelDebug, fmt.Sprintf("Connection of %s closed: it did not say what it is", c.RemoteAddr()))
		}
		_ = c.Close()
		return
	}
	s.Handle(ctx, c)
}

// identify finds out what a connection speaks.
func (d *door) identify(ctx context.Context, c *link.Conn) (tunnelurl.Wire, bool) {
	defer context.AfterFunc(ctx, func() { _ = c.Close() })()
	defer func() { _ = c.SetReadDeadline(time.Time{}) }()
	ip, until := ipOf(c.RemoteAddr()), time.Now().Add(d.cfg.Introduction)
	for n, wait := 1, glance; ; wait = min(2*wait, 10*glance) {
		next := time.Now().Add(wait)
		if n > 1 || next.After(until) {
			next = until
		}
		_ = c.SetReadDeadline(next)
		first, err := c.Peek(n)
		if w, known := recognise(first); known {
			return d.learn(ip, first[0], w), ctx.Err() == nil
		}
		switch n = len(first) + 1; {
		case err == nil:
		case len(first) > 0 || !timedOut(err) || ctx.Err() != nil:
			return "", false
		case d.speaks(ip) != "":
			return d.speaks(ip), true
		case !time.Now().Before(until):
			return "", false
		}
	}
}

// timedOut says whether err is that nothing came in time.
func timedOut(err error) bool {
	t, ok := err.(net.Error) //nolint:errorlint // Peek returns what Read did
	return ok && t.Timeout()
}

// enter counts a connection among those nobody knows, and sends the oldest away
// when there are too many. leave takes it out, and may be called again.
func (d *door) enter(c *link.Conn) (leave func()) {
	d.mu.Lock()
	defer d.mu.Unlock()
	e := d.unknown.PushBack(c)
	if d.unknown.Len() > d.cfg.Unknown {
		oldest := d.unknown.Front()
		_ = oldest.Value.(*link.Conn).Close()
		d.unknown.Remove(oldest)
	}
	return func() {
		d.mu.Lock()
		defer d.mu.Unlock()
		d.unknown.Remove(e) // nothing, if it was sent away
	}
}

// learn notes what is spoken at an address, and returns the wire of a
// connection of it that began with first and looks like w.
func (d *door) learn(ip netip.Addr, first byte, w tunnelurl.Wire) tunnelurl.Wire {
	const handshake = 0x16 // of TLS
	if w == tunnelurl.V1_4 && first == handshake {
		if known := d.speaks(ip); known != "" {
			return known
		}
		return w
	}
	if w == tunnelurl.V1_4 || w == tunnelurl.V1_14 {
		d.mu.Lock()
		defer d.mu.Unlock()
		if len(d.known) >= maxKnown {
			clear(d.known)
		}
		d.known[ip] = w
	}
	return w
}

// speaks is the wire of connections that do not introduce themselves, empty
// where none are expected. The servers know best who has introduced itself.
func (d *door) speaks(ip netip.Addr) tunnelurl.Wire {
	d.mu.Lock()
	last := d.known[ip]
	d.mu.Unlock()
	for _, w := range []tunnelurl.Wire{last, tunnelurl.V1_4, tunnelurl.V1_14} {
		if s, ok := d.servers[w].(expecting); ok && s.Expects(ip) {
			return w
		}
	}
	if _, ok := d.servers[last].(expecting); ok {
		return "" // it said that it does not
	}
	return last
}
