package tunnel

import (
	"context"
	"errors"
	"slices"
	"sync"
	"time"

	"signalbox/node/tunnel/link"
)

// openTimeout bounds how long one session may take to open a stream, the
// dialling of its targets included.
const openTimeout = 15 * time.Second

// errNoPeer says that a user came while there was no session.
var errNoPeer = errors.New("the other end of the tunnel is not there")

// sessions are those that users are given to, in turn. They are safe for
// concurrent use.
type sessions struct {
	patience time.Duration

	mu   sync.Mutex // guards what follows
	list []link.Session
	turn int
	more chan struct{} // closed, and replaced, when list has grown
}

// newSessions returns none, for which users wait for so long.
func newSessions(patience time.Duration) *sessions {
	return &sessions{patience: patience, more: make(chan struct{})}
}

// add gives users to s too, until remove is called.
func (ss *sessions) add(s link.Session) (remove func()) {
	ss.mu.Lock()
	defer ss.mu.Unlock()
	ss.list = append(ss.list, s)
	close(ss.more)
	ss.more = make(chan struct{})
	return func() {
		ss.mu.Lock()
		defer ss.mu.Unlock()
		ss.list = slices.DeleteFunc(ss.list, func(o link.Session) bool { return o == s })
	}
}

// inTurn returns all sessions, the one whose turn it is first, and a channel
// that is closed when there are more.
func (ss *sessions) inTurn() ([]link.Session, <-chan struct{}) {
	ss.mu.Lock()
	defer ss.mu.Unlock()
	if len(ss.list) == 0 {
		return nil, ss.more
	}
	ss.turn = (ss.turn + 1) % len(ss.list)
	return slices.Concat(ss.list[ss.turn:], ss.list[:ss.turn]), ss.more
}

// open opens a stream for a user on one session, the next one where that fails.
// Where there is none, or all have just ended, it waits for a moment.
func (ss *sessions) open(ctx context.Context, kind link.Kind, user string) (link.Stream, error) {
	patience := time.NewTimer(ss.patience)
	defer patience.Stop()
	for {
		list, more := ss.inTurn()
		var failed error
		for _, s := range list {
			stream, err := openOn(ctx, s, kind, user)
			if err == nil {
				return stream, nil
			}
			if ctx.Err() != nil {
				return nil, context.Cause(ctx)
			}
			if !errors.Is(err, link.ErrEnded) {
				failed = err
			}
		}
		if failed != nil {
			return nil, failed
		}
		select {
		case <-more:
		case <-patience.C:
			return nil, errNoPeer
		case <-ctx.Done():
			return nil, context.Cause(ctx)
		}
	}
}

// openOn opens a stream on one session.
func openOn(ctx context.Context, s link.Session, kind link.Kind, user string) (link.Stream, error) {
	ctx, cancel := context.WithTimeout(ctx, openTimeout)
	defer cancel()
	return s.Open(ctx, kind, user)
}
