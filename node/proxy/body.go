package proxy

import (
	"errors"
	"io"
	"net/http"
	"sync"
	"sync/atomic"
	"time"
)

// lingerTime is how long a client may go on sending a body that nobody reads
// any more. To close at once would make the kernel reset the connection, and
// the client might never see the answer (RFC 9112, section 9.6).
const (
	lingerTime  = 500 * time.Millisecond
	lingerBytes = 256 << 10
)

// A clientBody is a request's body on its way to an upstream. It is read by a
// goroutine of the upstream's connection.
type clientBody struct {
	x   *exchange
	src io.ReadCloser
	// trailer gets the client's trailers when the body has been read.
	trailer http.Header
	// expected says that the client waits for a 100 before it sends.
	expected bool
	atEnd    atomic.Bool
	use      uploading

	reading sync.Mutex // held while src is read
}

// newClientBody returns the body of x's request, which has one.
func newClientBody(x *exchange) *clientBody {
	b := &clientBody{x: x, src: x.r.Body, use: uploading{x: x}}
	if x.r.ContentLength < 0 { // a body of known length has no trailers
		b.trailer = make(http.Header, len(x.r.Trailer))
		for name := range x.r.Trailer {
			b.trailer[name] = nil // announced
		}
		x.clean(b.trailer)
	}
	if x.r.ProtoMajor == 1 {
		// An early answer must not wait for the whole body.
		if d, ok := x.w.(interface{ EnableFullDuplex() error }); ok {
			_ = d.EnableFullDuplex() // HTTP/1 can; what cannot need not
		}
		b.expected = x.r.ProtoAtLeast(1, 1) && hasToken(x.r.Header["Expect"], "100-continue")
	}
	return b
}

// Read reads what the client sends.
func (b *clientBody) Read(p []byte) (int, error) {
	if b.expected {
		b.expected = false
		b.goOn()
	}
	b.reading.Lock()
	n, err := b.src.Read(p)
	b.reading.Unlock()
	if n > 0 {
		b.x.gotten(n)
		b.use.came()
	}
	if errors.Is(err, io.EOF) && !b.atEnd.Load() {
		if b.trailer != nil {
			for name, values := range b.x.r.Trailer {
				b.trailer[name] = values
			}
			b.x.clean(b.trailer)
		}
		b.atEnd.Store(true)
	}
	return n, err
}

// goOn tells the client to send. net/http would by itself, but not in step with
// other informational responses.
func (b *clientBody) goOn() {
	b.x.early.Lock()
	defer b.x.early.Unlock()
	if !b.x.final {
		b.x.w.WriteHeader(http.StatusContinue)
	}
}

// Close does nothing: the body is the server's.
func (b *clientBody) Close() error { return nil }

// SetReadDeadline ends a read that waits for the client. It is called when the
// exchange with the upstream is over.
func (b *clientBody) SetReadDeadline(t time.Time) error {
	b.x.early.Lock()
	answered := b.x.final
	b.x.early.Unlock()
	if answered {
		t = time.Now().Add(lingerTime)
	}
	return b.deadline(t)
}

func (b *clientBody) deadline(t time.Time) error {
	if d, ok := b.x.w.(interface{ SetReadDeadline(time.Time) error }); ok {
		return d.SetReadDeadline(t)
	}
	return http.ErrNotSupported
}

// linger sends the answer and gives a client that still sends a moment to hear
// it, reading on for nobody. net/http would wait without a bound.
func (b *clientBody) linger() {
	if b.atEnd.Load() || b.x.r.ProtoMajor != 1 {
		return
	}
	if f, ok := b.x.w.(http.Flusher); ok {
		f.Flush()
	}
	if b.deadline(time.Now().Add(lingerTime)) != nil {
		return // the connection is gone
	}
	b.reading.Lock()
	defer b.reading.Unlock()
	_, _ = io.CopyN(io.Discard, b.src, lingerBytes) // whatever there is
}
