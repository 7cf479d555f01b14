package tally

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"signalbox/controlplane/tally/checkpoint"
	"signalbox/store"
	"signalbox/store/mem"
)

// A member is a Book that runs.
type member struct {
	*Book
	// stop ends it and waits for it.
	stop func()
}

// start runs a book on a way to a store, until it is stopped or the test ends.
func start(t *testing.T, notes Notes, lead Lead, c Config) *member {
	m := &member{Book: New(c)}
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		if err := m.Run(ctx, notes, lead); !errors.Is(err, context.Canceled) {
			t.Errorf("Run returned %v", err)
		}
	}()
	m.stop = func() { cancel(); <-ended }
	t.Cleanup(m.stop)
	<-m.Loaded()
	return m
}

// elected stands in the store's own election, under a session that is closed
// when the member is stopped.
func elected(t *testing.T, notes store.Notes) Lead {
	return func(ctx context.Context, election string) (<-chan struct{}, error) {
		s, err := notes.Session(ctx, 2*time.Second)
		if err != nil {
			return nil, err
		}
		closed := make(chan struct{})
		context.AfterFunc(ctx, func() {
			defer close(closed)
			_ = s.Close(context.WithoutCancel(ctx))
		})
		t.Cleanup(func() { <-closed })
		if err := s.Lead(ctx, election); err != nil {
			return nil, err
		}
		return s.Lost(), nil
	}
}

// always believes to lead, never does not.
func always(context.Context, string) (<-chan struct{}, error) { return nil, nil }

func never(ctx context.Context, _ string) (<-chan struct{}, error) {
	<-ctx.Done()
	return nil, context.Cause(ctx)
}

// pass lets simulated time go by.
func pass(d time.Duration) {
	time.Sleep(d) //nolint:forbidigo // simulated
	synctest.Wait()
}

// notesOf returns the names of the checkpoint's notes.
func notesOf(t *testing.T, k *mem.Keeper) []string {
	t.Helper()
	var names []string
	err := k.Another().FollowNotes(t.Context(), checkpoint.Prefix, func(c store.NoteChange) error {
		for _, n := range c.Put {
			names = append(names, n.Name)
		}
		return context.Canceled
	})
	if !errors.Is(err, context.Canceled) {
		t.Fatal(err)
	}
	return names
}

const settled = (settle + 3) * 5 * time.Second

func TestTotalsSurviveEveryReplica(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		k := mem.New()
		var members []*member
		var ways []*mem.Keeper
		for range 2 {
			way := k.Another()
			ways = append(ways, way)
			members = append(members, start(t, way, elected(t, way), Config{}))
		}
		for i := range 300 {
			for _, m := range members {
				say(m.Book, "one", 1, heard(fmt.Sprint("route-", i), 7, uint64(i)))
			}
		}
		pass(6 * time.Second)
		for i, m := range members {
			ways[i].SetAvailable(false) // killed, rather than stopped
			m.stop()
		}
		again := start(t, k, never, Config{})
		for i := range 300 {
			wantRequests(t, again.Book, fmt.Sprint("route-", i), 7, uint64(i))
		}
	})
}

func TestALeaderThatIsStoppedWritesOnceMore(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		k := mem.New()
		m := start(t, k, always, Config{})
		say(m.Book, "one", 1, heard("a", 7, 5))
		pass(6 * time.Second)
		say(m.Book, "one", 1, heard("a", 7, 6))
		m.stop()
		wantRequests(t, start(t, k, never, Config{}).Book, "a", 7, 6)
	})
}

// feeders says which replica feeds each node, whatever its epoch.
type feeders struct{ sync.Map }

func (f *feeders) of(node string, _ int64) string {
	id, _ := f.Load(node)
	s, _ := id.(string)
	return s
}

// putting counts the notes that are put on a way to a store.
type putting struct {
	*mem.Keeper
	puts *atomic.Int64
}

func (p putting) PutNotes(ctx context.Context, put []store.Note, gone []string, unless ...store.NoteCondition) error {
	p.puts.Add(int64(len(put)))
	return p.Keeper.PutNotes(ctx, put, gone, unless...)
}

// replicas starts three, of which the first leads.
func replicas(t *testing.T, k *mem.Keeper, f *feeders, puts *atomic.Int64) []*member {
	var members []*member
	for i, id := range []string{"first", "second", "third"} {
		lead := never
		if i == 0 {
			lead = always
		}
		members = append(members, start(t, putting{k.Another(), puts}, lead, Config{ID: id, Feeder: f.of}))
	}
	return members
}

func TestANodeThatReachesOneReplicaIsKnownToAll(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var f feeders
		var puts atomic.Int64
		members := replicas(t, mem.New(), &f, &puts)
		only := members[1]
		only.Joined("one", 1)
		f.Store("one", "second")
		for n := uint64(1); n < 5; n++ {
			say(only.Book, "one", 1, heard("a", 7, n))
			pass(5 * time.Second)
			for _, m := range members {
				wantRequests(t, m.Book, "a", 7, n)
			}
		}
		say(only.Book, "one", 1, heard("a", 7, 5)) // and goodbye
		only.Ended("one", 1)
		only.Left("one", 1)
		f.Store("one", "")
		pass(5 * time.Second)
		for _, m := range members {
			wantRequests(t, m.Book, "a", 7, 5)
		}
	})
}

func TestWhatOneReplicaAloneKnowsOutlivesIt(t *testing.T) {
	for name, feeder := range map[string]string{"it feeds the node": "second", "nobody does": ""} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				var f feeders
				var puts atomic.Int64
				members := replicas(t, mem.New(), &f, &puts)
				f.Store("one", feeder)
				say(members[1].Book, "one", 1, heard("a", 7, 5))
				members[1].stop()
				synctest.Wait()
				wantRequests(t, members[0].Book, "a", 7, 5)
			})
		})
	}
}

func TestWhatEveryReplicaHearsIsWrittenOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var f feeders
		var puts atomic.Int64
		members := replicas(t, mem.New(), &f, &puts)
		nodes := map[string]string{"one": "first", "two": "second", "three": "third", "four": ""}
		for node, feeder := range nodes {
			f.Store(node, feeder)
			for _, m := range members {
				m.Joined(node, 1)
			}
		}
		const rounds = 30
		for n := uint64(1); n <= rounds; n++ {
			for node := range nodes {
				for _, m := range members {
					say(m.Book, node, 1, heard("a", 7, n))
				}
			}
			pass(5 * time.Second)
		}
		if n := puts.Load(); n != rounds*int64(len(nodes)) {
			t.Errorf("%d chunks changed %d times, and %d were written", len(nodes), rounds, n)
		}
	})
}

// A dying way to a store is cut off after some transactions.
type dying struct {
	*mem.Keeper
	left int
}

func (d *dying) PutNotes(ctx context.Context, put []store.Note, gone []string, unless ...store.NoteCondition) error {
	if d.left--; d.left < 0 {
		d.SetAvailable(false)
	}
	return d.Keeper.PutNotes(ctx, put, gone, unless...)
}

func TestALeaderKilledBetweenTwoTransactionsLosesNothing(t *testing.T) {
	const routes = 150
	for killed := range 7 { // while it writes chunks, and while it folds
		synctest.Test(t, func(t *testing.T) {
			k := mem.New()
			first := start(t, &dying{k.Another(), killed}, always, Config{})
			second := start(t, k.Another(), never, Config{})
			for i := range routes {
				for _, m := range []*member{first, second} {
					say(m.Book, "one", 1, heard(fmt.Sprint("route-", i), 7, 3))
				}
			}
			for _, m := range []*member{first, second} {
				m.Joined("one", 2)
			}
			pass(settled)
			first.stop()
			second.stop()

			third := start(t, k.Another(), always, Config{})
			for i := range routes {
				for _, m := range []*member{first, second} {
					if n := requestsOf(m.Book, fmt.Sprint("route-", i), 7); n != 3 {
						t.Errorf("killed after %d transactions, route-%d has %d requests", killed, i, n)
					}
				}
			}
			third.Joined("one", 2)
			pass(settled)
			for i := range routes {
				wantRequests(t, third.Book, fmt.Sprint("route-", i), 7, 3)
			}
			for _, name := range notesOf(t, k) {
				if !checkpoint.IsBase(name) {
					t.Errorf("%s was not folded", name)
				}
			}
		})
	}
}

func TestANodeStartedAnewAddsToWhatItCarried(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		k := mem.New()
		m := start(t, k, always, Config{})
		follower := start(t, k.Another(), never, Config{})
		for epoch := int64(1); epoch <= 40; epoch++ {
			for _, m := range []*member{m, follower} {
				m.Joined("one", epoch)
				say(m.Book, "one", epoch, heard("a", 7, 2))
				m.Left("one", epoch)
			}
			pass(6 * time.Second)
		}
		m.Joined("one", 41)
		pass(settled)
		wantRequests(t, m.Book, "a", 7, 80)
		wantRequests(t, follower.Book, "a", 7, 80)
		say(m.Book, "one", 39, heard("a", 7, 3)) // too late
		say(m.Book, "one", 41, heard("a", 7, 1))
		wantRequests(t, m.Book, "a", 7, 81)
		if names := notesOf(t, k); len(names) != 1 {
			t.Errorf("the notes are %v, want the base alone", names)
		}
		if n := len(m.buckets[checkpoint.Subject("a").Bucket()].folds); n != 40 {
			t.Errorf("%d processes are remembered, want all 40", n)
		}
		pass(settled)
		if n := len(m.sources); n != 1 {
			t.Errorf("%d processes are in memory, want the one that is there", n)
		}
	})
}

func TestPartialViewsOfDeadNodesBecomeOne(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		k := mem.New()
		leader, follower := start(t, k, always, Config{}), start(t, k.Another(), never, Config{})
		say(leader.Book, "one", 1, heard("a", 7, 5))
		say(leader.Book, "two", 1, heard("a", 7, 10))
		say(follower.Book, "one", 1, heard("a", 7, 6))
		say(follower.Book, "three", 1, heard("a", 7, 100))
		for _, m := range []*member{leader, follower} {
			m.Ended("one", 1)
			m.Ended("two", 1)
			m.Ended("three", 1)
		}
		pass(settled)
		for _, m := range []*member{leader, follower, start(t, k, never, Config{})} {
			wantRequests(t, m.Book, "a", 7, 116)
		}
		if names := notesOf(t, k); len(names) != 1 {
			t.Errorf("the notes are %v, want the base alone", names)
		}
	})
}

func TestTwoThatBothBelieveToLeadCountNothingTwice(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		k := mem.New()
		members := []*member{start(t, k, always, Config{}), start(t, k.Another(), always, Config{})}
		const rounds, routes = 30, 50
		for round := int64(1); round <= rounds; round++ {
			for _, m := range members {
				m.Joined("one", round)
				for i := range routes {
					say(m.Book, "one", round, heard(fmt.Sprint("route-", i), 7, 4))
				}
				m.Left("one", round)
			}
			pass(7 * time.Second)
		}
		members[0].Joined("one", rounds+1)
		members[1].Joined("one", rounds+1)
		pass(settled)
		for _, m := range append(members, start(t, k, never, Config{})) {
			for i := range routes {
				wantRequests(t, m.Book, fmt.Sprint("route-", i), 7, 4*rounds)
			}
		}
	})
}

func TestALostNodeIsFoldedMuchLater(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		k := mem.New()
		var running atomic.Bool
		running.Store(true)
		m := start(t, k, always, Config{Running: func(string, int64) bool { return running.Load() }})
		m.Joined("one", 1)
		say(m.Book, "one", 1, heard("a", 7, 5))
		m.Left("one", 1)
		chunk := []string{checkpoint.Address{Bucket: checkpoint.Subject("a").Bucket(), Process: checkpoint.Process{Node: "one", Epoch: 1}}.Name()}
		pass(48 * time.Hour)
		if names := notesOf(t, k); !slices.Equal(names, chunk) {
			t.Errorf("while it runs the notes are %v", names)
		}
		running.Store(false)
		pass(23 * time.Hour)
		if names := notesOf(t, k); !slices.Equal(names, chunk) {
			t.Errorf("before its time the notes are %v", names)
		}
		m.Joined("one", 1)
		say(m.Book, "one", 1, heard("a", 7, 6))
		m.Left("one", 1)
		pass(23 * time.Hour)
		wantRequests(t, m.Book, "a", 7, 6)
		pass(2 * time.Hour)
		if names := notesOf(t, k); len(names) != 1 || !checkpoint.IsBase(names[0]) {
			t.Errorf("in the end the notes are %v", names)
		}
		say(m.Book, "one", 1, heard("a", 7, 100))
		wantRequests(t, m.Book, "a", 7, 6)
	})
}

func TestARemovedRouteLeavesTheStore(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		k := mem.New()
		var removed atomic.Int64
		c := Config{Exists: func(_ checkpoint.Subject, created int64) bool { return created != removed.Load() }}
		m, follower := start(t, k, always, c), start(t, k.Another(), never, c)
		for _, m := range []*member{m, follower} {
			say(m.Book, "old", 1, heard("a", 7, 5))
			m.Joined("one", 1)
			say(m.Book, "one", 1, heard("a", 7, 5))
			m.Ended("old", 1)
		}
		pass(settled)
		if names := notesOf(t, k); len(names) != 2 {
			t.Errorf("the notes are %v, want a base and a chunk", names)
		}
		removed.Store(7)
		pass(2 * time.Minute)
		say(m.Book, "one", 1, heard("a", 7, 6))
		say(m.Book, "one", 1, heard("a", 8, 1))
		pass(2 * time.Minute)
		again := start(t, k, never, Config{})
		for _, m := range []*member{m, follower, again} {
			wantRequests(t, m.Book, "a", 7, 0)
			wantRequests(t, m.Book, "a", 8, 1)
		}
	})
}

func TestCheckpointsGoOnAfterTheStoreWasAway(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		k := mem.New()
		way := k.Another()
		m := start(t, way, always, Config{})
		say(m.Book, "one", 1, heard("a", 7, 5))
		way.SetAvailable(false)
		pass(time.Minute)
		k.Compact()
		way.SetAvailable(true)
		pass(6 * time.Second)
		wantRequests(t, start(t, k, never, Config{}).Book, "a", 7, 5)
	})
}

// counting counts transactions, made or not.
type counting struct {
	*ledger
	tries int
	// before is called before each.
	before func()
}

func (c *counting) PutNotes(ctx context.Context, put []store.Note, gone []string, unless ...store.NoteCondition) error {
	c.tries++
	c.before()
	return c.ledger.PutNotes(ctx, put, gone, unless...)
}

func TestWritesInConflictDoNotTakeATransactionEach(t *testing.T) {
	const routes = 300
	for name, c := range map[string]struct{ follows, most int }{
		"when nothing was followed":       {0, (maxConflicts + 1) * (routes/60 + 1)},
		"when the others' were followed":  {1, routes/60 + 2},
		"when half of them were followed": {2, (maxConflicts + 1) * (routes/60 + 1)},
	} {
		t.Run(name, func(t *testing.T) {
			l := &ledger{notes: map[string]store.Note{}}
			first, second := New(Config{}), New(Config{})
			first.Apply(l.whole())
			second.Apply(l.whole())
			for i := range routes {
				say(first, "one", 1, heard(fmt.Sprint("route-", i), 7, 1))
				say(second, "one", 1, heard(fmt.Sprint("route-", i), 7, 2))
			}
			writes := changed(second)
			commit(t, l, first, changed(first))
			notes := &counting{ledger: l, before: func() {}}
			if c.follows > 0 {
				notes.before = func() {
					for range len(l.changes) / c.follows {
						second.Apply(l.changes[0])
						l.changes = l.changes[1:]
					}
				}
			}
			r := runner{book: second, notes: notes}
			late, err := r.commit(t.Context(), writes)
			if err != nil || late != len(writes) || notes.tries > c.most {
				t.Errorf("%d of %d writes were late after %d transactions, %v; want %d at most", late, len(writes), notes.tries, err, c.most)
			}
			second.Apply(l.whole())
			if late, err := r.commit(t.Context(), changed(second)); err != nil || late != 0 {
				t.Errorf("then %d were late, %v", late, err)
			}
			wantRequests(t, second, "route-1", 7, 2)
		})
	}
}
