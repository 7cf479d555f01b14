//go:build e2e

package faults

import (
	"cmp"
	"context"
	"fmt"
	"sync"
	"testing"
	"time"

	"signalbox/cmd/e2e/history"
)

const (
	// sharedRoutes is how many routes all writers of a scenario write and
	// delete.
	sharedRoutes = 12
	// writeEvery is a writer's pause between two calls.
	writeEvery = 60 * time.Millisecond
	// refusedFor is for how long writes may be refused where there is a quorum.
	refusedFor = 5 * time.Second
)

// Writers write and delete a scenario's routes, all the same ones, and read
// them, from several clients. Each goes to another door when one does not do
// what it is asked.
type writers struct {
	lab     *lab
	watch   *watch
	prefix  string // of the routes' names
	record  *history.Recorder
	cancel  context.CancelFunc
	running sync.WaitGroup

	mu      sync.Mutex
	writers []*writer
	// without are times when nobody can write, by the scenario's own doing.
	without []span
	lost    map[string]int // errors that were not done, by their words
}

// A writer is one client.
type writer struct {
	doors []door
	last  time.Time // of its last write that was done
	// worst is its longest time without one, and when that began.
	worst time.Duration
	since time.Time
}

// startWriters starts two clients of gRPC and two of REST.
func (l *lab) startWriters(ctx context.Context, t testing.TB, w *watch, prefix string) *writers {
	ctx, cancel := context.WithCancel(ctx)
	ws := &writers{lab: l, watch: w, prefix: prefix, record: history.New(time.Now), cancel: cancel, lost: map[string]int{}}
	grpc, rest := l.doors()
	for i, doors := range [][]door{grpc, rest, grpc, rest} {
		one := &writer{doors: doors, last: time.Now()}
		ws.writers = append(ws.writers, one)
		client := ws.record.Client()
		ws.running.Go(func() { ws.write(ctx, one, client, i) })
	}
	t.Cleanup(ws.stop)
	return ws
}

func (ws *writers) stop() {
	ws.cancel()
	ws.running.Wait()
}

// write writes until ctx ends, and lets the last write end.
func (ws *writers) write(ctx context.Context, w *writer, client *history.Client, at int) {
	for n := at; pause(ctx, writeEvery); n++ {
		call := history.Call{Kind: history.Put, Route: fmt.Sprintf("%s/%d", ws.prefix, n*5%sharedRoutes), Expected: history.Any}
		switch n % 5 {
		case 3:
			call.Kind = history.Delete
		case 4:
			call.Kind = history.Get
		default:
			call.Value = client.Value()
		}
		try, cancel := context.WithTimeout(context.WithoutCancel(ctx), tryPatience)
		open := client.Begin(call)
		a := w.doors[at%len(w.doors)].do(try, call)
		open.End(a)
		cancel()
		switch {
		case a.Outcome == history.Done && call.Kind != history.Get:
			ws.done(w, time.Now())
		case a.Outcome == history.Done || a.Outcome == history.Absent:
			// Nothing was written: a read that is answered says nothing of writes.
		default:
			ws.mu.Lock()
			ws.lost[cmp.Or(a.Said, "no answer")]++
			ws.mu.Unlock()
			at++
		}
	}
}

// done notes that a writer's write was done.
func (ws *writers) done(w *writer, now time.Time) {
	ws.mu.Lock()
	defer ws.mu.Unlock()
	if d := ws.refused(w.last, now); d > w.worst {
		w.worst, w.since = d, w.last
	}
	w.last = now
}

// refused is for how long writes were refused between two that were done, but
// for the time when none could be: after it, or before it. Of a time when the
// machine stood still, too, nothing counts.
func (ws *writers) refused(from, to time.Time) time.Duration {
	worst := to.Sub(from) - ws.watch.within(from, to)
	for _, s := range ws.without {
		if s.overlaps(from, to) && !s.to.IsZero() {
			before, after := s.from.Sub(from)-ws.watch.within(from, s.from), to.Sub(s.to)-ws.watch.within(s.to, to)
			worst = min(worst, max(before, after, 0))
		}
	}
	return worst
}

// nobodyCan says that from now on nobody can write; what it returns says that
// they can again.
func (ws *writers) nobodyCan() (again func()) {
	ws.mu.Lock()
	defer ws.mu.Unlock()
	i := len(ws.without)
	ws.without = append(ws.without, span{from: time.Now()})
	return func() {
		ws.mu.Lock()
		defer ws.mu.Unlock()
		ws.without[i].to = time.Now()
	}
}

// allWrite waits until every writer has written since a moment.
func (ws *writers) allWrite(ctx context.Context, t testing.TB, since time.Time) {
	t.Helper()
	eventually(ctx, t, "all clients can write again", func(context.Context) error {
		ws.mu.Lock()
		defer ws.mu.Unlock()
		for i, w := range ws.writers {
			if w.last.Before(since) {
				return fmt.Errorf("client %d has not written since", i)
			}
		}
		return nil
	})
}

// worst is the longest time that a client's writes were refused, and when that
// began.
func (ws *writers) worst() (longest time.Duration, since time.Time) {
	ws.mu.Lock()
	defer ws.mu.Unlock()
	for _, w := range ws.writers {
		if w.worst > longest {
			longest, since = w.worst, w.since
		}
	}
	return longest, since
}
