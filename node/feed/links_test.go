package feed

import (
	"strings"
	"testing"
	"time"

	signalboxv1 "signalbox/proto/gen/signalbox/v1"
)

// moment is some time, n seconds later.
func moment(n int) time.Time { return time.Unix(1_000_000+int64(n), 0) }

// tries are the addresses to try now.
func tries(l *links, n int) string {
	var all []string
	try, _ := l.due(moment(n))
	for _, k := range try {
		all = append(all, k.addr)
	}
	return strings.Join(all, " ")
}

func TestLinksAreWhatSeedsAndMembersName(t *testing.T) {
	l := &links{all: map[string]*link{}, seeds: map[string][]string{"cp:1": {"10.0.0.1:1", "10.0.0.2:1"}}}
	l.members = []*signalboxv1.Member{{Id: "a", Address: "10.0.0.1:1"}, {Id: "b", Address: "b:1"}, {Id: "c"}, {Id: "d", Address: "nonsense"}}
	l.refresh(moment(0), time.Minute)
	if got := tries(l, 0); got != "10.0.0.1:1 10.0.0.2:1 b:1" {
		t.Errorf("tried are %s", got)
	}
	if got := l.all["10.0.0.1:1"].host + " " + l.all["b:1"].host; got != "cp b" {
		t.Errorf("certificates must be for %s", got)
	}

	// One is connected, one cannot be reached, and both are named no more.
	l.all["10.0.0.1:1"].stream = 7
	l.seeds["cp:1"], l.members = []string{"10.0.0.2:1"}, nil
	l.refresh(moment(59), time.Minute)
	if len(l.all) != 3 {
		t.Errorf("after 59 s %d links are left, want all three", len(l.all))
	}
	l.refresh(moment(61), time.Minute)
	if l.all["b:1"] != nil || l.all["10.0.0.1:1"] == nil || l.all["10.0.0.2:1"] == nil {
		t.Errorf("after 61 s the links are %v, want what is named and what is connected", l.all)
	}
}

func TestLinksDoNotTryASecondWayToAReplicaWhileTheFirstWorks(t *testing.T) {
	l := &links{all: map[string]*link{}, seeds: map[string][]string{"x": {"a:1", "b:1"}}}
	l.refresh(moment(0), time.Minute)
	a, b := l.all["a:1"], l.all["b:1"]
	a.stream, a.replica = 1, "cp1"
	b.parked, b.replica = "cp1", "cp1"
	if got := tries(l, 0); got != "" {
		t.Errorf("while a is connected, tried are %q", got)
	}
	a.stream, a.due = 0, moment(1) // lost
	if got := tries(l, 0); got != "" {
		t.Errorf("when a was just lost, tried are %q", got)
	}
	if got := tries(l, 1); got != "a:1" {
		t.Errorf("then tried are %q, want a", got)
	}
	a.fails, a.due = 1, moment(5)
	if got := tries(l, 1); got != "b:1" {
		t.Errorf("when a cannot be reached, tried are %q, want b", got)
	}
}

// A member whose replica is connected already, at another address, is known by
// its id.
func TestLinksKnowMembersByTheirIDs(t *testing.T) {
	l := &links{all: map[string]*link{}, seeds: map[string][]string{"x": {"10.0.0.1:1"}}}
	l.refresh(moment(0), time.Minute)
	l.all["10.0.0.1:1"].stream, l.all["10.0.0.1:1"].replica = 1, "cp1"
	l.members = []*signalboxv1.Member{{Id: "cp1", Address: "cp1.example:1"}, {Id: "cp2", Address: "cp2.example:1"}}
	l.refresh(moment(0), time.Minute)
	if got := tries(l, 0); got != "cp2.example:1" {
		t.Errorf("tried are %q, want cp2 alone", got)
	}
}

func TestOfLinksParkedForOneReplicaOneIsTried(t *testing.T) {
	l := &links{all: map[string]*link{}, seeds: map[string][]string{"x": {"a:1", "b:1"}}}
	l.refresh(moment(0), time.Minute)
	for _, k := range l.all {
		k.parked, k.replica = "cp1", "cp1"
	}
	if got := tries(l, 0); got != "a:1" {
		t.Errorf("tried are %q, want one", got)
	}
}

func TestLinksWereTriedOnceAllWere(t *testing.T) {
	l := &links{all: map[string]*link{}, seeds: map[string][]string{"x": {"a:1", "b:1"}}}
	l.refresh(moment(0), time.Minute)
	l.all["a:1"].fails = 1
	if l.tried() {
		t.Error("b was not tried")
	}
	l.all["b:1"].fails = 2
	if !l.tried() {
		t.Error("both were tried")
	}
}
