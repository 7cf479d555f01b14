package route_test

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"

	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/durationpb"

	signalboxv1 "signalbox/proto/gen/signalbox/v1"

	"signalbox/node/route"
)

func TestAChangeLeavesOtherRoutesAlone(t *testing.T) {
	old := table(t, users(100)...)
	next, change := old.With([]*signalboxv1.Route{record("new", 500, "", "/new")}, []string{"chp/user/name-000007", "never heard of"})
	if next.Len() != old.Len() {
		t.Errorf("%d routes became %d", old.Len(), next.Len())
	}
	for _, r := range old.All() {
		now, ok := next.Get(r.Name)
		if gone := r.Name == "chp/user/name-000007"; ok == gone || !gone && now != r {
			t.Errorf("%s: %p became %p", r.Name, r, now)
		}
	}
	if len(change.Swaps) != 2 || change.Swaps[0].New != nil || change.Swaps[1].Old != nil {
		t.Errorf("swaps: %v", change.Swaps)
	}
	if r, _ := old.Match("", "/new"); r.Name != "root" {
		t.Errorf("the old table sends /new to %s", r.Name)
	}
}

func TestTheOldTableKeepsServing(t *testing.T) {
	old := table(t, record("a", 1, "", "/a"))
	if next, _ := old.With(nil, []string{"a"}); next.Len() != 0 {
		t.Error("a was not removed")
	}
	if _, ok := old.Match("", "/a"); !ok || old.Len() != 1 {
		t.Error("the old table has changed")
	}
}

func TestAWholeStateKeepsWhatIsTheSame(t *testing.T) {
	old := table(t, users(50)...)
	recs := users(40)
	recs[5] = proto.Clone(recs[5]).(*signalboxv1.Route)
	recs[5].Upstreams[0].Url = "http://127.0.0.1:9999" // the same revision, as after a restored backup
	next, change := old.Whole(recs)
	if next.Len() != len(recs) || len(change.Swaps) != 11 || len(change.Rejections) != 0 {
		t.Fatalf("%d routes, %d swaps, rejections %v", next.Len(), len(change.Swaps), change.Rejections)
	}
	was, _ := old.Get("root")
	is, _ := next.Get("root")
	if was != is {
		t.Error("the root route is another, though it did not change")
	}
}

func TestABadRecordIsARejectionAndTheLastGoodOneStays(t *testing.T) {
	tab := table(t, record("a", 1, "", "/a"))
	bad := record("a", 1, "", "/a")
	bad.Meta.Revision = 7
	bad.Upstreams = nil
	check := func(next *route.Table, change route.Change) {
		t.Helper()
		if r, ok := next.Match("", "/a"); !ok || r.Revision != 1 || len(change.Swaps) != 0 {
			t.Errorf("serves %v, swaps %v", r, change.Swaps)
		}
		if len(change.Rejections) != 1 || change.Rejections[0].Revision != 7 || !strings.Contains(change.Rejections[0].Reason, "upstreams") {
			t.Errorf("rejections %v", change.Rejections)
		}
	}
	check(tab.With([]*signalboxv1.Route{bad}, nil))
	check(tab.Whole([]*signalboxv1.Route{bad}))
	if next, _ := tab.With([]*signalboxv1.Route{bad, record("b", 9, "", "/b")}, nil); next.Len() != 2 {
		t.Error("a bad record held back another")
	}
}

func TestSocketsAreRefusedUnlessAllowed(t *testing.T) {
	rec := record("s", 1, "", "/")
	rec.Upstreams[0].Url = "http+unix://%2Frun%2Fetcd.sock"
	if _, change := route.New(route.Config{}).With([]*signalboxv1.Route{rec}, nil); len(change.Rejections) != 1 {
		t.Errorf("rejections %v", change.Rejections)
	}
	tab, change := route.New(route.Config{UnixSockets: true}).With([]*signalboxv1.Route{rec}, nil)
	if tab.Len() != 1 || len(change.Rejections) != 0 {
		t.Errorf("%d routes, rejections %v", tab.Len(), change.Rejections)
	}
}

func TestOfTwoRoutesWithOneMatchTheFirstCreatedHoldsIt(t *testing.T) {
	first, second, third := record("z", 1, "x.test", "/a"), record("y", 2, "x.test", "/a/"), record("x", 2, "X.TEST.", "/a")
	serves := func(tab *route.Table, want string) {
		t.Helper()
		if r, _ := tab.Match("x.test", "/a/b"); r == nil || r.Name != want {
			t.Errorf("%v serves, want %s", r, want)
		}
	}
	tab, change := route.New(route.Config{}).With([]*signalboxv1.Route{second, first, third}, nil)
	serves(tab, "z")
	var refused []string
	for _, r := range change.Rejections {
		refused = append(refused, r.Name)
	}
	if !slices.Equal(refused, []string{"x", "y"}) || tab.Len() != 3 {
		t.Errorf("refused %v of %d", refused, tab.Len())
	}
	tab, change = tab.With(nil, []string{"z"})
	serves(tab, "x") // the next takes its place
	if !slices.Equal(change.Accepted, []string{"x"}) || len(change.Rejections) != 1 || !strings.Contains(change.Rejections[0].Reason, `"x"`) {
		t.Errorf("accepted %v, rejected %v; want x, and y because of x", change.Accepted, change.Rejections)
	}
	tab, change = tab.With([]*signalboxv1.Route{first}, nil)
	serves(tab, "z")
	if len(change.Rejections) != 2 || change.Rejections[0].Name != "x" {
		t.Errorf("the route that lost its match is not named: %v", change.Rejections)
	}
	// two routes may change places in one update
	tab = table(t, record("p", 1, "", "/p"), record("q", 2, "", "/q"))
	p, q := record("p", 1, "", "/q"), record("q", 2, "", "/p")
	if tab, change = tab.With([]*signalboxv1.Route{p, q}, nil); len(change.Rejections) != 0 {
		t.Errorf("rejections %v", change.Rejections)
	}
	if r, _ := tab.Match("", "/q"); r.Name != "p" {
		t.Errorf("%s serves /q", r.Name)
	}
}

func TestARouteBeatsTheListenerBeatsTheBuiltIn(t *testing.T) {
	strip := true
	rec := record("r", 1, "", "/")
	rec.Policy = &signalboxv1.RoutePolicy{StripPrefix: &strip, Upgrades: []string{"none"}}
	plain := record("plain", 2, "", "/plain")
	tab := table(t, rec, plain)
	defaults := route.Defaults(&signalboxv1.RoutePolicy{
		Upgrades: []string{"websocket", "spdy"}, IdleTimeout: durationpb.New(9e9),
		Host: signalboxv1.HostHeader_HOST_HEADER_UPSTREAM, Removal: signalboxv1.Removal_REMOVAL_CLOSE,
	})
	r, _ := tab.Get("r")
	if p := r.Under(defaults); !p.StripPrefix || p.Allows("websocket") || p.Allows("none") || p.Idle != 9e9 || !p.UpstreamHost || !p.Close || p.Connect != 3e9 {
		t.Errorf("got %+v", p)
	}
	r, _ = tab.Get("plain")
	if p := r.Under(defaults); p.StripPrefix || !p.Allows("spdy") || p.Allows("h2c") {
		t.Errorf("got %+v", p)
	}
	if p := r.Under(route.Defaults(nil)); !p.Allows("websocket") || p.UpstreamHost || p.Close || p.Idle != 0 || p.Response != 0 {
		t.Errorf("built in: %+v", p)
	}
}

func TestUpgradesFollowTheIdleTimeoutUnlessSomebodySaysOtherwise(t *testing.T) {
	said := func(idle, upgrade int64) *signalboxv1.RoutePolicy {
		p := new(signalboxv1.RoutePolicy)
		if idle >= 0 {
			p.IdleTimeout = durationpb.New(time.Duration(idle) * time.Second)
		}
		if upgrade >= 0 {
			p.UpgradeIdleTimeout = durationpb.New(time.Duration(upgrade) * time.Second)
		}
		return p
	}
	for _, c := range []struct {
		name            string
		listener, route *signalboxv1.RoutePolicy
		idle, upgrade   time.Duration
	}{
		{"nobody says anything", nil, nil, 0, 0},
		{"the listener says one", said(9, -1), nil, 9, 9},
		{"the listener says both", said(9, 0), said(-1, -1), 9, 0},
		{"the route says idle, of what upgrades follow", said(9, -1), said(5, -1), 5, 5},
		{"the route says idle, and the listener what upgrades have", said(9, 0), said(5, -1), 5, 0},
		{"only the listener says anything, of upgrades", said(-1, 7), said(5, -1), 5, 7},
		{"the route says what upgrades have", said(9, 0), said(-1, 3), 9, 3},
		{"the route says both", said(9, 7), said(5, 0), 5, 0},
	} {
		rec := record("r", 1, "", "/")
		rec.Policy = c.route
		r, _ := table(t, rec).Get("r")
		if p := r.Under(route.Defaults(c.listener)); p.Idle != c.idle*time.Second || p.UpgradeIdle != c.upgrade*time.Second {
			t.Errorf("%s: idle %v and %v, want %d s and %d s", c.name, p.Idle, p.UpgradeIdle, c.idle, c.upgrade)
		}
	}
}

// image is all that can be seen of a table.
func image(tab *route.Table, recs []*signalboxv1.Route) string {
	var out strings.Builder
	for _, r := range tab.All() {
		fmt.Fprintf(&out, "%s %d %s %s\n", r.Name, r.Revision, r.Host, r.Prefix)
	}
	for _, rec := range recs {
		for _, host := range []string{"x.test", "y.x.test", "a.test", ""} {
			if r, ok := tab.Match(host, rec.Match.PathPrefix+"/"); ok {
				fmt.Fprintf(&out, "%s%s -> %s\n", host, rec.Match.PathPrefix, r.Name)
			}
		}
	}
	return out.String()
}

// However a history of records is cut into updates, and in whatever order
// records that do not know each other come, the table is that of the last
// versions.
func FuzzInterleavings(f *testing.F) {
	f.Add(uint64(1), uint8(10))
	f.Add(uint64(7), uint8(120))
	f.Fuzz(func(t *testing.T, seed uint64, n uint8) {
		rng := rand.New(rand.NewPCG(seed, 1))
		recs := randomRecords(rng, int(n))
		last := map[string]*signalboxv1.Route{}
		tab := route.New(route.Config{})
		for range 3 {
			rng.Shuffle(len(recs), func(i, j int) { recs[i], recs[j] = recs[j], recs[i] })
			for rest := recs; len(rest) > 0; {
				k := 1 + rng.IntN(len(rest))
				upserts, removals := some(rng, rest[:k], last)
				rest = rest[k:]
				tab, _ = tab.With(upserts, removals)
			}
		}
		var all []*signalboxv1.Route
		for _, r := range last {
			all = append(all, r)
		}
		whole, _ := tab.Whole(all)
		fresh, _ := route.New(route.Config{}).Whole(all)
		want := image(fresh, recs)
		if got := image(tab, recs); got != want {
			t.Fatalf("got\n%s\nwant\n%s", got, want)
		}
		if got := image(whole, recs); got != want {
			t.Fatalf("the whole state over it is\n%s\nwant\n%s", got, want)
		}
	})
}

// some writes or removes records, now and then under another's match, and
// keeps account in last.
func some(rng *rand.Rand, recs []*signalboxv1.Route, last map[string]*signalboxv1.Route) (upserts []*signalboxv1.Route, removals []string) {
	for _, r := range recs {
		if rng.IntN(3) == 0 {
			removals = append(removals, r.Name)
			delete(last, r.Name)
			continue
		}
		r = proto.Clone(r).(*signalboxv1.Route)
		r.Meta.Revision += int64(rng.IntN(3))
		if rng.IntN(3) == 0 {
			r.Match = recs[rng.IntN(len(recs))].Match
		}
		upserts = append(upserts, r)
		last[r.Name] = r
	}
	return upserts, removals
}
