package e2e

import (
	"io"
	"net"
	"sync"
	"testing"
)

// A wire is a connection's way to an address through this test, which counts
// what it carries to the node, and can be cut.
type wire struct {
	addr string
	to   string

	mu      sync.Mutex
	carried int64 // bytes from the far end
	conns   map[net.Conn]bool
	cut     bool
}

func newWire(t *testing.T, to string) *wire {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	w := &wire{addr: ln.Addr().String(), to: to, conns: map[net.Conn]bool{}}
	var all sync.WaitGroup
	all.Go(func() {
		for {
			near, err := ln.Accept()
			if err != nil {
				return
			}
			all.Go(func() { w.join(near) })
		}
	})
	t.Cleanup(func() {
		_ = ln.Close()
		w.sever()
		all.Wait()
	})
	return w
}

// join carries one connection, both ways.
func (w *wire) join(near net.Conn) {
	defer func() { _ = near.Close() }()
	far, err := net.Dial("tcp", w.to)
	if err != nil {
		return
	}
	defer func() { _ = far.Close() }()
	w.mu.Lock()
	if w.cut {
		w.mu.Unlock()
		return
	}
	w.conns[near], w.conns[far] = true, true
	w.mu.Unlock()
	var other sync.WaitGroup
	other.Go(func() {
		_, _ = io.Copy(far, near)
		_ = far.Close()
	})
	_, _ = io.Copy(&counted{near, w}, far)
	_ = near.Close()
	other.Wait()
}

// counted counts what is written to a connection.
type counted struct {
	net.Conn
	w *wire
}

func (c *counted) Write(p []byte) (int, error) {
	c.w.mu.Lock()
	c.w.carried += int64(len(p))
	c.w.mu.Unlock()
	return c.Conn.Write(p)
}

// sever cuts all connections, and lets none through until mend.
func (w *wire) sever() {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.cut = true
	for c := range w.conns {
		_ = c.Close()
	}
	clear(w.conns)
}

func (w *wire) mend() {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.cut = false
}

func (w *wire) bytes() int64 {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.carried
}
