package node

import (
	"fmt"
	"log/slog"
	"strings"
	"testing"

	"signalbox/node/feed"
	signalboxv1 "signalbox/proto/gen/signalbox/v1"
)

// has says which instances the node would run, by what its supervisor was told.
func (t *tunnels) has(name string) bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	for _, w := range t.would() {
		if w.Name == name {
			return true
		}
	}
	return false
}

func instanceRecord(name string, change func(*signalboxv1.Instance)) *signalboxv1.Record {
	i := &signalboxv1.Instance{Name: name, Url: "server://127.0.0.1:1/127.0.0.1:2", Meta: &signalboxv1.Meta{Revision: 1, CreatedRevision: 1}}
	if change != nil {
		change(i)
	}
	return &signalboxv1.Record{Record: &signalboxv1.Record_Instance{Instance: i}}
}

func assigned(name string, nodes ...string) *signalboxv1.Record {
	return &signalboxv1.Record{Record: &signalboxv1.Record_Assignment{Assignment: &signalboxv1.Assignment{Instance: name, Nodes: nodes}}}
}

func gone(kind signalboxv1.Kind, name string) *feed.Change {
	return &feed.Change{Removals: []*signalboxv1.RecordKey{{Kind: kind, Name: name}}}
}

func fed(whole bool, records ...*signalboxv1.Record) *feed.Change {
	return &feed.Change{Whole: whole, Upserts: records}
}

func TestANodeRunsWhatIsAssignedToIt(t *testing.T) {
	stopped := func(i *signalboxv1.Instance) { i.Wanted = signalboxv1.InstanceWanted_INSTANCE_WANTED_STOPPED }
	isolated := func(i *signalboxv1.Instance) { i.Isolation = signalboxv1.Isolation_ISOLATION_STOP }
	unusable := func(i *signalboxv1.Instance) { i.Url = "ftp://x" }
	for name, c := range map[string]struct {
		changes []*feed.Change
		alone   bool
		runs    bool
	}{
		"one that is assigned to it":               {[]*feed.Change{fed(true, instanceRecord("i", nil), assigned("i", "me"))}, false, true},
		"one that comes after its assignment":      {[]*feed.Change{fed(true, assigned("i", "me")), fed(false, instanceRecord("i", nil))}, false, true},
		"none that is another's":                   {[]*feed.Change{fed(true, instanceRecord("i", nil), assigned("i", "you"))}, false, false},
		"one of several nodes":                     {[]*feed.Change{fed(true, instanceRecord("i", nil), assigned("i", "me", "you"))}, false, true},
		"none that nobody was given":               {[]*feed.Change{fed(true, instanceRecord("i", nil))}, false, false},
		"none that is stopped":                     {[]*feed.Change{fed(true, instanceRecord("i", stopped), assigned("i", "me"))}, false, false},
		"none that moved":                          {[]*feed.Change{fed(true, instanceRecord("i", nil), assigned("i", "me")), fed(false, assigned("i", "you"))}, false, false},
		"none that is removed":                     {[]*feed.Change{fed(true, instanceRecord("i", nil), assigned("i", "me")), gone(signalboxv1.Kind_KIND_INSTANCE, "i")}, false, false},
		"none whose assignment is removed":         {[]*feed.Change{fed(true, instanceRecord("i", nil), assigned("i", "me")), gone(signalboxv1.Kind_KIND_ASSIGNMENT, "i")}, false, false},
		"none that a whole state has not":          {[]*feed.Change{fed(true, instanceRecord("i", nil), assigned("i", "me")), fed(true)}, false, false},
		"the last good one of what it refuses":     {[]*feed.Change{fed(true, instanceRecord("i", nil), assigned("i", "me")), fed(false, instanceRecord("i", unusable))}, false, true},
		"also in a whole state":                    {[]*feed.Change{fed(true, instanceRecord("i", nil), assigned("i", "me")), fed(true, instanceRecord("i", unusable), assigned("i", "me"))}, false, true},
		"one that may run twice while it is alone": {[]*feed.Change{fed(true, instanceRecord("i", nil), assigned("i", "me"))}, true, true},
		"none that may not, while it is alone":     {[]*feed.Change{fed(true, instanceRecord("i", isolated), assigned("i", "me"))}, true, false},
		"one that may not, while it is fed":        {[]*feed.Change{fed(true, instanceRecord("i", isolated), assigned("i", "me"))}, false, true},
	} {
		t.Run(name, func(t *testing.T) {
			n := newTunnels(Config{ID: "me", Log: slog.New(slog.DiscardHandler)})
			for _, change := range c.changes {
				refused := n.apply(change)
				for _, r := range refused {
					if r.GetName() != "i" || !strings.Contains(r.GetReason(), "url") {
						t.Errorf("refused: %v", r)
					}
				}
			}
			n.isolate(c.alone)
			if n.has("i") {
				t.Error("it runs before the node is current")
			}
			n.begin()
			if n.has("i") != c.runs {
				t.Errorf("it runs: %v, want %v", n.has("i"), c.runs)
			}
		})
	}
}

func TestPortsOfServersThatNobodyHasYetAreLeftFree(t *testing.T) {
	stopped := func(i *signalboxv1.Instance) { i.Wanted = signalboxv1.InstanceWanted_INSTANCE_WANTED_STOPPED }
	client := func(i *signalboxv1.Instance) { i.Url = "client://127.0.0.1:1/127.0.0.1:3" }
	for name, c := range map[string]struct {
		records []*signalboxv1.Record
		want    bool
	}{
		"of one without an assignment":          {[]*signalboxv1.Record{instanceRecord("i", nil)}, true},
		"of one that no node could be given":    {[]*signalboxv1.Record{instanceRecord("i", nil), assigned("i")}, true},
		"not of one that is another's":          {[]*signalboxv1.Record{instanceRecord("i", nil), assigned("i", "you")}, false},
		"not of one that is stopped":            {[]*signalboxv1.Record{instanceRecord("i", stopped)}, false},
		"not of a client":                       {[]*signalboxv1.Record{instanceRecord("i", client)}, false},
		"not of one that it runs, and tells so": {[]*signalboxv1.Record{instanceRecord("i", nil), assigned("i", "me")}, false},
	} {
		t.Run(name, func(t *testing.T) {
			n := newTunnels(Config{ID: "me", Log: slog.New(slog.DiscardHandler)})
			n.apply(fed(true, c.records...))
			if got := n.coming()["1"]; got != c.want {
				t.Errorf("port 1 is left free: %v, want %v", got, c.want)
			}
		})
	}
}

func TestOneThatSaysMuchDoesNotDriveOutTheOthers(t *testing.T) {
	var l lines
	say := func(instance string, n int) {
		for range n {
			l.add(&signalboxv1.LogLine{Instance: instance})
		}
	}
	say("quiet", 5)
	old := l.reader()
	old.next()
	say("loud", 3*maxLines)
	say("late", 1)
	count := func(of []*signalboxv1.LogLine) map[string]int {
		each, last := map[string]int{}, int64(0)
		for _, line := range of {
			if each[line.GetInstance()]++; line.GetPlace() <= last {
				t.Errorf("place %d after %d", line.GetPlace(), last)
			}
			last = line.GetPlace()
		}
		return each
	}
	fresh := l.reader().next()
	if got := count(fresh); got["quiet"] != 5 || got["late"] != 1 || got["loud"] < keptLines-5 || len(fresh) > maxLines {
		t.Errorf("a new stream is told %v", got)
	}
	if strings.Contains(fresh[0].GetText(), "lost") {
		t.Errorf("a new stream has missed nothing, and is told %q", fresh[0].GetText())
	}
	told := old.next()
	want := fmt.Sprintf("(%d lines", 3*maxLines+1-len(told))
	if got := count(told); got["quiet"] != 0 || got["late"] != 1 || !strings.Contains(told[0].GetText(), want) {
		t.Errorf("the old stream is told %v, first %q, want %q in it", got, told[0].GetText(), want)
	}
	for i := range maxLines + 1 {
		say(fmt.Sprint("i", i), 1)
	}
	if n := len(l.reader().next()); n == 0 || n > maxLines {
		t.Errorf("of many instances %d lines are kept", n)
	}
}

func TestLinesAreReadByEveryStream(t *testing.T) {
	var l lines
	say := func(from, to int) {
		for i := from; i < to; i++ {
			l.add(&signalboxv1.LogLine{Instance: "i", Text: fmt.Sprint(i)})
		}
	}
	say(0, 3)
	one := l.reader()
	if got := one.next(); len(got) != 3 || got[0].GetText() != "0" || got[2].GetPlace() != 3 {
		t.Errorf("the first are %v", got)
	}
	if got := one.next(); got != nil {
		t.Errorf("nothing was said, and %v is told", got)
	}
	say(3, 4)
	two := l.reader()
	if a, b := one.next(), two.next(); len(a) != 1 || a[0].GetText() != "3" || len(b) != 4 {
		t.Errorf("the old stream is told %v, the new one %v", a, b)
	}
	say(4, 3*maxLines)
	got := one.next()
	if len(got) == 0 || len(got) > maxLines {
		t.Fatalf("%d lines are told", len(got))
	}
	first := got[0].GetPlace()
	if want := fmt.Sprintf("(%d lines", first-5); !strings.Contains(got[0].GetText(), want) {
		t.Errorf("the first line after the gap is %q, want %q in it", got[0].GetText(), want)
	}
	if last := got[len(got)-1]; last.GetPlace() != 3*maxLines || strings.Contains(last.GetText(), "lost") {
		t.Errorf("the last line is %v", last)
	}
}
