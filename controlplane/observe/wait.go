package observe

import (
	"context"
	"errors"
	"slices"
	"time"

	"signalbox/store"
)

// A wait is for nodes to serve a version.
type wait struct {
	version store.Version
	pending int           // nodes that are waited for
	done    chan struct{} // closed when there are none left
}

// A Standing is who serves a version.
type Standing struct {
	Live, Serving int
	// Lagging are the live nodes that do not serve it, in order of names.
	Lagging []string
}

// fair is the shortest wait that says something of a node that missed it: one of
// a second, with what goes by before it begins. Who gives up sooner learns how
// things stand, and changes nothing for others.
const fair = 900 * time.Millisecond

// Wait waits until every node that is live and not lagging now serves a
// version, or is live no more, or until ctx ends. When a fair wait ended at its
// deadline, whoever missed it is lagging until it serves the version. It
// returns how things stand then.
func (ns *Nodes) Wait(ctx context.Context, v store.Version) Standing {
	w, began := ns.begin(v), ns.now()
	defer func() { ns.waiting.took.Observe(ns.now().Sub(began).Seconds()) }()
	select {
	case <-w.done:
		return ns.Standing(v)
	case <-ctx.Done():
		ns.waiting.missed.Inc()
	}
	missed := errors.Is(ctx.Err(), context.DeadlineExceeded) && ns.now().Sub(began) >= fair
	ns.mu.Lock()
	for _, n := range ns.nodes {
		if i := slices.Index(n.waits, w); i >= 0 {
			n.waits = slices.Delete(n.waits, i, i+1)
			if missed && !n.lagging {
				n.lagging, n.missed = true, v
				ns.touch(n)
			}
		}
	}
	ns.mu.Unlock()
	return ns.Standing(v)
}

// begin registers a wait with the nodes it is for.
func (ns *Nodes) begin(v store.Version) *wait {
	ns.mu.Lock()
	defer ns.mu.Unlock()
	w := &wait{version: v, done: make(chan struct{})}
	for _, n := range ns.nodes {
		if !n.live() || n.lagging || n.serves(v) {
			continue
		}
		w.pending++
		at, _ := slices.BinarySearchFunc(n.waits, v.Revision, func(w *wait, rev store.Revision) int {
			return int(w.version.Revision - rev)
		})
		n.waits = slices.Insert(n.waits, at, w)
	}
	if w.pending == 0 {
		close(w.done)
	}
	return w
}

// served ends the waits for what a node serves by now, and reports whether it
// has caught up with what it lagged behind. ns.mu is held.
func (ns *Nodes) served(n *node) (caughtUp bool) {
	n.waits = slices.DeleteFunc(n.waits, func(w *wait) bool {
		if !n.serves(w.version) {
			return false
		}
		w.leave()
		return true
	})
	if caughtUp = n.lagging && n.serves(n.missed); caughtUp {
		n.lagging = false
	}
	return caughtUp
}

// settle ends all waits for a node that is live no more. ns.mu is held.
func (ns *Nodes) settle(n *node) {
	if n.live() {
		return
	}
	for _, w := range n.waits {
		w.leave()
	}
	n.waits, n.lagging = nil, false
}

func (w *wait) leave() {
	if w.pending--; w.pending == 0 {
		close(w.done)
	}
}

// Standing returns who serves a version now.
func (ns *Nodes) Standing(v store.Version) Standing {
	ns.mu.Lock()
	defer ns.mu.Unlock()
	var s Standing
	for name, n := range ns.nodes {
		if !n.live() {
			continue
		}
		s.Live++
		if n.serves(v) {
			s.Serving++
		} else {
			s.Lagging = append(s.Lagging, name)
		}
	}
	slices.Sort(s.Lagging)
	return s
}
