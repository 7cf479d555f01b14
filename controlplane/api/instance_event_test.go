package api_test

import (
	"strings"
	"testing"

	"google.golang.org/grpc/codes"
	"google.golang.org/protobuf/types/known/timestamppb"

	"signalbox/controlplane/observe"
	signalboxv1 "signalbox/proto/gen/signalbox/v1"
	"signalbox/store/mem"
)

const (
	works  = signalboxv1.InstanceState_INSTANCE_STATE_RUNNING
	faulty = signalboxv1.InstanceState_INSTANCE_STATE_ERROR
)

// joins has a node be there.
func (p *plane) joins(node string) *observe.Link {
	p.t.Helper()
	link, err := p.nodes.Join(&signalboxv1.Hello{Node: node, Epoch: 1, Serving: &signalboxv1.Version{Epoch: "e", Revision: 1}})
	if err != nil {
		p.t.Fatal(err)
	}
	p.runs.Joined(node, 1)
	return link
}

// reports has a node say how an instance stands, and what it carried.
func (p *plane) reports(node string, i *signalboxv1.Instance, sent uint64, run *signalboxv1.InstanceRun) {
	all := []*signalboxv1.InstanceReport{{
		Instance: i.GetName(), Incarnation: i.GetMeta().GetCreatedRevision() + i.GetResets(), Run: run,
		Counters: &signalboxv1.InstanceCounters{TcpSent: sent}, LastActivity: timestamppb.Now(),
	}}
	p.book.ReportInstances(node, 1, all)
	p.runs.Report(node, 1, all)
}

const instanceKind = signalboxv1.Kind_KIND_INSTANCE

// Whoever follows instances is told of each change of how one stands, once, and
// never of counters alone.
func TestEventsOfInstances(t *testing.T) {
	st := mem.New()
	p := start(t, st)
	f := p.follow(bounded(t), "", instanceKind)
	i := p.putInstance(instance("a", aServer))
	e := f.says("CREATED instance/a")
	if o := e.GetInstance().GetObserved(); o.GetState() != faulty || o.GetReason() != "no node is live" {
		t.Errorf("observed at first: %v", o)
	}
	p.joins("n")
	e = f.says("OBSERVED instance/a")
	if o := e.GetInstance().GetObserved(); o.GetState() != signalboxv1.InstanceState_INSTANCE_STATE_STARTING || o.GetReason() != "" {
		t.Errorf("observed with a node: %v", o)
	}
	p.assign("a", "n")
	e = f.says("OBSERVED instance/a")
	if runs := e.GetInstance().GetObserved().GetRuns(); len(runs) != 1 || runs[0].GetNode() != "n" {
		t.Errorf("assigned to %v", runs)
	}
	p.reports("n", i, 1, &signalboxv1.InstanceRun{State: works})
	e = f.says("OBSERVED instance/a")
	if o := e.GetInstance().GetObserved(); o.GetState() != works || o.GetCounters().GetTcpSent() != 1 || e.GetInstance().GetUrl() != aServer {
		t.Errorf("it runs: %v", e.GetInstance())
	}
	p.joins("m") // nothing to an instance that runs elsewhere
	p.reports("n", i, 2, &signalboxv1.InstanceRun{State: works, Pool: 7, TcpConnections: 9})
	p.reports("n", i, 3, &signalboxv1.InstanceRun{State: faulty, Reason: "port 10101 is taken"})
	e = f.says("OBSERVED instance/a")
	if o := e.GetInstance().GetObserved(); o.GetState() != faulty || o.GetReason() != "port 10101 is taken" || o.GetCounters().GetTcpSent() != 3 {
		t.Errorf("it fails: %v", o)
	}
	p.update(&signalboxv1.UpdateInstanceRequest{Name: "a", Alias: ptr("x"), Reset_: true})
	e = f.says("UPDATED instance/a")
	if got := e.GetInstance(); got.GetAlias() != "x" || got.GetObserved().GetState() != faulty || got.GetObserved().GetCounters().GetTcpSent() != 0 {
		t.Errorf("written: %v", got)
	}
	if _, err := p.instances.DeleteInstance(bounded(t), &signalboxv1.DeleteInstanceRequest{Name: "a"}); err != nil {
		t.Fatal(err)
	}
	p.reports("n", i, 4, nil)
	p.putInstance(instance("b", aServer))
	f.says("REMOVED instance/a", "CREATED instance/b")
}

// The key in a URL is hidden in events from who may not write instances.
func TestKeysOfInstancesInEvents(t *testing.T) {
	p := start(t, mem.New())
	secret := p.key("r", "events:read", "instances:read")
	f := p.follow(as(bounded(t), secret), "")
	i := p.putInstance(instance("a", aServer))
	if url := f.says("CREATED instance/a").GetInstance().GetUrl(); url != "server://********@:10101/127.0.0.1:8080" {
		t.Errorf("a writing tells %q", url)
	}
	p.joins("n")
	p.reports("n", i, 0, &signalboxv1.InstanceRun{State: works})
	if url := f.says("OBSERVED instance/a").GetInstance().GetUrl(); strings.Contains(url, "a-key") {
		t.Errorf("an observation tells %q", url)
	}
	none := as(bounded(t), p.key("none", "events:read", "routes:read"))
	stream, err := p.events.FollowEvents(none, &signalboxv1.FollowEventsRequest{Kinds: []signalboxv1.Kind{instanceKind}})
	if err != nil {
		t.Fatal(err)
	}
	_, err = stream.Recv()
	refused(t, err, codes.PermissionDenied)
}

func TestFollowInstanceLogs(t *testing.T) {
	say := func(p *plane, instance string, texts ...string) {
		var lines []*signalboxv1.LogLine
		for _, text := range texts {
			lines = append(lines, &signalboxv1.LogLine{Instance: instance, Text: text})
		}
		p.logs.Add("n", 1, lines)
	}
	t.Run("a tail and then what is said, until the instance is gone", func(t *testing.T) {
		p := start(t, mem.New())
		p.putInstance(instance("a", aServer))
		say(p, "a", "1", "2")
		stream, err := p.instances.FollowInstanceLogs(bounded(t), &signalboxv1.FollowInstanceLogsRequest{Name: "a", Tail: 1})
		if err != nil {
			t.Fatal(err)
		}
		if _, err := stream.Header(); err != nil {
			t.Fatal(err)
		}
		say(p, "b", "x")
		say(p, "a", "3")
		for _, want := range []string{"2", "3"} {
			if res, err := stream.Recv(); err != nil || res.GetLine().GetText() != want || res.GetLine().GetNode() != "n" {
				t.Errorf("got %v, %v, want %q", res, err, want)
			}
		}
		p.logs.Forget("a")
		_, err = stream.Recv()
		refused(t, err, codes.NotFound)
	})
	t.Run("one that cannot keep up is told how much it missed, and holds up nobody", func(t *testing.T) {
		p := start(t, mem.New())
		stream, err := p.instances.FollowInstanceLogs(bounded(t), &signalboxv1.FollowInstanceLogsRequest{})
		if err != nil {
			t.Fatal(err)
		}
		if _, err := stream.Header(); err != nil {
			t.Fatal(err)
		}
		const all = 5000
		for range all - 1 {
			say(p, "a", strings.Repeat("x", 4000))
		}
		say(p, "a", "last")
		var heard, missed int64
		for {
			res, err := stream.Recv()
			if err != nil {
				t.Fatal(err)
			}
			heard, missed = heard+1, missed+res.GetMissed()
			if res.GetLine().GetText() == "last" {
				break
			}
		}
		if missed == 0 || heard+missed != all {
			t.Errorf("heard %d and missed %d of %d", heard, missed, all)
		}
	})
	t.Run("what is wrong is named", func(t *testing.T) {
		p := start(t, mem.New())
		for want, req := range map[codes.Code]*signalboxv1.FollowInstanceLogsRequest{
			codes.NotFound: {Name: "none"}, codes.InvalidArgument: {Tail: -1},
		} {
			stream, err := p.instances.FollowInstanceLogs(bounded(t), req)
			if err == nil {
				_, err = stream.Recv()
			}
			refused(t, err, want, map[codes.Code][]string{codes.InvalidArgument: {"tail"}}[want]...)
		}
	})
}
