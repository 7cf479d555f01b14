package node

import (
	"context"
	"errors"
	"time"

	signalboxv1 "signalbox/proto/gen/signalbox/v1"
)

// quietTime is how long nothing must have run on a node that is to stop once it
// is drained: who checks its readiness has noticed by then.
const quietTime = 5 * time.Second

// A wish is what operators want of this process.
type wish struct {
	drain   bool
	limited bool          // what runs may take only so long
	limit   time.Duration // from when the drain was first heard of
	stop    bool          // to exit once drained
}

// errInProcess is why a node rejects that it is wanted to stop.
var errInProcess = errors.New("wanted.stop_epoch: this node is part of a process that is more than a node, and ends with it")

// want takes note of what is wanted of the node, nil for nothing.
func (n *Node) want(w *signalboxv1.NodeWanted) error {
	next := wish{drain: w.GetDrain(), stop: w.GetStopEpoch() == n.epoch}
	if d := w.GetDrainTimeout(); d != nil {
		next.limited, next.limit = true, d.AsDuration()
	}
	if next.stop && n.conf.InProcess {
		return errInProcess
	}
	n.mu.Lock()
	before := n.wished
	n.wished = next
	n.mu.Unlock()
	if next == before {
		return nil
	}
	if next.drain != before.drain {
		n.log.Info("drain wanted", "drain", next.drain)
	}
	n.wanted.Store(next.drain)
	if !next.drain { // before anybody hears that it is ready
		n.proxy.Resume()
	}
	n.drain()
	select {
	case n.wake <- struct{}{}:
	default: // it has not looked yet
	}
	return nil
}

// drain makes the node call itself what it is. It is called for what operators
// want and for the end of the process, and says what holds of both.
func (n *Node) drain() {
	n.mu.Lock()
	defer n.mu.Unlock()
	draining := n.wanted.Load() || n.stopping.Load()
	n.draining.Store(draining)
	if c := n.client.Load(); c != nil {
		c.Drain(draining)
	}
}

// obey does what is wanted of the process until ctx ends or it is to stop. Then
// it returns how long what runs may still take.
func (n *Node) obey(ctx context.Context) (limit time.Duration, stop bool) {
	var (
		now   wish
		since time.Time // when the drain was first heard of
		ended bool      // the drain's time is over, and what runs was ended
		q     = quiet{node: n}
	)
	over := time.NewTimer(0) // of the drain's time
	over.Stop()
	defer over.Stop()
	tick := time.NewTicker(max(n.conf.quiet/10, time.Millisecond))
	defer tick.Stop()
	for {
		select {
		case <-n.wake:
			before := now
			n.mu.Lock()
			now = n.wished
			n.mu.Unlock()
			if !before.drain {
				since = time.Now()
			}
			over.Stop()
			ended = false
			n.proxy.Resume()
			if now.drain && now.limited {
				until := since.Add(now.limit)
				over.Reset(time.Until(until))
				n.log.Info("drain has an end", "until", until)
			}
			q.since = time.Now()
		case <-over.C:
			if now.stop {
				n.log.Info("drain is over, and the process is wanted to stop")
				return min(n.conf.DrainTimeout, farewell), true
			}
			// What began after it has as long, and at least a moment.
			before := time.Now()
			if ended {
				before = before.Add(-max(now.limit, n.conf.quiet))
			} else {
				n.log.Info("drain is over, what runs is ended")
			}
			ended = true
			n.proxy.EndRunning(before)
			over.Reset(n.conf.quiet / 5)
		case <-tick.C:
			if now.stop && q.long() {
				n.log.Info("drained, and the process is wanted to stop")
				return n.conf.DrainTimeout, true
			}
		case <-ctx.Done():
			return 0, false
		}
	}
}

// quiet tells how long nothing has run on a node.
type quiet struct {
	node  *Node
	since time.Time
	begun int64 // exchanges, when it was last looked
}

// long reports whether nothing has run for long enough. It must be asked often.
func (q *quiet) long() bool {
	if begun := q.node.proxy.Begun(); begun != q.begun || q.node.proxy.Running() > 0 {
		q.begun, q.since = begun, time.Now()
	}
	return time.Since(q.since) >= q.node.conf.quiet
}
