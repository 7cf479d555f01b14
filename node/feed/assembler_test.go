package feed

import (
	"fmt"
	"strings"
	"testing"

	signalboxv1 "signalbox/proto/gen/signalbox/v1"
)

func TestAssembler(t *testing.T) {
	for _, c := range []struct {
		name  string
		parts []*signalboxv1.Update
		want  []string // what each part gave: "", a change, or an error's beginning
	}{
		{
			name:  "a whole state in one part is taken from nothing",
			parts: []*signalboxv1.Update{part(nil, at("e", 5), 1, 1, "+a@3", "+b@5")},
			want:  []string{"whole to e.5: +a@3 +b@5"},
		},
		{
			name: "parts are given together, in order, when the last has come",
			parts: []*signalboxv1.Update{
				part(nil, at("e", 5), 1, 3, "+a@3"), part(nil, at("e", 5), 2, 3), part(nil, at("e", 5), 3, 3, "+b@5"),
			},
			want: []string{"", "", "whole to e.5: +a@3 +b@5"},
		},
		{
			name: "a change continues from the version served",
			parts: []*signalboxv1.Update{
				part(nil, at("e", 5), 1, 1, "+a@3"), part(at("e", 5), at("e", 7), 1, 1, "+b@6", "-a"),
			},
			want: []string{"whole to e.5: +a@3", "e.5 to e.7: +b@6 -a"},
		},
		{
			name:  "a change from nothing is a whole state",
			parts: []*signalboxv1.Update{part(&signalboxv1.Version{}, at("e", 5), 1, 1, "+a@3")},
			want:  []string{"whole to e.5: +a@3"},
		},
		{
			name: "a change from a version that is not served is refused",
			parts: []*signalboxv1.Update{
				part(nil, at("e", 5), 1, 1), part(at("e", 6), at("e", 7), 1, 1), part(at("f", 5), at("f", 7), 1, 1),
				part(&signalboxv1.Version{}, at("e", 7), 1, 1), part(at("e", 5), at("e", 7), 1, 1, "+a@7"),
			},
			want: []string{
				"whole to e.5:", "!the update starts from e.6, but e.5 is served", "!the update starts from f.5, but e.5",
				"!the update starts from nothing, but e.5", "e.5 to e.7: +a@7",
			},
		},
		{
			name: "a change that leads nowhere later is refused",
			parts: []*signalboxv1.Update{
				part(nil, at("e", 5), 1, 1), part(at("e", 5), at("e", 4), 1, 1), part(at("e", 5), at("f", 9), 1, 1),
				part(at("e", 5), nil, 1, 1),
			},
			want: []string{
				"whole to e.5:", "!the update from e.5 leads to e.4, which is not later", "!the update from e.5 leads to f.9",
				"!the update does not say which version",
			},
		},
		{
			name: "the rest of an update that was given up is passed over, and the next one taken",
			parts: []*signalboxv1.Update{
				part(nil, at("e", 5), 1, 4, "+x@1"), part(nil, at("e", 5), 3, 4), part(nil, at("e", 5), 4, 4),
				part(nil, at("e", 5), 2, 4), part(nil, at("e", 6), 1, 1, "+a@6"),
			},
			want: []string{"", "!part 3 of 4 came instead of part 2 of 4", "", "", "whole to e.6: +a@6"},
		},
		{
			name:  "an update of another number of parts than it began with is refused",
			parts: []*signalboxv1.Update{part(nil, at("e", 5), 1, 3), part(nil, at("e", 5), 2, 2)},
			want:  []string{"", "!part 2 of 2 came instead of part 2 of 3"},
		},
		{
			name: "a first part in the middle of an update drops both",
			parts: []*signalboxv1.Update{
				part(nil, at("e", 5), 1, 2), part(nil, at("e", 5), 1, 2), part(nil, at("e", 5), 2, 2),
				part(nil, at("e", 5), 1, 1),
			},
			want: []string{"", "!part 1 of 2 came instead of part 2 of 2", "", "whole to e.5:"},
		},
		{
			name: "parts that disagree about their versions are refused",
			parts: []*signalboxv1.Update{
				part(nil, at("e", 5), 1, 2), part(nil, at("e", 6), 2, 2),
				part(nil, at("e", 5), 1, 2), part(at("e", 4), at("e", 5), 2, 2),
				part(nil, at("e", 5), 1, 2), part(&signalboxv1.Version{}, at("e", 5), 2, 2),
			},
			want: []string{
				"", "!part 2 is of an update from nothing to e.6, those before it from nothing to e.5",
				"", "!part 2 is of an update from e.4", "", "!part 2 is of",
			},
		},
		{
			name: "numbers that cannot be are refused",
			parts: []*signalboxv1.Update{
				part(nil, at("e", 5), 0, 0), part(nil, at("e", 5), 1, 0), part(nil, at("e", 5), 1, -1),
			},
			want: []string{"!part 0 of 0", "!part 1 of 0", "!part 1 of -1"},
		},
		{
			name:  "an update must begin with its first part",
			parts: []*signalboxv1.Update{part(nil, at("e", 5), 2, 2)},
			want:  []string{"!part 2 came before part 1"},
		},
	} {
		t.Run(c.name, func(t *testing.T) {
			var a Assembler
			for i, u := range c.parts {
				got := taken(a.Take(u))
				if c.want[i] == "" && got != "" || !strings.HasPrefix(got, c.want[i]) {
					t.Errorf("part %d: got %q, want %q", i, got, c.want[i])
				}
			}
		})
	}
}

// A whole state has no removals, so one that is in it by mistake removes
// nothing.
func TestRemovalsInAWholeStateAreNotPassedOn(t *testing.T) {
	var a Assembler
	if got := taken(a.Take(part(nil, at("e", 5), 1, 1, "+a@3", "-a"))); got != "whole to e.5: +a@3" {
		t.Errorf("got %q", got)
	}
}

func TestRefusalsEndWhenTheRecordIsWrittenAgainRemovedOrAccepted(t *testing.T) {
	r := refusals{}
	accept := func(name string) string {
		r.applied(change(), Outcome{Accepted: change("-" + name).Removals})
		return fmt.Sprint(strings.Repeat("some", len(r)))
	}
	see := func(c *Change, refused ...*signalboxv1.Rejection) string {
		r.applied(c, Outcome{Refused: refused})
		var all []string
		for _, rej := range r.all() {
			all = append(all, fmt.Sprintf("%s@%d", rej.GetName(), rej.GetRevision()))
		}
		return strings.Join(all, " ")
	}
	for i, step := range []struct{ got, want string }{
		{see(change("+a@1", "+b@2", "+c@3"), refusal("a", 1), refusal("b", 2), refusal("c", 3)), "a@1 b@2 c@3"},
		{see(change("+a@4", "-c")), "b@2"},
		{see(change("+b@5"), refusal("b", 5)), "b@5"},
		{see(change("+d@6")), "b@5"},
		{accept("b"), ""},
		{see(change("+e@7"), refusal("e", 7)), "e@7"},
		{see(&Change{Whole: true}), ""},
	} {
		if step.got != step.want {
			t.Errorf("step %d: refused are %q, want %q", i, step.got, step.want)
		}
	}
}

// at is a version.
func at(epoch string, rev int64) *signalboxv1.Version {
	return &signalboxv1.Version{Epoch: epoch, Revision: rev}
}

// part is an update of routes: "+name@revision" writes one, "-name" removes.
func part(from, to *signalboxv1.Version, n, of int32, routes ...string) *signalboxv1.Update {
	c := change(routes...)
	return &signalboxv1.Update{From: from, To: to, Part: n, Parts: of, Upserts: c.Upserts, Removals: c.Removals}
}

// change is a change of routes, written as for part.
func change(routes ...string) *Change {
	c := new(Change)
	for _, r := range routes {
		var rev int64
		name, _, _ := strings.Cut(r[1:], "@")
		if r[0] == '-' {
			c.Removals = append(c.Removals, &signalboxv1.RecordKey{Kind: signalboxv1.Kind_KIND_ROUTE, Name: name})
			continue
		}
		if _, err := fmt.Sscanf(r[1+len(name):], "@%d", &rev); err != nil {
			panic(err)
		}
		c.Upserts = append(c.Upserts, &signalboxv1.Record{Record: &signalboxv1.Record_Route{
			Route: &signalboxv1.Route{Name: name, Meta: &signalboxv1.Meta{Revision: rev}},
		}})
	}
	return c
}

// refusal is a rejection of a route.
func refusal(name string, rev int64) *signalboxv1.Rejection {
	return &signalboxv1.Rejection{Kind: signalboxv1.Kind_KIND_ROUTE, Name: name, Revision: rev, Reason: "no"}
}

// taken writes down what a part gave.
func taken(c *Change, err error) string {
	switch {
	case err != nil:
		return "!" + err.Error()
	case c == nil:
		return ""
	}
	head := text(c.From) + " to " + text(c.To) + ":"
	if c.Whole {
		head = "whole to " + text(c.To) + ":"
	}
	for _, u := range c.Upserts {
		head += fmt.Sprintf(" +%s@%d", u.GetRoute().GetName(), u.GetRoute().GetMeta().GetRevision())
	}
	for _, k := range c.Removals {
		head += " -" + k.GetName()
	}
	return head
}
