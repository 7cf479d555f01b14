package upstream

import (
	"errors"
	"io"
	"net"
	"sync"
	"sync/atomic"
	"syscall"
)

// A wire is the net.Conn that net/http is given. It is where the pool learns
// what net/http does not say: whether the upstream sent anything, how reading
// and writing ended, and that the connection is closed.
//
// Under HTTP/1.1 it lies above TLS, so that it counts HTTP and not records;
// under HTTP/2 it lies below TLS, since net/http wants the *tls.Conn itself.
type wire struct {
	net.Conn
	// onClose is called once, by the first Close. It may be called with locks
	// of net/http's held, so it must not call into the http.ClientConn.
	onClose func()
	closed  atomic.Bool
	// received counts bytes.
	received atomic.Int64
	// hearOut makes writes to an upstream that has stopped listening succeed.
	// An upstream that rejects an upload answers and closes; its answer can
	// still be read, but net/http would fail on the write before reading it.
	hearOut atomic.Bool
	// broken says that reading or writing has failed.
	broken atomic.Bool

	mu       sync.Mutex
	readErr  error // first error of reading that is not our own Close
	writeErr error // the same of writing
}

// Read reads and counts.
func (w *wire) Read(p []byte) (int, error) {
	n, err := w.Conn.Read(p)
	if n > 0 {
		w.received.Add(int64(n))
	}
	if err != nil {
		w.note(&w.readErr, err)
	}
	return n, err
}

// Write writes.
func (w *wire) Write(p []byte) (int, error) {
	n, err := w.Conn.Write(p)
	if err == nil {
		return n, nil
	}
	w.note(&w.writeErr, err)
	// Both errors mean that the upstream has closed, so reading ends too: what
	// it said before, and then its end, decide how the exchange goes.
	if w.hearOut.Load() && (errors.Is(err, syscall.EPIPE) || errors.Is(err, syscall.ECONNRESET)) {
		return len(p), nil
	}
	return n, err
}

// copyBuffers holds the buffers of ReadFrom, which net/http would otherwise
// allocate for every request with a body.
var copyBuffers = sync.Pool{New: func() any { return new([32 << 10]byte) }}

// ReadFrom sends what r holds.
func (w *wire) ReadFrom(r io.Reader) (int64, error) {
	buf := copyBuffers.Get().(*[32 << 10]byte)
	defer copyBuffers.Put(buf)
	var total int64
	for {
		n, err := r.Read(buf[:])
		if n > 0 {
			m, werr := w.Write(buf[:n])
			total += int64(m)
			if werr != nil {
				return total, werr
			}
		}
		if err == io.EOF {
			return total, nil
		}
		if err != nil {
			return total, err
		}
	}
}

// Close closes the connection and says so, once.
func (w *wire) Close() error {
	err := w.Conn.Close()
	if w.closed.CompareAndSwap(false, true) {
		w.onClose()
	}
	return err
}

// CloseWrite ends the sending direction, which a stream that was upgraded
// needs for its half-close.
func (w *wire) CloseWrite() error {
	if c, ok := w.Conn.(interface{ CloseWrite() error }); ok {
		return c.CloseWrite()
	}
	return errors.ErrUnsupported
}

// note keeps the first error in *at.
func (w *wire) note(at *error, err error) {
	if errors.Is(err, net.ErrClosed) {
		return // it was we who closed
	}
	w.broken.Store(true)
	w.mu.Lock()
	defer w.mu.Unlock()
	if *at == nil {
		*at = err
	}
}

// errs returns how reading and writing ended; nil where they did not.
func (w *wire) errs() (readErr, writeErr error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.readErr, w.writeErr
}
