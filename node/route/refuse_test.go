package route_test

import (
	"cmp"
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	signalboxv1 "signalbox/proto/gen/signalbox/v1"

	"signalbox/node/route"
)

// written is a record of a route as a store has it. A bad one has no upstream.
func written(name string, created, revision int64, prefix string, bad bool) *signalboxv1.Route {
	r := record(name, created, "", prefix)
	r.Meta.Revision = revision
	if bad {
		r.Upstreams = nil
	}
	return r
}

func TestAKeptRouteStandsBackForOneInOrder(t *testing.T) {
	tab := table(t, written("old", 1, 1, "/a", false))
	tab, change := tab.With([]*signalboxv1.Route{written("old", 1, 2, "/b", true)}, nil)
	if len(change.Rejections) != 1 || change.Rejections[0].Revision != 2 {
		t.Fatalf("rejections %v", change.Rejections)
	}
	serves := func(tab *route.Table, want string) {
		t.Helper()
		if r, _ := tab.Match("", "/a"); r == nil || r.Name != want {
			t.Errorf("%v serves, want %s", r, want)
		}
	}
	serves(tab, "old")
	taken, change := tab.With([]*signalboxv1.Route{written("new", 3, 3, "/a", false)}, nil)
	serves(taken, "new")
	if len(change.Rejections) != 0 {
		t.Errorf("rejections %v", change.Rejections)
	}
	t.Run("in whatever order they are heard of", func(t *testing.T) {
		tab := table(t, written("old", 1, 1, "/a", false))
		tab, _ = tab.With([]*signalboxv1.Route{written("new", 3, 3, "/a", false)}, nil)
		serves(tab, "old")
		tab, change := tab.With([]*signalboxv1.Route{written("old", 1, 2, "/b", true)}, nil)
		serves(tab, "new")
		if !slices.Equal(change.Accepted, []string{"new"}) || len(change.Rejections) != 1 || change.Rejections[0].Name != "old" {
			t.Errorf("accepted %v, rejected %v", change.Accepted, change.Rejections)
		}
	})
	t.Run("and has its match again when that one is gone", func(t *testing.T) {
		tab, change := taken.With(nil, []string{"new"})
		serves(tab, "old")
		if len(change.Rejections)+len(change.Accepted) != 0 {
			t.Errorf("accepted %v, rejected %v", change.Accepted, change.Rejections)
		}
	})
	t.Run("until its own record is sent again", func(t *testing.T) {
		tab, change := taken.With([]*signalboxv1.Route{written("old", 1, 1, "/a", false)}, nil)
		serves(tab, "old")
		if len(change.Rejections) != 1 || change.Rejections[0].Name != "new" {
			t.Errorf("rejections %v", change.Rejections)
		}
	})
}

func TestARouteMadeAnewIsNotKeptAsWhatItWas(t *testing.T) {
	tab := table(t, written("a", 1, 1, "/a", false))
	tab, change := tab.With([]*signalboxv1.Route{written("a", 5, 5, "/a", true)}, nil) // removed and made anew, in one update
	if tab.Len() != 0 || len(change.Swaps) != 1 || len(change.Rejections) != 1 {
		t.Errorf("%d routes, swaps %v, rejections %v", tab.Len(), change.Swaps, change.Rejections)
	}
	if tab, change = tab.With(nil, []string{"a"}); len(change.Swaps)+len(change.Rejections)+len(change.Accepted) != 0 {
		t.Errorf("removing what was never there: %v", change)
	}
	if _, change = tab.Whole(nil); len(change.Accepted) != 0 {
		t.Errorf("accepted %v", change.Accepted)
	}
}

func TestAWholeStateTellsAllRejections(t *testing.T) {
	recs := []*signalboxv1.Route{
		written("a", 1, 1, "/a", false), written("b", 2, 2, "/a", false), written("c", 3, 3, "/c", true),
	}
	tab, first := route.New(route.Config{}).Whole(recs)
	_, again := tab.Whole(recs)
	if len(first.Rejections) != 2 || !slices.Equal(first.Rejections, again.Rejections) || len(again.Swaps) != 0 {
		t.Errorf("rejected %v, the second time %v, swaps %v", first.Rejections, again.Rejections, again.Swaps)
	}
}

// A told is who was told of all changes of a table, and knows no more.
type told struct {
	rejections map[string]route.Rejection
}

// hear takes a change as a node's feed does: what was written is void, what is
// rejected or accepted is said.
func (h *told) hear(whole bool, upserts []*signalboxv1.Route, removals []string, c route.Change) {
	if whole {
		clear(h.rejections)
	}
	for _, u := range upserts {
		delete(h.rejections, u.GetName())
	}
	for _, name := range removals {
		delete(h.rejections, name)
	}
	for _, name := range c.Accepted {
		delete(h.rejections, name)
	}
	for _, rej := range c.Rejections {
		h.rejections[rej.Name] = rej
	}
}

// Whatever routes were written over, removed, made anew and refused, in
// whatever pieces the node heard of it: those in order are served and those
// refused are named as if the last records had come alone. Besides, what is
// kept of a route is served where nobody else is.
func FuzzRefusals(f *testing.F) {
	for seed := range uint64(200) {
		f.Add(seed, uint8(seed))
	}
	f.Fuzz(func(t *testing.T, seed uint64, steps uint8) {
		h := &history{t: t, rng: rand.New(rand.NewPCG(seed, 2)), tab: route.New(route.Config{})}
		h.last, h.sent, h.good = map[string]*signalboxv1.Route{}, map[string]*signalboxv1.Route{}, map[string]*signalboxv1.Route{}
		h.feed.rejections, h.far = map[string]route.Rejection{}, map[string]route.Rejection{}
		for range steps {
			h.write()
			if h.rng.IntN(3) == 0 {
				h.send(h.rng.IntN(8) == 0)
				h.check()
			}
		}
		h.send(false)
		h.check()
		h.send(true)
		h.check()
	})
}

// A history is a store, and a node's table that hears of it now and then.
type history struct {
	t    *testing.T
	rng  *rand.Rand
	rev  int64
	last map[string]*signalboxv1.Route // as written last
	sent map[string]*signalboxv1.Route // as the node heard last
	good map[string]*signalboxv1.Route // the last of those that were in order
	tab  *route.Table
	feed told
	far  map[string]route.Rejection // as whoever only hears of rejections and acceptances
}

// write writes or removes one route.
func (h *history) write() {
	h.rev++
	name := fmt.Sprintf("r%d", h.rng.IntN(6))
	if h.rng.IntN(4) == 0 {
		delete(h.last, name)
		return
	}
	created := h.rev
	if old := h.last[name]; old != nil {
		created = old.GetMeta().GetCreatedRevision()
	}
	h.last[name] = written(name, created, h.rev, fmt.Sprintf("/m%d", h.rng.IntN(4)), h.rng.IntN(4) == 0)
}

// send has the node hear of all that it lacks.
func (h *history) send(whole bool) {
	var upserts []*signalboxv1.Route
	var removals []string
	for _, name := range slices.Sorted(maps.Keys(h.last)) {
		if r := h.last[name]; whole || h.sent[name] != r {
			upserts = append(upserts, r)
		}
	}
	h.rng.Shuffle(len(upserts), func(i, j int) { upserts[i], upserts[j] = upserts[j], upserts[i] })
	for name := range h.sent {
		if h.last[name] == nil {
			delete(h.good, name)
			if !whole {
				removals = append(removals, name)
			}
		}
	}
	for _, u := range upserts {
		if last := h.good[u.GetName()]; len(u.GetUpstreams()) > 0 {
			h.good[u.GetName()] = u
		} else if last.GetMeta().GetCreatedRevision() != u.GetMeta().GetCreatedRevision() {
			delete(h.good, u.GetName())
		}
	}
	h.sent = maps.Clone(h.last)
	var c route.Change
	if whole {
		h.tab, c = h.tab.Whole(upserts)
	} else {
		h.tab, c = h.tab.With(upserts, removals)
	}
	h.feed.hear(whole, upserts, removals, c)
	for _, name := range c.Accepted {
		delete(h.far, name)
	}
	for _, rej := range c.Rejections {
		h.far[rej.Name] = rej
	}
	maps.DeleteFunc(h.far, func(name string, rej route.Rejection) bool { // void by another revision
		return h.sent[name].GetMeta().GetRevision() != rej.Revision
	})
}

func (h *history) check() {
	h.t.Helper()
	_, fresh := route.New(route.Config{}).Whole(slices.Collect(maps.Values(h.sent)))
	want := rejections(slices.Values(fresh.Rejections))
	if got := rejections(maps.Values(h.feed.rejections)); got != want {
		h.t.Fatalf("the node refuses\n%s\nwant\n%s", got, want)
	}
	if got := rejections(maps.Values(h.far)); got != want {
		h.t.Fatalf("told was\n%s\nwant\n%s", got, want)
	}
	for m := range 4 {
		prefix := fmt.Sprintf("/m%d", m)
		got, _ := h.tab.Match("", prefix)
		if want := h.holder(prefix); got == nil && want != nil || got != nil && (want == nil || got.Name != want.GetName() || got.Revision != want.GetMeta().GetRevision()) {
			h.t.Fatalf("%s is served by %v, want %v", prefix, got, want)
		}
	}
	if h.tab.Len() != len(h.good) {
		h.t.Fatalf("%d routes, want %d", h.tab.Len(), len(h.good))
	}
}

// holder is the record that must serve a prefix: of those in order the one
// created first, or else of those kept.
func (h *history) holder(prefix string) *signalboxv1.Route {
	var all []*signalboxv1.Route
	for _, r := range h.good {
		if r.GetMatch().GetPathPrefix() == prefix {
			all = append(all, r)
		}
	}
	if len(all) == 0 {
		return nil
	}
	kept := func(r *signalboxv1.Route) int {
		if h.sent[r.GetName()] == r {
			return 0
		}
		return 1
	}
	return slices.MinFunc(all, func(a, b *signalboxv1.Route) int {
		return cmp.Or(cmp.Compare(kept(a), kept(b)),
			cmp.Compare(a.GetMeta().GetCreatedRevision(), b.GetMeta().GetCreatedRevision()), strings.Compare(a.GetName(), b.GetName()))
	})
}

// rejections are some rejections, one a line, in order.
func rejections(all func(func(route.Rejection) bool)) string {
	var lines []string
	for r := range all {
		lines = append(lines, fmt.Sprintf("%s@%d: %s", r.Name, r.Revision, r.Reason))
	}
	slices.Sort(lines)
	return strings.Join(lines, "\n")
}
