package replica_test

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"testing"

	"go.uber.org/goleak"
	"pgregory.net/rapid"

	"signalbox/controlplane/replica"
	signalboxv1 "signalbox/proto/gen/signalbox/v1"
	"signalbox/store"
	"signalbox/store/mem"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func start(t testing.TB, st store.Records) *replica.Replica { return follow(t, st) }

// follow runs a replica of st until the test ends.
func follow(t testing.TB, st replica.Source) *replica.Replica {
	r := replica.New(st, slog.New(slog.DiscardHandler))
	ctx, stop := context.WithCancel(context.Background())
	done := make(chan struct{})
	go func() {
		defer close(done)
		_ = r.Run(ctx)
	}()
	t.Cleanup(func() {
		stop()
		<-done
	})
	return r
}

func key(name string) store.Key { return store.Key{Kind: store.KindRoute, Name: name} }

func record(name, path string) store.Record {
	return store.Record{Key: key(name), Message: &signalboxv1.Route{Name: name, Match: &signalboxv1.Match{PathPrefix: path}}}
}

// commit makes a transaction and waits until r has it.
func commit(t testing.TB, st store.Records, r *replica.Replica, txn store.Txn) *replica.View {
	t.Helper()
	if _, err := st.Commit(t.Context(), txn); err != nil {
		t.Fatal(err)
	}
	return current(t, r)
}

func current(t testing.TB, r *replica.Replica) *replica.View {
	t.Helper()
	v, err := r.Current(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	return v
}

// since is what a view says changed, as sorted words.
func since(v *replica.View, rev store.Revision) ([]string, bool) {
	var all []string
	ok := v.Since(rev,
		func(r *store.Record) { all = append(all, "+"+r.Name) },
		func(k store.Key) { all = append(all, "-"+k.Name) })
	slices.Sort(all)
	return all, ok
}

// A view tells what changed since any revision it has a memory of: each key
// once, in its newest form, whatever happened to it in between.
func TestSince(t *testing.T) {
	st := mem.New()
	r := start(t, st)
	v0 := commit(t, st, r, store.Txn{Put: []store.Record{record("a", "/a"), record("b", "/b")}})
	v1 := commit(t, st, r, store.Txn{Put: []store.Record{record("a", "/a2")}})
	v2 := commit(t, st, r, store.Txn{Delete: []store.Key{key("b")}})
	v3 := commit(t, st, r, store.Txn{Put: []store.Record{record("b", "/b3")}})
	v4 := commit(t, st, r, store.Txn{Delete: []store.Key{key("a")}, Put: []store.Record{record("c", "/c")}})
	for _, c := range []struct {
		from *replica.View
		want []string
	}{
		{v0, []string{"+b", "+c", "-a"}}, {v1, []string{"+b", "+c", "-a"}}, {v2, []string{"+b", "+c", "-a"}}, {v3, []string{"+c", "-a"}}, {v4, nil},
	} {
		if got, ok := since(v4, c.from.Version.Revision); !ok || !slices.Equal(got, c.want) {
			t.Errorf("since %d: %v, %t, want %v", c.from.Version.Revision, got, ok, c.want)
		}
	}
	if v0.Get(key("b")) == nil || v0.RouteMatching(&signalboxv1.Match{PathPrefix: "/a"}) == nil {
		t.Error("an old view changed when newer ones were made of it")
	}
	if v4.RouteMatching(&signalboxv1.Match{PathPrefix: "/a"}) != nil || v4.RouteMatching(&signalboxv1.Match{PathPrefix: "/b3"}) == nil {
		t.Error("the index of matches does not follow the records")
	}
}

// After a gap in the store's history a view still tells what changed, what
// was removed in the gap included.
func TestGap(t *testing.T) {
	st := mem.New()
	r := start(t, st)
	before := commit(t, st, r, store.Txn{Put: []store.Record{record("a", "/a"), record("b", "/b")}})
	st.SetAvailable(false)
	other := st.Another()
	for _, txn := range []store.Txn{{Delete: []store.Key{key("a")}}, {Put: []store.Record{record("c", "/c")}}} {
		if _, err := other.Commit(t.Context(), txn); err != nil {
			t.Fatal(err)
		}
	}
	other.Compact()
	st.SetAvailable(true)
	after := current(t, r)
	if got, ok := since(after, before.Version.Revision); !ok || !slices.Equal(got, []string{"+c", "-a"}) {
		t.Errorf("since before the gap: %v, %t", got, ok)
	}
}

// A source is a store told by hand.
type source chan store.Change

func (s source) Head(context.Context) (store.Version, error) { return store.Version{}, nil }

func (s source) Follow(ctx context.Context, apply func(store.Change) error) error {
	for {
		select {
		case ch := <-s:
			if err := apply(ch); err != nil {
				return err
			}
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}
}

// A backup restored under the same epoch and a higher revision is another
// history: nothing can be told of what nodes have.
func TestRestoredUnderTheSameEpoch(t *testing.T) {
	at := func(name, path string, modified store.Revision) store.Record {
		r := record(name, path)
		r.Created, r.Modified = 1, modified
		return r
	}
	version := func(rev store.Revision) store.Version { return store.Version{Epoch: "e", Revision: rev} }
	for name, restored := range map[string]store.Record{
		"an older form of a record": at("a", "/old", 50),
		"a record that was removed": at("b", "/b", 60),
	} {
		t.Run(name, func(t *testing.T) {
			st := make(source)
			r := follow(t, st)
			st <- store.Change{Whole: true, Version: version(200), Put: []store.Record{at("a", "/new", 150)}}
			st <- store.Change{Whole: true, Version: version(1000), Put: []store.Record{restored}}
			v, err := r.Reach(t.Context(), version(1000))
			if err != nil {
				t.Fatal(err)
			}
			if got, ok := since(v, 200); ok {
				t.Errorf("since 200 is told as %v", got)
			}
		})
	}
}

// A replica that starts late has no memory of what was removed before, and
// says so.
func TestHorizon(t *testing.T) {
	st := mem.New()
	early := commit(t, st, start(t, st), store.Txn{Put: []store.Record{record("a", "/a")}})
	late := start(t, st)
	if got, ok := since(current(t, late), early.Version.Revision); !ok || got != nil {
		t.Errorf("nothing was written, but since %d is %v, %t", early.Version.Revision, got, ok)
	}
	v := commit(t, st, late, store.Txn{Delete: []store.Key{key("a")}})
	if got, ok := since(v, early.Version.Revision); !ok || !slices.Equal(got, []string{"-a"}) {
		t.Errorf("since %d is %v, %t", early.Version.Revision, got, ok)
	}
	if got, ok := since(v, early.Version.Revision-1); ok {
		t.Errorf("told %v of before the horizon", got)
	}
}

// Without the store's word nothing is passed off as current.
func TestCurrentNeedsTheStore(t *testing.T) {
	st := mem.New()
	r := start(t, st)
	current(t, r)
	st.SetAvailable(false)
	if _, err := r.Current(t.Context()); !errors.Is(err, store.ErrUnavailable) {
		t.Errorf("Current = %v, want ErrUnavailable", err)
	}
}

// A cursor gives every change once and in order, resumes behind a version,
// and says when it lost some.
func TestCursor(t *testing.T) {
	st := mem.New()
	r := start(t, st)
	first := current(t, r).Version
	for i := range 3 {
		commit(t, st, r, store.Txn{Put: []store.Record{record("a", fmt.Sprint("/", i))}})
	}
	c, ok := r.FollowAfter(first)
	if !ok {
		t.Fatal("cannot follow from the beginning")
	}
	var second store.Version
	for i := range 3 {
		ch, lost, err := c.Next(t.Context())
		if err != nil || lost || ch.Put[0].Message.(*signalboxv1.Route).GetMatch().GetPathPrefix() != fmt.Sprint("/", i) {
			t.Fatalf("change %d: %v, lost %t, %v", i, ch, lost, err)
		}
		if i == 1 {
			second = ch.Version
		}
	}
	if c, ok = r.FollowAfter(second); !ok {
		t.Fatal("cannot follow from the middle")
	}
	if ch, _, _ := c.Next(t.Context()); ch.Version.Revision <= second.Revision {
		t.Errorf("resumed at %v, want after %v", ch.Version, second)
	}
	if _, ok := r.FollowAfter(store.Version{Epoch: "other", Revision: 1}); ok {
		t.Error("followed a history that is not this one")
	}

	st.SetAvailable(false)
	other := st.Another()
	if _, err := other.Commit(t.Context(), store.Txn{Put: []store.Record{record("z", "/z")}}); err != nil {
		t.Fatal(err)
	}
	other.Compact()
	st.SetAvailable(true)
	if ch, lost, err := c.Next(t.Context()); err != nil || !lost {
		t.Errorf("after a gap: %v, lost %t, %v", ch, lost, err)
	}
}

// Whoever applies what Since tells, from any version he has, has what the
// view holds.
func TestSinceLeadsToTheSameState(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		st := mem.New()
		r := start(t, st)
		node, at := map[string]store.Revision{}, current(t, r).Version.Revision
		for range rapid.IntRange(1, 40).Draw(rt, "steps") {
			name := rapid.StringMatching("[a-e]").Draw(rt, "name")
			txn := store.Txn{Put: []store.Record{record(name, "/"+name)}}
			if rapid.Bool().Draw(rt, "delete") {
				txn = store.Txn{Delete: []store.Key{key(name)}}
			}
			if _, err := st.Commit(t.Context(), txn); err != nil {
				rt.Fatal(err)
			}
			if rapid.IntRange(0, 9).Draw(rt, "compact") == 0 {
				st.Compact()
			}
			if !rapid.Bool().Draw(rt, "sync") {
				continue
			}
			v := current(t, r)
			if !v.Since(at, func(r *store.Record) { node[r.Name] = r.Modified }, func(k store.Key) { delete(node, k.Name) }) {
				rt.Fatalf("since %d is not told, horizon %d", at, v.Horizon)
			}
			at = v.Version.Revision
			want := map[string]store.Revision{}
			v.Ascend(store.KindRoute, "", "", func(r *store.Record) bool {
				want[r.Name] = r.Modified
				return true
			})
			if fmt.Sprint(node) != fmt.Sprint(want) {
				rt.Fatalf("the node has %v, the view %v", node, want)
			}
		}
	})
}
