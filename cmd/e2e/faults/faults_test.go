//go:build e2e

package faults

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"os"
	"os/signal"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"signalbox/cmd/e2e/history"
)

// A scenario is one way to break the cluster, and to heal it.
type scenario struct {
	name string
	// do breaks and heals. What it returns has happened; whether promises were
	// kept is found out by who runs it.
	do func(ctx context.Context, r *run)
	// dies says that it ends a node without a word: what that had not yet
	// reported may be missing in counters.
	dies bool
	// refused is for how long writes may be refused, where that is longer than
	// what is promised; the scenario says why.
	refused time.Duration
	// needs says what this machine lacks for it, if anything.
	needs func(*lab) string
}

// A run is a scenario that runs.
type run struct {
	*testing.T
	*lab
	*row
	writers *writers
	traffic *traffic
	prefix  string // of the names of its routes
	before  int64  // revision up to which done has what the store did, since the run began
	done    []change
	// restored is set when the store has another history since.
	restored *restored
	most     time.Duration // that writes may be refused
	// slow is what took too long, slowBefore the same of the time before.
	slow, slowBefore []string
	first            int // requests of setUp that the scenario's route has had
}

// TestFaults runs all scenarios on one cluster, one after the other. After each
// the cluster is whole again, or the suite ends.
func TestFaults(t *testing.T) {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if end, limited := t.Deadline(); limited {
		var cancel context.CancelFunc
		ctx, cancel = context.WithDeadline(ctx, end.Add(-40*time.Second))
		defer cancel()
	}
	results, machine := &table{}, &watch{}
	t.Cleanup(func() { results.print(os.Stdout) })
	watching, halt := context.WithCancel(ctx)
	var watched sync.WaitGroup
	watched.Go(func() { machine.run(watching) })
	defer watched.Wait()
	defer halt()

	l := newLab(ctx, t)
	base := history.Call{Kind: history.Put, Route: "open", Value: "open"}
	eventually(ctx, t, "a first write", func(ctx context.Context) error {
		if a := l.byGRPC(ctx, l.routes(l.of(plane)[0]), base); a.Outcome != history.Done {
			return errors.New(a.Said)
		}
		return nil
	})
	// A lab may have a route for everything, and here it must be seen that one
	// is gone.
	l.byGRPC(ctx, l.routes(l.of(plane)[0]), history.Call{Kind: history.Delete, Route: "demo"})
	for i, s := range scenarios() {
		var slow []string // what took too long in a play that was right otherwise
		ok := true
		for try, name := range []string{s.name, s.name + ", again", s.name + ", for the last time"} {
			ok = t.Run(name, func(t *testing.T) {
				var before []string
				if try == 2 {
					before = slow
				}
				if r := l.play(ctx, t, s, fmt.Sprintf("s%d-%d", i+1, try+1), results, machine, before); r != nil {
					slow = r.slow
				}
			})
			if !ok || len(slow) == 0 || ctx.Err() != nil {
				break
			}
		}
		if ctx.Err() != nil {
			t.Fatalf("the suite was ended: %v", context.Cause(ctx))
		}
		if !ok && !l.heals(ctx, t) {
			return
		}
	}
}

// heals reports whether the cluster is whole again after a scenario that
// failed.
func (l *lab) heals(ctx context.Context, t *testing.T) bool {
	l.links.mendAll()
	return t.Run("whole again", func(t *testing.T) { l.whole(ctx, t) })
}

// play runs one scenario and fills in its row. How long something took is judged
// when it was too long three times, before being what it was the last time: a
// machine that does much else can be slow in ways that nobody sees. What was
// lost, or wrong, is judged at once.
func (l *lab) play(ctx context.Context, t *testing.T, s scenario, prefix string, results *table, machine *watch, before []string) *run {
	r := &run{T: t, lab: l, prefix: prefix, most: max(refusedFor, s.refused), slowBefore: before, row: &row{fault: s.name, result: "FAILED", counters: "?"}}
	results.add(r.row)
	if s.needs != nil {
		if why := s.needs(l); why != "" {
			r.result = "skipped: " + why
			t.Skip("SKIPPED: " + why)
		}
	}
	began := time.Now()
	defer func() {
		r.took, r.stalled = time.Since(began), machine.within(began, time.Now())
		l.links.mendAll()
		switch {
		case t.Failed():
		case len(r.slow) > 0:
			r.result = "slow, and so played again"
		default:
			r.result = "ok"
		}
	}()
	load := "load/" + prefix
	r.setUp(ctx, load)
	eventually(ctx, t, "etcd's revision", func(ctx context.Context) (err error) {
		r.before, err = l.storeRevision(ctx)
		return err
	})
	r.traffic = l.startTraffic(ctx, t, "/"+load)
	r.writers = l.startWriters(ctx, t, machine, prefix)
	defer r.report()
	r.writers.allWrite(ctx, t, time.Now())
	s.do(ctx, r)
	l.links.mendAll()
	healed := time.Now()
	l.whole(ctx, t)
	r.writers.allWrite(ctx, t, healed)
	r.writers.stop()
	r.judge(ctx)
	r.traffic.stop()
	r.count(ctx, load, s, machine)
	return r
}

// tooLong says that something took too long, which fails the last time.
func (r *run) tooLong(format string, args ...any) {
	r.Helper()
	what := fmt.Sprintf(format, args...)
	if r.slow = append(r.slow, what); len(r.slowBefore) > 0 {
		r.Errorf("%s; and before: %s", what, strings.Join(r.slowBefore, "; "))
		return
	}
	r.Log(what)
}

// setUp writes the route of the scenario's own requests, and waits until all
// nodes serve it.
func (r *run) setUp(ctx context.Context, load string) {
	r.Helper()
	eventually(ctx, r, "the scenario's route", func(ctx context.Context) error {
		a := r.byGRPC(ctx, r.routes(r.of(plane)[0]), history.Call{Kind: history.Put, Route: load, Value: loaded})
		if a.Outcome != history.Done {
			return errors.New(a.Said)
		}
		return nil
	})
	eventually(ctx, r, "the scenario's route on all nodes", func(ctx context.Context) error {
		for _, n := range r.of(node) {
			a, err := send(ctx, r.http, "GET", "http://"+n.name+":"+publicPort+"/"+load, "")
			if err == nil && a.status != http.StatusOK {
				err = fmt.Errorf("%d %s", a.status, a.body)
			}
			if err != nil {
				return fmt.Errorf("%s: %w", n.name, err)
			}
			r.first++
		}
		return nil
	})
}

// collect takes what etcd's history has of the scenario's routes so far, before
// it is forgotten.
func (r *run) collect(ctx context.Context) {
	r.Helper()
	eventually(ctx, r, "the store's history", func(ctx context.Context) error {
		now, err := r.storeRevision(ctx)
		if err != nil {
			return err
		}
		more, err := r.changes(ctx, r.prefix+"/", r.before, now)
		if err == nil {
			r.done, r.before = append(r.done, more...), now
		}
		return err
	})
}

// judge holds the store, the control planes and the nodes against what clients
// were told.
func (r *run) judge(ctx context.Context) {
	r.Helper()
	r.collect(ctx)
	ops := r.writers.record.Operations()
	r.acked, r.refused, r.unknown = outcomes(ops)
	for _, h := range r.told(ops) {
		v := judge(h.ops, h.done)
		r.lost, r.applied = r.lost+len(v.lost), r.applied+len(v.applied)
		for _, what := range v.lost {
			r.Errorf("an acknowledged write is lost: %s", what)
		}
		for _, what := range v.applied {
			r.Errorf("done without being said, or twice: %s", what)
		}
		if err := history.Check(h.ops, os.TempDir(), patience); err != nil {
			r.Errorf("what clients were told does not fit together: %v", err)
		}
	}
	want := newest(r.done)
	eventually(ctx, r, "all control planes have what the store has", func(ctx context.Context) error { return r.storedAs(ctx, r.prefix+"/", want) })
	eventually(ctx, r, "all nodes serve what the store has", func(ctx context.Context) error { return r.servedAs(ctx, r.prefix, want) })
}

// What a node has not reported when it dies is missing in counters: what it
// carried since the last report, as often as nodes of the lab report, and then
// was on the way for a moment.
const reportEvery, reporting = time.Second, time.Second

// count holds the API's counters against the requests of the scenario.
func (r *run) count(ctx context.Context, load string, s scenario, machine *watch) {
	r.Helper()
	nodes := r.of(node)
	of := tally{begun: r.traffic.begun + r.first, answered: r.traffic.answers(nodes, time.Time{}, time.Now()) + r.first}
	if s.dies {
		for _, p := range nodes {
			if at, ok := p.wentDown(r.writers.began); ok {
				since := at.Add(-reportEvery - reporting)
				of.unreported += r.traffic.answers([]*part{p}, since.Add(-machine.within(since, at)), at.Add(reporting))
			}
		}
	}
	if r.restored != nil {
		// The counters are those of the backup, with what nodes report since:
		// what is right for them is nobody's promise here.
		r.counters = "-"
		return
	}
	eventually(ctx, r, "counters", func(ctx context.Context) (err error) {
		r.counters, err = r.counted(ctx, load, of)
		return err
	})
}

// report fills in the rest of the row, and fails if users noticed.
func (r *run) report() {
	r.Helper()
	r.writers.stop()
	r.traffic.stop()
	r.sent, r.failed = r.traffic.begun, len(r.traffic.failures)
	for _, f := range r.traffic.failures[:min(5, r.failed)] {
		r.Errorf("of %d failures on nodes that were up: %s", r.failed, f)
	}
	var since time.Time
	r.refusedFor, since = r.writers.worst()
	if r.refusedFor > r.most {
		r.tooLong("writes were refused for %v from %s on; %v is the most", r.refusedFor, since.UTC().Format("15:04:05.000"), r.most)
	}
	var words []string
	for what, times := range r.writers.lost {
		words = append(words, fmt.Sprintf("%d times %q", times, what))
	}
	r.late, r.slowest = r.writers.late, r.writers.slowest
	for _, what := range r.writers.unclear[:min(5, len(r.writers.unclear))] {
		r.Errorf("%d times a door that is up did not say what became of a write: %s", len(r.writers.unclear), what)
	}
	if n := len(r.writers.tardy); n > 0 {
		r.tooLong("%d times a door that is up did not say within %v what became of a write: %s", n, refusedFor, r.writers.tardy[0])
	}
	slices.Sort(words)
	if len(words) > 0 {
		r.Logf("writes that were not done: %s", strings.Join(words, "; "))
	}
	if r.traffic.excused > 0 {
		r.Logf("%d requests failed on nodes that were down", r.traffic.excused)
	}
}
