package feed

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"

	signalboxv1 "signalbox/proto/gen/signalbox/v1"
)

func TestMachineAsksOneStreamOnly(t *testing.T) {
	m, cp := serving(t, nil), ranked("cp1", "cp2", "cp3")
	m.open(1)
	m.open(2)
	m.open(3)
	expect(t, "the first Welcome, when others may still come", m.welcome(1, hello(cp[0], true)), "")
	expect(t, "the second", m.welcome(2, hello(cp[1], true)), "")
	expect(t, "a wait that is over", m.settle(), "1 feed nothing")
	expect(t, "a third control plane", m.welcome(3, hello(cp[2], true)), "")
	expect(t, "an update", m.update(1, part(nil, at("e", 5), 1, 1)), "1 ack e.5, 2 ack e.5, 3 ack e.5")
	expect(t, "the end of the feeding stream", m.ended(1), "2 feed e.5")
	expect(t, "Unfed", m.unfed(2), "2 withdraw, 3 feed e.5")
	expect(t, "Unfed from all", m.unfed(3), "3 withdraw")
	expect(t, "a moment later", m.again(), "2 feed e.5")
}

func TestMachineSpreadsNodesOverControlPlanes(t *testing.T) {
	count := map[int]int{}
	for i := range 300 {
		m := newMachine(fmt.Sprintf("node-%d", i), newSimTable())
		for stream := 1; stream <= 3; stream++ {
			m.open(stream)
			m.welcome(stream, hello(fmt.Sprintf("cp%d", stream), true))
		}
		m.settle()
		count[m.asked]++
	}
	for stream := 1; stream <= 3; stream++ {
		if count[stream] < 60 {
			t.Errorf("of 300 nodes %d chose control plane %d; all: %v", count[stream], stream, count)
		}
	}
}

func TestMachineWaitsForTheMemberItPrefersAndForNoOther(t *testing.T) {
	cp := ranked("cp1", "cp2")
	first, second := cp[0], cp[1]
	both := &signalboxv1.Members{Members: []*signalboxv1.Member{{Id: "cp1"}, {Id: "cp2"}}}
	m := serving(t, nil)
	m.open(1)
	m.welcome(1, hello(second, true))
	expect(t, "members, the preferred one not connected", m.named(both), "")
	m.open(2)
	expect(t, "the preferred one", m.welcome(2, hello(first, true)), "2 feed nothing")
	expect(t, "its end: there was a choice, so nobody is waited for", m.ended(2), "1 feed nothing")

	m = serving(t, nil)
	m.open(1)
	m.welcome(1, hello(second, true))
	m.named(both)
	one := &signalboxv1.Members{Members: []*signalboxv1.Member{{Id: second}}}
	expect(t, "the preferred one being no member any more", m.named(one), "1 feed nothing")

	m = serving(t, nil)
	m.open(1)
	m.welcome(1, hello(first, true))
	expect(t, "members, the other not connected", m.named(both), "1 feed nothing")
}

func TestMachineAsksOneThatCannotFeedOnlyWhileThereIsNoOther(t *testing.T) {
	m := serving(t, nil)
	m.open(1)
	m.welcome(1, hello("cp1", false))
	expect(t, "nobody else", m.settle(), "1 feed nothing")
	m.open(2)
	expect(t, "one that can", m.welcome(2, hello("cp2", true)), "1 end, 2 feed nothing")
}

func TestMachineKeepsTheNewerOfTwoStreamsToOneReplica(t *testing.T) {
	m := serving(t, nil)
	m.open(1)
	m.open(2)
	m.welcome(1, hello("cp1", true))
	m.settle()
	out := m.welcome(2, hello("cp1", true))
	expect(t, "the same replica again", out, "1 end, 2 feed nothing")
	var dup *duplicateError
	if !errors.As(out[0].End, &dup) || dup.Replica != "cp1" {
		t.Errorf("the reason is %v, want one that names cp1", out[0].End)
	}
}

func TestMachineAnswersWhatCannotBeUsed(t *testing.T) {
	m := serving(t, at("e", 5))
	m.open(1)
	m.welcome(1, hello("cp1", true))
	m.settle()
	wrong := part(at("e", 1), at("e", 9), 1, 1)
	expect(t, "a wrong start", m.update(1, wrong), "1 feed e.5")
	expect(t, "another", m.update(1, wrong), "1 feed nothing")
	expect(t, "a third", m.update(1, wrong), "1 end")

	m.open(2)
	m.welcome(2, hello("cp1", true))
	m.update(2, wrong)
	expect(t, "the whole state after all", m.update(2, part(nil, at("e", 9), 1, 1)), "2 ack e.9")
	expect(t, "a wrong start after something good", m.update(2, wrong), "2 feed e.9")

	m.open(3)
	m.welcome(3, hello("cp2", true))
	expect(t, "an update from one that was not asked", m.update(3, part(nil, at("e", 10), 1, 1)), "3 end")
	expect(t, "a message of a stream that is no more", m.update(3, part(nil, at("e", 10), 1, 1)), "")
	expect(t, "a second Welcome", m.welcome(2, hello("cp1", true)), "2 end")
	expect(t, "Unfed on a stream that is no more", m.unfed(2), "")

	m.open(4)
	m.open(5)
	out := m.welcome(5, hello("", true))
	expect(t, "a Welcome that names nobody", out, "5 end")
	if !errors.Is(out[0].End, errProtocol) {
		t.Errorf("the reason is %v", out[0].End)
	}
}

func TestMachineForgetsPartsOfAStreamThatEnded(t *testing.T) {
	m, cp := serving(t, nil), ranked("cp1", "cp2")
	m.open(1)
	m.open(2)
	m.welcome(1, hello(cp[0], true))
	m.welcome(2, hello(cp[1], true))
	m.settle()
	m.update(1, part(nil, at("e", 5), 1, 2, "+a@1"))
	expect(t, "the end of the stream", m.ended(1), "2 feed nothing")
	expect(t, "the update from the other", m.update(2, part(nil, at("e", 5), 1, 1, "+b@1")), "2 ack e.5")
}

func TestMachineIsReady(t *testing.T) {
	t.Run("once it serves what was current at the first Welcome", func(t *testing.T) {
		m := serving(t, nil)
		m.open(1)
		m.welcome(1, hello("cp1", true)) // current is e.5
		m.settle()
		m.update(1, part(nil, at("e", 4), 1, 1))
		if m.ready {
			t.Error("ready at e.4")
		}
		m.update(1, part(at("e", 4), at("e", 6), 1, 1))
		if !m.ready {
			t.Error("not ready at e.6")
		}
	})
	t.Run("at once when what it was started with is current", func(t *testing.T) {
		m := serving(t, at("e", 5))
		m.open(1)
		m.welcome(1, hello("cp1", false))
		if !m.ready {
			t.Error("not ready at e.5")
		}
	})
	t.Run("not with what it was started with when a control plane has newer", func(t *testing.T) {
		m := serving(t, at("e", 4))
		m.open(1)
		m.welcome(1, hello("cp1", true))
		m.unanswered()
		if m.ready {
			t.Error("ready at e.4")
		}
	})
	t.Run("with what it was started with while nobody answers, and stays so", func(t *testing.T) {
		m := serving(t, at("e", 4))
		m.unanswered()
		m.open(1)
		m.welcome(1, hello("cp1", true))
		if !m.ready {
			t.Error("not ready")
		}
	})
	t.Run("not without anything to serve", func(t *testing.T) {
		m := serving(t, nil)
		m.unanswered()
		if m.ready {
			t.Error("ready with nothing")
		}
	})
	t.Run("once it serves another history that took the place of the first", func(t *testing.T) {
		m := serving(t, nil)
		m.open(1)
		m.welcome(1, hello("cp1", true))
		m.settle()
		m.update(1, part(nil, at("f", 1), 1, 1))
		if !m.ready {
			t.Error("not ready at f.1")
		}
	})
}

// serving is a machine that was started with a version.
func serving(t *testing.T, v *signalboxv1.Version) *machine {
	t.Helper()
	table := newSimTable()
	if v == nil {
		return newMachine("n", table)
	}
	return newMachine("n", table, &Change{Whole: true, To: v})
}

// ranked are replicas in the order in which the node of these tests prefers
// them.
func ranked(replicas ...string) []string {
	slices.SortFunc(replicas, func(a, b string) int { return heavier("n", a, b) })
	return replicas
}

// hello is the Welcome of a control plane that is at e.5.
func hello(id string, canFeed bool) *signalboxv1.Welcome {
	return &signalboxv1.Welcome{ControlPlane: id, Current: at("e", 5), CanFeed: canFeed}
}

// expect compares effects, written as "stream what, ...", with those wanted.
func expect(t *testing.T, after string, effects []effect, want string) {
	t.Helper()
	var all []string
	for _, e := range effects {
		switch {
		case e.Feed != nil:
			all = append(all, fmt.Sprintf("%d feed %s", e.Stream, text(e.Feed.GetHave())))
		case e.Ack != nil:
			all = append(all, fmt.Sprintf("%d ack %s", e.Stream, text(e.Ack.GetVersion())))
		case e.Withdraw:
			all = append(all, fmt.Sprintf("%d withdraw", e.Stream))
		case e.End != nil:
			all = append(all, fmt.Sprintf("%d end", e.Stream))
		}
	}
	if got := strings.Join(all, ", "); got != want {
		t.Errorf("after %s: got %q, want %q", after, got, want)
	}
}
