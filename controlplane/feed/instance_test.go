package feed_test

import (
	"fmt"
	"slices"
	"testing"

	"google.golang.org/protobuf/types/known/timestamppb"

	signalboxv1 "signalbox/proto/gen/signalbox/v1"
	"signalbox/store"
	"signalbox/store/mem"
)

// tunnels writes an instance and its assignment, in one transaction.
func (p *plane) tunnels(name string, nodes ...string) {
	p.t.Helper()
	_, err := p.keeper.Commit(p.t.Context(), store.Txn{Put: []store.Record{
		{Key: store.Key{Kind: store.KindInstance, Name: name}, Message: &signalboxv1.Instance{Name: name, Url: "server://:1/:2"}},
		{Key: store.Key{Kind: store.KindAssignment, Name: name}, Message: &signalboxv1.Assignment{Instance: name, Nodes: nodes}},
	}})
	if err != nil {
		p.t.Fatal(err)
	}
}

// records hears one whole update and returns what is in it, in order.
func (s *script) records() (all []string) {
	s.t.Helper()
	for {
		up := s.hear().GetUpdate()
		for _, r := range up.GetUpserts() {
			switch {
			case r.GetInstance().GetMeta().GetRevision() > 0:
				all = append(all, "instance/"+r.GetInstance().GetName())
			case r.GetAssignment().GetMeta().GetRevision() > 0:
				all = append(all, fmt.Sprint("assignment/", r.GetAssignment().GetInstance(), r.GetAssignment().GetNodes()))
			}
		}
		for _, k := range up.GetRemovals() {
			all = append(all, fmt.Sprint("-", k.GetKind(), "/", k.GetName()))
		}
		if up != nil && up.GetPart() == up.GetParts() {
			s.at = up.GetTo()
			slices.Sort(all)
			return all
		}
	}
}

// Instances and their assignments are fed to every node, and so are their
// removals.
func TestInstancesAreFedToAll(t *testing.T) {
	p := startPlane(t, mem.New(), "cp")
	p.tunnels("a", "n", "m")
	p.current()
	s := p.connect("n", 1, nil)
	s.ask()
	said := func(want ...string) {
		t.Helper()
		if got := s.records(); !slices.Equal(got, want) {
			t.Errorf("fed %q, want %q", got, want)
		}
		s.ack()
	}
	said("assignment/a[n m]", "instance/a")
	p.tunnels("b", "m")
	said("assignment/b[m]", "instance/b")
	_, err := p.keeper.Commit(t.Context(), store.Txn{Delete: []store.Key{
		{Kind: store.KindInstance, Name: "a"}, {Kind: store.KindAssignment, Name: "a"},
	}})
	if err != nil {
		t.Fatal(err)
	}
	said("-KIND_ASSIGNMENT/a", "-KIND_INSTANCE/a")
}

// How instances stand is known from what nodes say, until their processes end.
func TestHowInstancesStand(t *testing.T) {
	p := startPlane(t, mem.New(), "cp")
	report := func(s *script, all ...*signalboxv1.InstanceReport) {
		t.Helper()
		_, _, moved := p.instances.Changed(0)
		s.say(&signalboxv1.ConnectRequest{Message: &signalboxv1.ConnectRequest_Report{Report: &signalboxv1.Report{Instances: all}}})
		<-moved
	}
	on := func(instance string) (nodes []string) {
		for _, r := range p.instances.Runs(instance, 5) {
			nodes = append(nodes, r.GetNode())
		}
		return nodes
	}
	running := func(name string, incarnation int64) *signalboxv1.InstanceReport {
		return &signalboxv1.InstanceReport{
			Instance: name, Incarnation: incarnation, LastActivity: timestamppb.Now(),
			Run: &signalboxv1.InstanceRun{State: signalboxv1.InstanceState_INSTANCE_STATE_RUNNING},
		}
	}
	one, two := p.connect("one", 1, nil), p.connect("two", 1, nil)
	report(one, running("a", 5))
	report(two, running("a", 5))
	if got := on("a"); !slices.Equal(got, []string{"one", "two"}) {
		t.Errorf("it runs on %q", got)
	}
	report(one, &signalboxv1.InstanceReport{Instance: "a", Incarnation: 5})
	if got := on("a"); !slices.Equal(got, []string{"two"}) {
		t.Errorf("after it ended on one it runs on %q", got)
	}
	report(one, running("a", 4))
	if got := on("a"); !slices.Equal(got, []string{"two"}) {
		t.Errorf("an earlier one of the name counts: %q", got)
	}
	_, _, moved := p.instances.Changed(0)
	p.connect("two", 2, nil)
	<-moved
	if got := on("a"); got != nil {
		t.Errorf("after its process was replaced it runs on %q", got)
	}
}

// What instances log is handed on with the name of the node.
func TestLogLines(t *testing.T) {
	p := startPlane(t, mem.New(), "cp")
	s := p.connect("n", 1, nil)
	line := &signalboxv1.LogLine{Instance: "a", Text: "hello"}
	s.say(&signalboxv1.ConnectRequest{Message: &signalboxv1.ConnectRequest_LogLines{LogLines: &signalboxv1.LogLines{Lines: []*signalboxv1.LogLine{line}}}})
	if got := <-p.logged; got != "n: a: hello" {
		t.Errorf("logged is %q", got)
	}
}
