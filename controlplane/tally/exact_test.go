package tally

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"testing"
	"time"

	"pgregory.net/rapid"

	"signalbox/controlplane/tally/checkpoint"
	signalboxv1 "signalbox/proto/gen/signalbox/v1"
	"signalbox/store"
)

// A ledger keeps notes as a store does, and hands changes on when asked to.
type ledger struct {
	rev     store.Revision
	notes   map[string]store.Note
	changes []store.NoteChange
}

func (l *ledger) PutNotes(_ context.Context, put []store.Note, gone []string, unless ...store.NoteCondition) error {
	if err := store.CheckNotes(put, gone, unless); err != nil {
		return err
	}
	for _, c := range unless {
		if have := l.notes[c.Name].Modified; have != c.Modified {
			return &store.ConflictError{Note: c.Name, Modified: have}
		}
	}
	l.rev++
	var change store.NoteChange
	for _, n := range put {
		n.Modified = l.rev
		l.notes[n.Name] = n
		change.Put = append(change.Put, n)
	}
	for _, name := range gone {
		if _, ok := l.notes[name]; ok {
			delete(l.notes, name)
			change.Gone = append(change.Gone, name)
		}
	}
	l.changes = append(l.changes, change)
	return nil
}

func (l *ledger) FollowNotes(context.Context, string, func(store.NoteChange) error) error {
	return errors.New("a ledger is not followed by itself")
}

func (l *ledger) whole() store.NoteChange {
	names := slices.Sorted(maps.Keys(l.notes))
	change := store.NoteChange{Whole: true}
	for _, name := range names {
		change.Put = append(change.Put, l.notes[name])
	}
	return change
}

// total is what the notes say a route carried, read as tally.proto says.
func (l *ledger) total(k key) (n uint64) {
	i := checkpoint.Subject(k.route).Bucket()
	count := func(all []checkpoint.Entry) {
		for _, c := range all {
			if c.Subject == checkpoint.Subject(k.route) && c.Created == k.created {
				n += c.Counts.Counters().GetRequests()
			}
		}
	}
	base, folds, _ := checkpoint.DecodeBase(i, l.notes[checkpoint.Address{Bucket: i, Base: true}.Name()].Value)
	count(base)
	for name, note := range l.notes {
		a, _ := checkpoint.ParseName(name)
		if _, folded := folds[a.Process]; a.Bucket == i && !a.Base && !folded {
			chunk, _ := checkpoint.DecodeChunk(i, note.Value)
			count(chunk)
		}
	}
	return n
}

// put makes one write. Several are tried together elsewhere.
func (l *ledger) put(w write) error {
	return l.PutNotes(context.Background(), w.put, w.gone, w.unless...)
}

// key names an incarnation.
type key struct {
	route   string
	created int64
}

// A said is a report that may be heard at any time, by anyone, again.
type said struct {
	checkpoint.Process
	key
	requests uint64
}

// A replica has a book, has followed the ledger to somewhere, and has writes
// on their way.
type replica struct {
	book   *Book
	at     int
	onWay  []write
	routes int // how far it has read the world's routes
}

// A world is replicas over one ledger, and the truth.
type world struct {
	ledger   ledger
	replicas []*replica
	truth    map[checkpoint.Process]map[key]uint64
	alive    map[string]int64 // epoch of each node's process
	reports  []said
	// routes holds every route there ever was, removed those that are gone,
	// by when that was in routes.
	routes  []key
	removed map[key]int
	// kept is the most the ledger ever had of a route.
	kept  map[key]uint64
	clock time.Time
	// astray are writes whose replicas are no more; they may still arrive.
	astray []write
}

// three names in each of two buckets
var names = func() (found []string) {
	want := map[int]int{checkpoint.Subject("route-0").Bucket(): 3, checkpoint.Subject("route-1").Bucket(): 3}
	for i := 0; len(found) < 6; i++ {
		if name := fmt.Sprintf("route-%d", i); want[checkpoint.Subject(name).Bucket()] > 0 {
			want[checkpoint.Subject(name).Bucket()]--
			found = append(found, name)
		}
	}
	return found
}()

func newWorld(replicas int) *world {
	w := &world{
		ledger:  ledger{notes: map[string]store.Note{}},
		truth:   map[checkpoint.Process]map[key]uint64{},
		alive:   map[string]int64{"one": 1, "two": 1},
		removed: map[key]int{},
		kept:    map[key]uint64{},
		clock:   time.Unix(1_800_000_000, 0),
	}
	for _, name := range names {
		w.routes = append(w.routes, key{name, 1}, key{string(checkpoint.Instance(name)), 1})
	}
	for range replicas {
		w.replicas = append(w.replicas, w.start())
	}
	return w
}

// start returns a replica that has read the newest checkpoint.
func (w *world) start() *replica {
	r := &replica{at: len(w.ledger.changes), routes: len(w.routes)}
	r.book = New(Config{Exists: func(route checkpoint.Subject, created int64) bool {
		if created > int64(r.routes) { // newer than what it has read
			return true
		}
		when, removed := w.removed[key{string(route), created}]
		return !removed || when > r.routes
	}})
	r.book.Apply(w.ledger.whole())
	return r
}

func (w *world) carry(p checkpoint.Process, k key, n uint64) {
	if w.truth[p] == nil {
		w.truth[p] = map[key]uint64{}
	}
	w.truth[p][k] += n
	w.reports = append(w.reports, said{p, k, w.truth[p][k]})
}

func (w *world) total(k key) (n uint64) {
	for _, carried := range w.truth {
		n += carried[k]
	}
	return n
}

func (w *world) hear(r *replica, s said) {
	if name, instance := checkpoint.Subject(s.route).Name(); instance {
		r.book.ReportInstances(s.Node, s.Epoch, []*signalboxv1.InstanceReport{{
			Instance: name, Incarnation: s.created, Counters: &signalboxv1.InstanceCounters{TcpReceived: s.requests},
		}})
		return
	}
	r.book.Report(s.Node, s.Epoch, []*signalboxv1.RouteReport{heard(s.route, s.created, s.requests)})
}

// follow applies up to n changes.
func (w *world) follow(r *replica, n int) {
	for ; n > 0 && r.at < len(w.ledger.changes); n-- {
		r.book.Apply(w.ledger.changes[r.at])
		r.at++
	}
}

// commit makes one write of a replica's, and answers as told.
func (w *world) commit(r *replica, answer string) {
	if len(r.onWay) == 0 {
		return
	}
	next := r.onWay[0]
	r.onWay = r.onWay[1:]
	if answer == "lost" || w.ledger.put(next) != nil || answer == "unknown" {
		r.book.failed([]write{next})
	}
}

// settle lets everybody write all it knows and read all there is.
func (w *world) settle(t *rapid.T) {
	for pass := range 20 {
		before, written := len(w.ledger.changes), false
		for _, r := range w.replicas {
			for len(r.onWay) > 0 {
				w.commit(r, "made")
			}
			r.routes = len(w.routes)
			w.follow(r, len(w.ledger.changes))
			if pass == 0 {
				r.book.Prune()
			}
			r.onWay, _ = r.book.changed(w.clock, 1<<30, nil)
			written = written || len(r.onWay) > 0
		}
		if !written && len(w.ledger.changes) == before {
			return
		}
	}
	t.Fatal("the replicas write again and again")
}

// check asks that nobody knows more than there was, and that the ledger knows
// no less than it did.
func (w *world) check(t *rapid.T) {
	for _, k := range w.routes {
		kept, before := w.ledger.total(k), w.kept[k]
		if w.kept[k] = kept; kept > w.total(k) {
			t.Fatalf("the ledger has %d requests of %v; there were %d", kept, k, w.total(k))
		}
		if _, removed := w.removed[k]; !removed && kept < before {
			t.Fatalf("the ledger had %d requests of %v, and now %d", before, k, kept)
		}
		for i, r := range w.replicas {
			if got, most := requestsOf(r.book, k.route, k.created), w.total(k); got > most {
				t.Fatalf("replica %d has %d requests of %v; there were %d", i, got, k, most)
			}
		}
	}
}

// agreed asks that all know the same, and that the ledger does too.
func (w *world) agreed(t *rapid.T) {
	fresh := w.start()
	for _, k := range w.routes {
		want := requestsOf(fresh.book, k.route, k.created)
		if _, removed := w.removed[k]; removed && want != 0 {
			t.Fatalf("the ledger has %d requests of %v, which is removed", want, k)
		}
		for i, r := range w.replicas {
			if got := requestsOf(r.book, k.route, k.created); got != want {
				t.Fatalf("replica %d has %d requests of %v, the ledger %d", i, got, k, want)
			}
		}
	}
}

// actions are what can happen to a world. With faults, replicas crash and
// processes that live are folded, so that not all is counted.
func (w *world) actions(faults bool) map[string]func(*rapid.T) {
	some := func(t *rapid.T) *replica { return rapid.SampledFrom(w.replicas).Draw(t, "replica") }
	node := func(t *rapid.T) string { return rapid.SampledFrom([]string{"one", "two"}).Draw(t, "node") }
	all := map[string]func(*rapid.T){
		"": w.check,
		"carry": func(t *rapid.T) {
			n := node(t)
			k := rapid.SampledFrom(w.routes).Draw(t, "route")
			w.carry(checkpoint.Process{Node: n, Epoch: w.alive[n]}, k, rapid.Uint64Range(1, 9).Draw(t, "requests"))
		},
		"report": func(t *rapid.T) {
			if len(w.reports) > 0 {
				w.hear(some(t), rapid.SampledFrom(w.reports).Draw(t, "report"))
			}
		},
		"restart node": func(t *rapid.T) { w.alive[node(t)]++ },
		"join": func(t *rapid.T) {
			n := node(t)
			some(t).book.Joined(n, w.alive[n])
		},
		"leave": func(t *rapid.T) {
			n := node(t)
			some(t).book.Left(n, w.alive[n])
		},
		"checkpoint": func(t *rapid.T) {
			r := some(t)
			budget := rapid.IntRange(1, 1000).Draw(t, "budget")
			leaves := rapid.Bool().Draw(t, "leaves others out")
			mine := rapid.Uint32Range(0, 1).Draw(t, "mine")
			writes, _ := r.book.changed(w.clock, budget, func(s *source) bool { return !leaves || s.id%2 == mine })
			r.onWay = append(r.onWay, writes...)
		},
		"fold": func(t *rapid.T) { w.fold(t, some(t), faults) },
		"commit": func(t *rapid.T) {
			w.commit(some(t), rapid.SampledFrom([]string{"made", "made", "unknown", "lost"}).Draw(t, "answer"))
		},
		"follow": func(t *rapid.T) { w.follow(some(t), rapid.IntRange(1, 5).Draw(t, "changes")) },
		"follow anew": func(t *rapid.T) {
			r := some(t)
			r.at = len(w.ledger.changes)
			r.book.Apply(w.ledger.whole())
		},
		"rewrite route": func(t *rapid.T) {
			i := rapid.IntRange(0, len(w.routes)-1).Draw(t, "route")
			if _, removed := w.removed[w.routes[i]]; !removed {
				w.routes = append(w.routes, key{w.routes[i].route, int64(len(w.routes) + 1)})
				w.removed[w.routes[i]] = len(w.routes)
			}
		},
		"prune": func(t *rapid.T) {
			r := some(t)
			r.routes = rapid.IntRange(r.routes, len(w.routes)).Draw(t, "read up to")
			r.book.Prune()
		},
	}
	if faults {
		all["crash"] = func(t *rapid.T) {
			i := rapid.IntRange(0, len(w.replicas)-1).Draw(t, "replica")
			w.astray = append(w.astray, w.replicas[i].onWay...)
			w.replicas[i] = w.start()
		}
		all["arrive"] = func(*rapid.T) {
			if len(w.astray) > 0 {
				_ = w.ledger.put(w.astray[0])
				w.astray = w.astray[1:]
			}
		}
	}
	return all
}

// fold lets a replica fold a process that it knows of. Without faults it does
// so only if that is dead and the replica knows all of it.
func (w *world) fold(t *rapid.T, r *replica, faults bool) {
	known := slices.SortedFunc(maps.Keys(r.book.sources), checkpoint.Process.Compare)
	if len(known) == 0 {
		return
	}
	p := rapid.SampledFrom(known).Draw(t, "process")
	if !faults {
		if p.Epoch == w.alive[p.Node] {
			return
		}
		for _, s := range w.reports {
			if s.Process == p {
				w.hear(r, s)
			}
		}
	}
	due := map[*source]time.Time{r.book.sources[p]: w.clock.Add(time.Hour)}
	r.onWay = append(r.onWay, r.book.folds(w.clock, 1<<30, due)...)
}

func TestWhateverHappensAllAgreeAndNothingIsCountedTwice(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		w := newWorld(3)
		t.Repeat(w.actions(true))
		w.settle(t)
		w.check(t)
		w.agreed(t)
	})
}

func TestWhatIsReportedIsCountedExactlyOnce(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		w := newWorld(3)
		t.Repeat(w.actions(false))
		for _, s := range w.reports {
			w.hear(rapid.SampledFrom(w.replicas).Draw(t, "replica"), s)
		}
		w.settle(t)
		w.agreed(t)
		for _, k := range w.routes {
			if _, removed := w.removed[k]; removed {
				continue
			}
			if got, want := requestsOf(w.replicas[0].book, k.route, k.created), w.total(k); got != want {
				t.Fatalf("%v: counted %d requests, there were %d", k, got, want)
			}
		}
	})
}
