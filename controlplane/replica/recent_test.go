package replica

import (
	"strings"
	"testing"

	signalboxv1 "signalbox/proto/gen/signalbox/v1"
	"signalbox/store"
)

// What is remembered is bounded, whether there are many changes or large ones,
// and the newest are among it; who has not seen what is forgotten is told so.
func TestRecentIsBounded(t *testing.T) {
	for name, c := range map[string]struct{ data, changes, least, most int }{
		"many":       {0, 3 * maxRecent, maxRecent * 9 / 10, maxRecent},
		"large":      {1 << 20, 300, 57, 64},
		"in between": {32 << 10, 5000, 1800, 2048},
	} {
		t.Run(name, func(t *testing.T) {
			r := &Replica{}
			behind := &Cursor{recent: &r.recent}
			route := &signalboxv1.Route{Data: strings.Repeat("x", c.data)}
			version := func(i int) store.Version { return store.Version{Epoch: "e", Revision: store.Revision(i)} }
			for i := range c.changes {
				r.recent.add(store.Change{Version: version(i), Put: []store.Record{{Message: route}}})
				if n := len(r.recent.changes); n > c.most || i >= c.most && n < c.least-1 {
					t.Fatalf("%d changes are remembered after %d, want %d to %d", n, i+1, c.least, c.most)
				}
			}
			ch, lost, err := behind.Next(t.Context())
			if err != nil || !lost {
				t.Fatalf("the first change was given: %v, %v", ch.Version, err)
			}
			for i := int(ch.Version.Revision) + 1; i < c.changes; i++ {
				if got, lost, err := behind.Next(t.Context()); err != nil || lost || got.Version != version(i) {
					t.Fatalf("%v, lost %t, %v; want %v", got.Version, lost, err, version(i))
				}
			}
			if _, ok := r.FollowAfter(version(c.changes - c.least/2)); !ok {
				t.Error("a recent change cannot be resumed from")
			}
			r.recent.add(store.Change{Whole: true})
			if r.recent.bytes != 0 {
				t.Errorf("%d bytes of nothing", r.recent.bytes)
			}
		})
	}
}
