package pool

import (
	"fmt"
	"io"
	"sync"

	"signalbox/node/tunnel/link"
)

// A Life is how a session ends, with all that belongs to it. It is safe for
// concurrent use.
type Life struct {
	done   chan struct{}
	atEnd  func()
	ending sync.Once
	why    error // read after done

	mu      sync.Mutex
	closed  bool
	streams map[io.Closer]struct{}
	running sync.WaitGroup // added to while not closed
}

// NewLife returns one that has begun. atEnd is called once by whoever ends it,
// and must make what Spawn runs return.
func NewLife(atEnd func()) *Life {
	return &Life{done: make(chan struct{}), atEnd: atEnd, streams: map[io.Closer]struct{}{}}
}

// Done and Err are of link.Life.
func (l *Life) Done() <-chan struct{} { return l.done }

// Err is why it ended, nil where it did not or was closed.
func (l *Life) Err() error {
	select {
	case <-l.done:
		return l.why
	default:
		return nil
	}
}

// Gone is what is answered when it has ended.
func (l *Life) Gone() error {
	if why := l.Err(); why != nil {
		return fmt.Errorf("%w: %w", link.ErrEnded, why)
	}
	return link.ErrEnded
}

// End ends it, for the reason that comes first. Streams go on until Close: that
// a control connection was lost is no harm to them.
func (l *Life) End(why error) {
	l.ending.Do(func() {
		l.why = why
		close(l.done)
		l.atEnd()
	})
}

// Close ends it with all its streams, and waits for its goroutines.
func (l *Life) Close() error {
	l.End(nil)
	l.mu.Lock()
	l.closed = true
	for stream := range l.streams {
		// One inside TLS says goodbye, for which a peer that reads nothing can
		// let it wait.
		l.running.Go(func() { _ = stream.Close() })
	}
	l.mu.Unlock()
	l.running.Wait()
	return nil
}

// Spawn runs f on a goroutine that Close waits for; not when that has begun.
func (l *Life) Spawn(f func()) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.closed {
		return false
	}
	l.running.Go(f)
	return true
}

// Track remembers a stream, to close it, until Untrack; where it is too late it
// closes it at once and says no.
func (l *Life) Track(c io.Closer) bool {
	l.mu.Lock()
	closed := l.closed
	if !closed {
		l.streams[c] = struct{}{}
	}
	l.mu.Unlock()
	if closed {
		_ = c.Close()
	}
	return !closed
}

// Untrack forgets a stream that was closed.
func (l *Life) Untrack(c io.Closer) {
	l.mu.Lock()
	defer l.mu.Unlock()
	delete(l.streams, c)
}
