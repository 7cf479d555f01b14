package wirebox

import (
	"encoding/binary"
	"errors"
	"io"
	"net"
	"sync"
	"sync/atomic"
	"time"

	"github.com/hashicorp/yamux"

	"signalbox/node/tunnel/link"
)

const (
	// frameBytes is how much of a connection one frame holds at most.
	frameBytes = 32 << 10
	// drainTimeout is how long a stream that was closed here waits for the peer
	// to close it too.
	drainTimeout = 10 * time.Second
)

// frames are buffers for one frame with its length.
var frames = sync.Pool{New: func() any { b := make([]byte, 2+frameBytes); return &b }}

// errGone says that nobody at the peer wants what is written.
var errGone = errors.New("the other end has closed the connection")

// newStream returns the stream of a kind on a yamux stream.
func newStream(s *session, raw *yamux.Stream, kind link.Kind) link.Stream {
	half := half{session: s, raw: raw}
	if kind == link.UDP {
		return newDatagrams(&half)
	}
	return &stream{half: &half}
}

// half is what streams of both kinds have: the yamux stream, closed once.
type half struct {
	session *session
	raw     *yamux.Stream
	once    sync.Once
	closed  atomic.Bool
	busy    atomic.Bool // see session.rest
	// reading is held by whoever reads raw: two who do at the same time can lock
	// each other out for good there.
	reading sync.Mutex
}

// read reads raw by itself.
func (h *half) read(f func() (int, error)) (int, error) {
	h.reading.Lock()
	defer h.reading.Unlock()
	if h.closed.Load() {
		return 0, net.ErrClosed
	}
	n, err := f()
	h.session.wasRead(h)
	return n, err
}

// close ends the stream. What the peer still sends is thrown away, for a while,
// so that it is not left waiting.
func (h *half) close() {
	h.once.Do(func() {
		h.closed.Store(true)
		_ = h.raw.SetDeadline(time.Unix(1, 0)) // whoever waits to read or write gives up
		_ = h.raw.Close()
		h.session.run(func() {
			h.reading.Lock()
			defer h.reading.Unlock()
			_ = h.raw.SetReadDeadline(time.Now().Add(drainTimeout))
			_, _ = io.Copy(io.Discard, h.raw)
		})
	})
}

// A stream is a TCP connection.
type stream struct {
	*half

	// Read's alone.
	left  int // of the frame that is being read
	ended bool

	lost atomic.Bool // the peer takes nothing any more

	mu   sync.Mutex // guards what follows, and one writer at a time
	said bool       // that nothing more is written
}

// Read implements [link.Stream].
func (s *stream) Read(p []byte) (int, error) {
	if s.ended { // and watch reads on
		return 0, io.EOF
	}
	return s.read(func() (int, error) { return s.frame(p) })
}

// frame reads more of the frame that is being read, or of the next.
func (s *stream) frame(p []byte) (int, error) {
	if s.left == 0 {
		var head [2]byte
		if _, err := io.ReadFull(s.raw, head[:]); err != nil {
			return 0, broken(err)
		}
		if s.left = int(binary.BigEndian.Uint16(head[:])); s.left == 0 {
			s.ended = true
			s.session.run(s.watch)
			return 0, io.EOF
		}
	}
	n, err := s.raw.Read(p[:min(len(p), s.left)])
	s.left -= n
	if err != nil {
		err = broken(err)
	}
	return n, err
}

// broken is what an end of the yamux stream in the middle is.
func broken(err error) error {
	if errors.Is(err, io.EOF) {
		return io.ErrUnexpectedEOF
	}
	return err
}

// watch waits, behind the end of what the peer sends, for the end of what it
// takes. Whoever still writes then has nobody to write to.
func (s *stream) watch() {
	var b [1]byte
	_, _ = s.read(func() (int, error) { return s.raw.Read(b[:]) })
	s.lost.Store(true)
	_ = s.raw.SetWriteDeadline(time.Unix(1, 0))
}

// Write implements [link.Stream].
func (s *stream) Write(p []byte) (n int, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.said {
		return 0, io.ErrClosedPipe
	}
	frame := frames.Get().(*[]byte)
	defer frames.Put(frame)
	for len(p) > 0 {
		if s.lost.Load() {
			return n, errGone
		}
		some := min(len(p), frameBytes)
		binary.BigEndian.PutUint16(*frame, uint16(some))
		copy((*frame)[2:], p[:some])
		if _, err := s.raw.Write((*frame)[:2+some]); err != nil {
			return n, gone(err)
		}
		n, p = n+some, p[some:]
	}
	return n, nil
}

// gone is what a deadline for writing means, which nothing else sets.
func gone(err error) error {
	if errors.Is(err, yamux.ErrTimeout) {
		return errGone
	}
	return err
}

// CloseWrite implements [link.Stream].
func (s *stream) CloseWrite() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.said {
		return nil
	}
	s.said = true
	_, err := s.raw.Write([]byte{0, 0})
	return gone(err)
}

// Close implements [link.Stream].
func (s *stream) Close() error {
	s.close()
	return nil
}
