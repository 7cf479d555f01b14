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
	// refusedFor is for how long writes may be refused where there is a quorum,
	// and how long it may take to be told so.
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
	began   time.Time // the recorder's zero
	cancel  context.CancelFunc
	running sync.WaitGroup

	mu      sync.Mutex
	writers []*writer
	// without are times when nobody can write, by the scenario's own doing.
	without []span
	lost    map[string]int // errors that were not done, by their words
	// late counts calls of those who go elsewhere for which they did not wait;
	// slowest is how long another took to be told that a write was not done.
	late    int
	slowest time.Duration
	unclear []string // what was not told well by doors that were up
	tardy   []string // what they told too late, or not at all
}

// A writer is one client. With one door it stays there, whatever comes.
type writer struct {
	doors []door
	last  time.Time // of its last write that was done
	// worst is its longest time without one, and when that began.
	worst time.Duration
	since time.Time
}

// startWriters starts two clients of gRPC and two of REST, and three that stay
// at one door each: either control plane's, and a gateway's.
func (l *lab) startWriters(ctx context.Context, t testing.TB, w *watch, prefix string) *writers {
	ctx, cancel := context.WithCancel(ctx)
	ws := &writers{lab: l, watch: w, prefix: prefix, record: history.New(time.Now), began: time.Now(), cancel: cancel, lost: map[string]int{}}
	grpc, rest := l.doors()
	for i, doors := range [][]door{grpc, rest, grpc, rest, grpc[:1], grpc[1:], rest[len(rest)-1:]} {
		one := &writer{doors: doors, last: time.Now()}
		ws.writers = append(ws.writers, one)
		client := ws.record.Client()
		ws.running.Go(func() { ws.write(ctx, one, client, i) })
	}
	t.Cleanup(ws.stop)
	return ws
}

// since is the recorder's time.
func (ws *writers) since() time.Duration { return time.Since(ws.began) }

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
		at += ws.once(ctx, w, client, call, w.doors[at%len(w.doors)])
	}
}

// stays reports whether the client goes nowhere else.
func (w *writer) stays() bool { return len(w.doors) == 1 }

// once makes one call at a door. It returns how many doors on the next one is
// to be made.
func (ws *writers) once(ctx context.Context, w *writer, client *history.Client, call history.Call, at door) int {
	patience := tryPatience
	if w.stays() {
		patience = stayPatience
	}
	try, cancel := context.WithTimeout(context.WithoutCancel(ctx), patience)
	defer cancel()
	began, open := time.Now(), client.Begin(call)
	a := at.do(try, call)
	open.End(a.Answer)
	now := time.Now()
	a.late = a.late || !a.clear && now.Sub(began) > patience-writeEvery // who serves knows the deadline, and may be first to end the call
	switch {
	case a.Outcome == history.Done && call.Kind != history.Get:
		ws.done(w, now)
		fallthrough
	case a.Outcome == history.Done || a.Outcome == history.Absent:
		return 0 // a read that is answered says nothing of writes
	}
	ws.failed(w, at.at, a, began, now)
	return 1
}

// failed notes that a call was not done, and holds what was said of it against
// the promise: a door that is up says in time what became of it.
func (ws *writers) failed(w *writer, at *part, a reply, began, now time.Time) {
	excused := at.wasDown(began, now)
	ws.mu.Lock()
	defer ws.mu.Unlock()
	ws.lost[cmp.Or(a.Said, "no answer")]++
	took := now.Sub(began) - ws.watch.within(began, now)
	if w.stays() && !excused {
		ws.slowest = max(ws.slowest, took)
	}
	switch {
	case a.late && !w.stays():
		ws.late++
	case excused || a.clear && took <= refusedFor:
	default:
		what := fmt.Sprintf("%s %s, after %v: %q", began.UTC().Format("15:04:05.000"), at.name, took.Round(time.Millisecond), a.Said)
		if took > refusedFor {
			ws.tardy = append(ws.tardy, what)
		} else {
			ws.unclear = append(ws.unclear, what)
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
		if w.worst > longest && !w.stays() {
			longest, since = w.worst, w.since
		}
	}
	return longest, since
}
