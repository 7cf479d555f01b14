package tally

import (
	"maps"
	"slices"
	"sync/atomic"
	"time"

	"signalbox/controlplane/tally/checkpoint"
)

// baseID is the id of the source that stands for the base: what all folded
// processes carried.
const baseID = 0

// A source is one node process, or all that were folded.
type source struct {
	checkpoint.Process
	// id orders sources within a replica, and is never given twice.
	id uint32
	// chunks is in how many buckets the source has one.
	chunks atomic.Int32
	// present is whether the source has joined and not left.
	present atomic.Bool
	// refused is whether it was logged that its reports come too late.
	refused atomic.Bool

	// What follows is guarded by Book.mu.

	// joins is how many streams the process has to this replica.
	joins int
	// users is how many calls work with the source at this moment.
	users int
	// ended is whether the process said that it exits.
	ended bool
	// away is since when it has been known to be gone; zero if it is not.
	away time.Time
}

// acquire returns the source for a node process, new if need be, which stays
// what it is until release.
func (b *Book) acquire(node string, epoch int64) *source {
	b.mu.Lock()
	defer b.mu.Unlock()
	s := b.source(node, epoch)
	s.users++
	return s
}

func (b *Book) release(s *source) {
	b.mu.Lock()
	defer b.mu.Unlock()
	s.users--
}

// source returns the source for a node process, new if need be. b.mu is held.
func (b *Book) source(node string, epoch int64) *source {
	p := checkpoint.Process{Node: node, Epoch: epoch}
	s := b.sources[p]
	if s == nil {
		b.lastID++
		s = &source{Process: p, id: b.lastID}
		b.sources[p] = s
	}
	return s
}

// look updates since when each source has been gone, and forgets those that
// nothing has been left of for a while. It is how time enters the book.
func (b *Book) look(now time.Time, while time.Duration) {
	running := b.running()
	b.mu.Lock()
	defer b.mu.Unlock()
	for p, s := range b.sources {
		switch {
		case s.joins > 0 || running[s]:
			s.away = time.Time{}
		case s.away.IsZero():
			s.away = now
		}
		if !s.away.IsZero() && now.Sub(s.away) >= while && s.users == 0 && s.chunks.Load() == 0 {
			delete(b.sources, p)
		}
	}
}

// running returns the sources that have no stream to this replica and run
// nevertheless. The question is asked without a lock held, because the answer
// may need another's.
func (b *Book) running() map[*source]bool {
	if b.config.Running == nil {
		return nil
	}
	b.mu.Lock()
	var absent []*source
	for _, s := range b.sources {
		if s.joins == 0 {
			absent = append(absent, s)
		}
	}
	b.mu.Unlock()
	found := map[*source]bool{}
	for _, s := range absent {
		if b.config.Running(s.Node, s.Epoch) {
			found[s] = true
		}
	}
	return found
}

// gone returns the sources that have been gone for a while.
func (b *Book) gone(now time.Time, while time.Duration) []*source {
	b.mu.Lock()
	defer b.mu.Unlock()
	var found []*source
	for _, s := range b.sources {
		if !s.away.IsZero() && now.Sub(s.away) >= while {
			found = append(found, s)
		}
	}
	return found
}

// fed returns the sources that this replica feeds, and those that another
// does. The question is asked without a lock held, as running asks its.
func (b *Book) fed() (here, elsewhere map[*source]bool) {
	here, elsewhere = map[*source]bool{}, map[*source]bool{}
	if b.config.Feeder == nil {
		return here, elsewhere
	}
	b.mu.Lock()
	all := slices.Collect(maps.Values(b.sources))
	b.mu.Unlock()
	for _, s := range all {
		switch b.config.Feeder(s.Node, s.Epoch) {
		case "":
		case b.config.ID:
			here[s] = true
		default:
			elsewhere[s] = true
		}
	}
	return here, elsewhere
}

// due returns the sources that may be folded, and until when that has to be
// remembered: those that cannot come back, because they said that they exit or
// a newer process of their node is there, after settle, the others after lost.
func (b *Book) due(now time.Time, settle, lost time.Duration) map[*source]time.Time {
	b.mu.Lock()
	defer b.mu.Unlock()
	newest := map[string]int64{} // of the processes that are there
	for _, s := range b.sources {
		if s.away.IsZero() {
			newest[s.Node] = max(newest[s.Node], s.Epoch)
		}
	}
	found := map[*source]time.Time{}
	for _, s := range b.sources {
		wait, remember := lost, rememberLost
		if s.ended || s.Epoch < newest[s.Node] {
			wait, remember = settle, rememberFinal
		}
		if !s.away.IsZero() && now.Sub(s.away) >= wait {
			found[s] = now.Add(remember)
		}
	}
	return found
}
