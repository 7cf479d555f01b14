package main

import (
	"context"
	"io"
	"net"
	"net/netip"
	"sync"
	"sync/atomic"
	"time"

	"signalbox/bench/program"
)

// The first byte of a connection tells the target what to do with it, once it
// has sent it back.
const (
	// sinks throws away what comes.
	sinks = 'u'
	// pours sends as much as it can.
	pours = 'd'
	// answers waits until it is closed.
	answers = 'e'
)

// chunk is how much is written and read at a time, in bytes.
const chunk = 128 << 10

// A target is what is at the far end, for TCP and UDP at one port.
type target struct {
	tcp     *net.TCPListener
	udp     *net.UDPConn
	moved   *atomic.Int64 // bytes that sinks have read, and users
	serving atomic.Int64  // connections
	running sync.WaitGroup
	mu      sync.Mutex
	open    map[net.Conn]bool
}

// newTarget starts one.
func newTarget(ctx context.Context, moved *atomic.Int64) (*target, error) {
	addr, err := program.FreeAddr(ctx)
	if err != nil {
		return nil, err
	}
	at := netip.MustParseAddrPort(addr)
	l, err := net.ListenTCP("tcp", net.TCPAddrFromAddrPort(at))
	if err != nil {
		return nil, err
	}
	u, err := net.ListenUDP("udp", net.UDPAddrFromAddrPort(at))
	if err != nil {
		_ = l.Close()
		return nil, err
	}
	_ = u.SetReadBuffer(4 << 20)
	t := &target{tcp: l, udp: u, moved: moved, open: map[net.Conn]bool{}}
	t.running.Go(t.accept)
	t.running.Go(t.reflect)
	return t, nil
}

func (t *target) addr() string { return t.tcp.Addr().String() }

// close ends it.
func (t *target) close() {
	_ = t.tcp.Close()
	_ = t.udp.Close()
	t.mu.Lock()
	for c := range t.open {
		_ = c.Close()
	}
	t.mu.Unlock()
	t.running.Wait()
}

// settle waits, but not for long, until nobody is connected, so that the next
// measurement has nothing of this one.
func (t *target) settle() {
	for end := time.Now().Add(5 * time.Second); t.serving.Load() > 0 && time.Now().Before(end); {
		<-time.After(time.Millisecond)
	}
}

func (t *target) accept() {
	for {
		c, err := t.tcp.AcceptTCP()
		if err != nil {
			return
		}
		t.mu.Lock()
		t.open[c] = true
		t.mu.Unlock()
		t.serving.Add(1)
		t.running.Go(func() {
			t.serve(c)
			_ = c.Close()
			t.mu.Lock()
			delete(t.open, c)
			t.mu.Unlock()
			t.serving.Add(-1)
		})
	}
}

// serve does what the first byte says.
func (t *target) serve(c *net.TCPConn) {
	var first [1]byte
	if _, err := io.ReadFull(c, first[:]); err != nil {
		return
	}
	if _, err := c.Write(first[:]); err != nil {
		return
	}
	switch first[0] {
	case sinks:
		drink(c, t.moved)
	case pours:
		pour(c)
	case answers:
		_, _ = c.Read(first[:])
	}
}

// drink reads until it fails, and counts.
func drink(c net.Conn, moved *atomic.Int64) {
	buf := make([]byte, chunk)
	for {
		n, err := c.Read(buf)
		moved.Add(int64(n))
		if err != nil {
			return
		}
	}
}

// pour writes until it fails.
func pour(c net.Conn) {
	buf := make([]byte, chunk)
	for {
		if _, err := c.Write(buf); err != nil {
			return
		}
	}
}

// reflect sends every datagram back.
func (t *target) reflect() {
	buf := make([]byte, 64<<10)
	for {
		n, from, err := t.udp.ReadFromUDPAddrPort(buf)
		if err != nil {
			return
		}
		_, _ = t.udp.WriteToUDPAddrPort(buf[:n], from)
	}
}
