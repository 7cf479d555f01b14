package logs

import (
	"context"
	"errors"

	signalboxv1 "signalbox/proto/gen/signalbox/v1"
)

// maxQueue is how many lines wait for a follower at most, beside the tail that
// it began with.
const maxQueue = 1000

// ErrGone says that the instance that was followed is gone.
var ErrGone = errors.New("the instance is gone")

// A Follower is told what instances say. It belongs to one goroutine.
type Follower struct {
	hub      *Hub
	instance string // empty for all
	tail     []*signalboxv1.LogLine
	wake     chan struct{} // holds one

	// Guarded by Hub.mu.
	lines  []*signalboxv1.LogLine
	missed int64 // before the first of lines
	gone   bool
}

// queue hands a line to the follower. Hub.mu is held, here and in end.
func (f *Follower) queue(l *signalboxv1.LogLine) {
	if len(f.lines) >= maxQueue {
		f.lines[0] = nil
		f.lines = f.lines[1:]
		f.missed++
	}
	f.lines = append(f.lines, l)
	f.kick()
}

func (f *Follower) end() {
	f.gone = true
	f.kick()
}

func (f *Follower) kick() {
	select {
	case f.wake <- struct{}{}:
	default:
	}
}

// Next returns the next line, and how many before it were dropped since it was
// not asked for in time. It waits for one until ctx ends, and returns its cause
// then, or ErrGone when all was told that an instance said which is gone.
func (f *Follower) Next(ctx context.Context) (line *signalboxv1.LogLine, missed int64, err error) {
	if len(f.tail) > 0 {
		line, f.tail = f.tail[0], f.tail[1:]
		return line, 0, nil
	}
	for {
		line, missed, gone := f.take()
		switch {
		case line != nil:
			return line, missed, nil
		case gone:
			return nil, 0, ErrGone
		}
		select {
		case <-f.wake:
		case <-ctx.Done():
			return nil, 0, context.Cause(ctx)
		}
	}
}

// take removes the first line of the queue, if there is one.
func (f *Follower) take() (line *signalboxv1.LogLine, missed int64, gone bool) {
	f.hub.mu.Lock()
	defer f.hub.mu.Unlock()
	if len(f.lines) == 0 {
		return nil, 0, f.gone
	}
	line, missed = f.lines[0], f.missed
	f.lines[0], f.missed = nil, 0
	f.lines = f.lines[1:]
	return line, missed, false
}

// Close ends the following.
func (f *Follower) Close() {
	f.hub.mu.Lock()
	defer f.hub.mu.Unlock()
	delete(f.hub.followers, f)
}
