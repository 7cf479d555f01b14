package upstream

import (
	"errors"
	"io"
	"sync"
	"time"
)

// errSendingOver is what net/http reads from a request body once its exchange
// is over.
var errSendingOver = errors.New("the exchange is over")

// A sending is the request body as net/http reads it. It remembers whether the
// client or the upstream broke off, keeps net/http from touching the client's
// body before it may and after the exchange is over, and ends a read that
// still waits for the client then.
type sending struct {
	src io.ReadCloser
	// onEnd is called when src is read to its end.
	onEnd func()
	// may is closed when reading may begin; nil means at once. The fields
	// after it are in use only beside it.
	may     chan struct{}
	mayOnce sync.Once
	wait    *time.Timer   // closes may, if nothing else does
	over    chan struct{} // closed when no more will be read

	mu      sync.Mutex // guards what follows
	touched bool       // a read of src has begun, so it cannot be sent again
	reading bool       // a read of src is going on
	left    int64      // bytes until src's end; negative when not known
	atEnd   bool       // src was read to its end
	ended   bool       // no more will be read
	err     error      // how src failed, unless it was we who ended it
}

// newSending returns a sending of src, of the length a request's ContentLength
// says, that calls onEnd, maybe more than once, at src's end.
func newSending(src io.ReadCloser, length int64, onEnd func()) *sending {
	if length == 0 {
		length = -1 // as net/http has it, for a request with a body
	}
	return &sending{src: src, left: length, onEnd: onEnd}
}

// holdBack keeps src from being read until allow is called or d has passed. A
// server tells its client to go on when the body is first read, so this is
// what carries "Expect: 100-continue" from end to end (RFC 9110, section
// 10.1.1). It must be called before the first read.
func (s *sending) holdBack(d time.Duration) {
	s.may, s.over = make(chan struct{}), make(chan struct{})
	if d >= 0 {
		s.wait = time.AfterFunc(d, s.allow)
	}
}

// allow lets reading begin.
func (s *sending) allow() { s.mayOnce.Do(func() { close(s.may) }) }

// Read reads from the client's body.
func (s *sending) Read(p []byte) (int, error) {
	if s.may != nil {
		select {
		case <-s.may:
		case <-s.over:
		}
	}
	s.mu.Lock()
	if s.ended {
		s.mu.Unlock()
		return 0, errSendingOver
	}
	s.touched, s.reading = true, true
	s.mu.Unlock()

	n, err := s.src.Read(p)

	s.mu.Lock()
	s.reading = false
	if s.left >= 0 {
		s.left = max(s.left-int64(n), 0)
	}
	switch {
	case err == io.EOF, s.left == 0: // the upstream may answer before the EOF is asked for
		s.atEnd = true
	case err != nil && !s.ended && s.err == nil:
		s.err = err
	}
	atEnd := s.atEnd
	s.mu.Unlock()
	if atEnd {
		s.onEnd()
	}
	return n, err
}

// Close is called by net/http when it wants no more.
func (s *sending) Close() error {
	s.end()
	return nil
}

// end makes sure that no read of the client's body begins, and ends one that
// is going on where the body knows how.
func (s *sending) end() {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.ended {
		return
	}
	s.ended = true
	if s.over != nil {
		close(s.over)
	}
	if s.wait != nil {
		s.wait.Stop()
	}
	if !s.reading {
		return
	}
	if d, ok := s.src.(interface{ SetReadDeadline(time.Time) error }); ok {
		_ = d.SetReadDeadline(time.Unix(1, 0)) // long past; if it fails, the read ends with the client
	}
}

// state returns whether src was touched, was read to its end, and how it failed.
func (s *sending) state() (touched, atEnd bool, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.touched, s.atEnd, s.err
}
