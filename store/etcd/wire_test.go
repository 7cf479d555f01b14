package etcd_test

import (
	"io"
	"net"
	"sync"
	"testing"
)

// A wire is a TCP connection to etcd that can be cut: the connections there
// are break, and new ones are not answered until it is mended.
type wire struct {
	l net.Listener

	// flow is locked for reading by what passes, and for writing while the
	// wire is held up: then nothing passes, and nobody is told.
	flow sync.RWMutex

	mu   sync.Mutex
	to   string                // guarded by mu
	open map[net.Conn]struct{} // guarded by mu
	// whole is closed while the wire is, and replaced when it is cut.
	whole chan struct{}
	done  chan struct{}
	wg    sync.WaitGroup
}

// newWire returns a wire to an address, until the test ends.
func newWire(t *testing.T, to string) *wire {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	w := &wire{l: l, to: to, open: map[net.Conn]struct{}{}, whole: make(chan struct{}), done: make(chan struct{})}
	close(w.whole)
	w.wg.Go(w.accept)
	t.Cleanup(func() {
		close(w.done)
		_ = l.Close()
		w.breakAll()
		w.wg.Wait()
	})
	return w
}

func (w *wire) addr() string { return w.l.Addr().String() }

func (w *wire) accept() {
	for {
		near, err := w.l.Accept()
		if err != nil {
			return
		}
		w.wg.Go(func() { w.carry(near) })
	}
}

// carry joins a connection to etcd, as soon as the wire is whole.
func (w *wire) carry(near net.Conn) {
	defer near.Close()
	w.mu.Lock()
	whole := w.whole
	w.mu.Unlock()
	select {
	case <-whole:
	case <-w.done:
		return
	}
	w.mu.Lock()
	to := w.to
	w.mu.Unlock()
	far, err := net.Dial("tcp", to)
	if err != nil {
		return
	}
	defer far.Close()
	if !w.keep(near, far) {
		return
	}
	var wg sync.WaitGroup
	for _, way := range [][2]net.Conn{{near, far}, {far, near}} {
		wg.Go(func() {
			_, _ = io.Copy(gate{way[0], &w.flow}, way[1])
			_ = near.Close()
			_ = far.Close()
		})
	}
	wg.Wait()
}

// gate is one way of a connection.
type gate struct {
	to   net.Conn
	flow *sync.RWMutex
}

func (g gate) Write(p []byte) (int, error) {
	g.flow.RLock()
	defer g.flow.RUnlock()
	return g.to.Write(p)
}

// keep remembers connections, to be broken when the wire is cut.
func (w *wire) keep(conns ...net.Conn) bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	select {
	case <-w.done:
		return false
	case <-w.whole:
	default:
		return false // cut meanwhile
	}
	for _, c := range conns {
		w.open[c] = struct{}{}
	}
	return true
}

func (w *wire) cut() {
	w.mu.Lock()
	w.whole = make(chan struct{})
	w.mu.Unlock()
	w.breakAll()
}

// lead changes where the wire, which is cut, leads when it is mended.
func (w *wire) lead(to string) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.to = to
}

func (w *wire) mend() {
	w.mu.Lock()
	defer w.mu.Unlock()
	close(w.whole)
}

func (w *wire) breakAll() {
	w.mu.Lock()
	defer w.mu.Unlock()
	for c := range w.open {
		_ = c.Close()
		delete(w.open, c)
	}
}
