// Package logs keeps the last of what tunnel instances had to say, on whichever
// node they run, and hands it on to those who follow. It is kept in memory
// alone: nodes say it to every control plane.
//
// Nobody waits for a slow follower: what does not fit in its queue is dropped,
// the oldest first, and it is told how much that was.
package logs

import (
	"cmp"
	"slices"
	"strings"
	"sync"

	signalboxv1 "signalbox/proto/gen/signalbox/v1"
)

// What is kept: of an instance, of how many of them, of one line, and in all.
// Beyond that the oldest goes, of instances the one that has been quiet for
// longest.
const (
	MaxLines     = 500
	MaxBytes     = 64 << 10
	MaxInstances = 10_000
	MaxText      = 4096
	MaxTotal     = 64 << 20 // bytes, of all instances
	// Overhead is what a line counts as beside its text in MaxTotal: about what
	// it takes in memory.
	Overhead = 256 // bytes
)

// A Hub holds the logs of all instances. It is safe for concurrent use.
type Hub struct {
	mu        sync.Mutex
	rings     map[string]*ring
	seq       uint64 // counts lines
	bytes     int    // that all rings hold
	followers map[*Follower]struct{}
	heard     map[string]place // by node
}

// A place is how far a node's process was heard.
type place struct{ epoch, last int64 }

// New returns a Hub that has heard nothing.
func New() *Hub {
	return &Hub{rings: map[string]*ring{}, followers: map[*Follower]struct{}{}, heard: map[string]place{}}
}

// ring is what is kept of one instance. Guarded by Hub.mu.
type ring struct {
	lines []said // oldest first
	bytes int
}

// said is a line with its place among all. It is not changed any more.
type said struct {
	seq  uint64
	line *signalboxv1.LogLine
}

// Add takes in lines that a node's process says, in order. What was heard of it
// already, on an earlier stream, is left out.
func (h *Hub) Add(node string, epoch int64, lines []*signalboxv1.LogLine) {
	h.mu.Lock()
	defer h.mu.Unlock()
	heard := h.heard[node]
	if heard.epoch != epoch {
		heard = place{epoch: epoch}
	}
	for _, l := range lines {
		if l.GetInstance() == "" || l.GetPlace() != 0 && l.GetPlace() <= heard.last {
			continue
		}
		heard.last = l.GetPlace()
		h.seq++
		s := said{h.seq, &signalboxv1.LogLine{
			Instance: l.GetInstance(), Node: node, Time: l.GetTime(), Level: l.GetLevel(), Text: clip(l.GetText()),
			Place: l.GetPlace(),
		}}
		h.bytes += h.ring(l.GetInstance()).add(s)
		for h.bytes > MaxTotal {
			h.dropQuietest()
		}
		for f := range h.followers {
			if f.instance == "" || f.instance == l.GetInstance() {
				f.queue(s.line)
			}
		}
	}
	h.heard[node] = heard
}

// clip shortens a text to what is kept of one.
func clip(text string) string {
	if len(text) <= MaxText {
		return text
	}
	return strings.ToValidUTF8(text[:MaxText], "")
}

// ring returns the ring of an instance, new if need be. h.mu is held.
func (h *Hub) ring(instance string) *ring {
	if r, ok := h.rings[instance]; ok {
		return r
	}
	if len(h.rings) >= MaxInstances {
		h.dropQuietest()
	}
	r := &ring{}
	h.rings[instance] = r
	return r
}

// dropQuietest forgets the instance whose last line is the oldest. h.mu is held.
func (h *Hub) dropQuietest() {
	quietest, oldest := "", uint64(0)
	for name, r := range h.rings {
		if last := r.lines[len(r.lines)-1].seq; quietest == "" || last < oldest {
			quietest, oldest = name, last
		}
	}
	h.drop(quietest)
}

// drop forgets what an instance said. h.mu is held.
func (h *Hub) drop(instance string) {
	if r, ok := h.rings[instance]; ok {
		h.bytes -= r.held()
		delete(h.rings, instance)
	}
}

// held is how much memory the ring takes, in bytes.
func (r *ring) held() int { return r.bytes + Overhead*len(r.lines) }

// add returns by how many bytes what the ring holds grew.
func (r *ring) add(s said) (grown int) {
	before := r.held()
	r.lines = append(r.lines, s)
	r.bytes += size(s.line)
	for len(r.lines) > MaxLines || r.bytes > MaxBytes {
		r.bytes -= size(r.lines[0].line)
		r.lines[0] = said{}
		r.lines = r.lines[1:]
	}
	return r.held() - before
}

// size is what a line counts as, in bytes.
func size(l *signalboxv1.LogLine) int { return len(l.GetText()) + len(l.GetNode()) }

// Forget drops what an instance said that is gone, and ends those who follow it
// alone.
func (h *Hub) Forget(instance string) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.drop(instance)
	for f := range h.followers {
		if f.instance == instance {
			f.end()
		}
	}
}

// Follow begins to follow an instance, or all of them if it has no name, with
// at most tail lines of what is kept of each, in the order in which they were
// heard. The follower must be closed.
func (h *Hub) Follow(instance string, tail int) *Follower {
	h.mu.Lock()
	defer h.mu.Unlock()
	f := &Follower{hub: h, instance: instance, wake: make(chan struct{}, 1)}
	var kept []said
	for name, r := range h.rings {
		if instance == "" || name == instance {
			kept = append(kept, r.lines[max(0, len(r.lines)-tail):]...)
		}
	}
	slices.SortFunc(kept, func(a, b said) int { return cmp.Compare(a.seq, b.seq) })
	for _, s := range kept {
		f.tail = append(f.tail, s.line)
	}
	h.followers[f] = struct{}{}
	return f
}
