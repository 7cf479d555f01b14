package observe_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/goleak"
	"google.golang.org/protobuf/proto"

	"signalbox/controlplane/observe"
	signalboxv1 "signalbox/proto/gen/signalbox/v1"
	"signalbox/store"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func at(rev int64) *signalboxv1.Version { return &signalboxv1.Version{Epoch: "e", Revision: rev} }

func version(rev store.Revision) store.Version { return store.Version{Epoch: "e", Revision: rev} }

// join links a node and has it acknowledge a revision.
func join(t *testing.T, ns *observe.Nodes, name string, epoch, rev int64) *observe.Link {
	t.Helper()
	l, err := ns.Join(&signalboxv1.Hello{Node: name, Epoch: epoch})
	if err != nil {
		t.Fatal(err)
	}
	ack(l, rev)
	return l
}

func ack(l *observe.Link, rev int64) {
	l.Ack(&signalboxv1.Ack{Version: at(rev), Ready: true})
}

// waiting starts a wait, and returns how it ended once it has.
func waiting(ctx context.Context, ns *observe.Nodes, rev store.Revision) <-chan observe.Standing {
	ended := make(chan observe.Standing, 1)
	go func() { ended <- ns.Wait(ctx, version(rev)) }()
	return ended
}

func state(t *testing.T, ns *observe.Nodes, name string) signalboxv1.NodeState {
	t.Helper()
	return ns.Get(name, nil).GetState()
}

// A wait ends when the last live node serves the revision, and not before.
func TestWait(t *testing.T) {
	ns := observe.NewNodes()
	a, b := join(t, ns, "a", 1, 1), join(t, ns, "b", 1, 1)
	ended := waiting(t.Context(), ns, 2)
	ack(a, 2)
	select {
	case s := <-ended:
		t.Fatalf("ended with %+v before b acknowledged", s)
	default:
	}
	ack(b, 3)
	if s := <-ended; s.Live != 2 || s.Serving != 2 || len(s.Lagging) != 0 {
		t.Errorf("ended with %+v", s)
	}
}

// Without nodes there is nothing to wait for.
func TestWaitWithoutNodes(t *testing.T) {
	if s := observe.NewNodes().Wait(t.Context(), version(5)); s.Live != 0 || s.Serving != 0 {
		t.Errorf("ended with %+v", s)
	}
}

// missedBy has a wait for a revision end at its deadline, in simulated time.
func missedBy(t *testing.T, ns *observe.Nodes, rev store.Revision, after time.Duration) observe.Standing {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), after)
	defer cancel()
	return ns.Wait(ctx, version(rev))
}

// A node that misses a wait lags: it is named, is not waited for again, and is
// once it serves what it missed.
func TestLagging(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ns := observe.NewNodes()
		a, b := join(t, ns, "a", 1, 1), join(t, ns, "b", 1, 1)
		ack(a, 3)
		if s := missedBy(t, ns, 3, 5*time.Second); s.Serving != 1 || !slices.Equal(s.Lagging, []string{"b"}) {
			t.Fatalf("first wait ended with %+v", s)
		}
		if got := state(t, ns, "b"); got != signalboxv1.NodeState_NODE_STATE_LAGGING {
			t.Errorf("b is %v", got)
		}
		ack(a, 4)
		if s := ns.Wait(t.Context(), version(4)); !slices.Equal(s.Lagging, []string{"b"}) {
			t.Errorf("second wait ended with %+v", s)
		}
		ack(b, 2)
		if got := state(t, ns, "b"); got != signalboxv1.NodeState_NODE_STATE_LAGGING {
			t.Errorf("b is %v before it serves what it missed", got)
		}
		ack(b, 3)
		if got := state(t, ns, "b"); got != signalboxv1.NodeState_NODE_STATE_LIVE {
			t.Errorf("b is %v after it caught up with what it missed", got)
		}
		ended := waiting(t.Context(), ns, 5)
		synctest.Wait()
		ack(a, 5)
		ack(b, 5)
		if s := <-ended; s.Serving != 2 {
			t.Errorf("third wait ended with %+v", s)
		}
	})
}

// A caller who gives up, or does not wait for long, says nothing of a node: it
// is waited for by others as before.
func TestImpatientCallers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ns := observe.NewNodes()
		a := join(t, ns, "a", 1, 1)
		over, cancel := context.WithCancel(t.Context())
		cancel()
		for _, s := range []observe.Standing{ns.Wait(over, version(2)), missedBy(t, ns, 2, time.Millisecond)} {
			if !slices.Equal(s.Lagging, []string{"a"}) {
				t.Errorf("told %+v", s)
			}
		}
		ended := waiting(t.Context(), ns, 2)
		synctest.Wait()
		select {
		case s := <-ended:
			t.Fatalf("not waited for: %+v", s)
		default:
		}
		ack(a, 2)
		<-ended
	})
}

// A node whose stream broke is still waited for while somebody vouches for
// it: it serves on. When the lease ends, so does the wait.
func TestWaitForALostNode(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ns := observe.NewNodes()
		a := join(t, ns, "a", 1, 1)
		ns.Leased("a", &signalboxv1.NodeLease{Epoch: 1, ControlPlane: "cp"})
		ended := waiting(t.Context(), ns, 2)
		synctest.Wait()
		a.Leave(false)
		synctest.Wait()
		if got := state(t, ns, "a"); len(ended) != 0 || got != signalboxv1.NodeState_NODE_STATE_LIVE {
			t.Errorf("a is %v under its lease, and %d waits for it have ended", got, len(ended))
		}
		ns.Leased("a", nil)
		if s := <-ended; s.Live != 0 {
			t.Errorf("ended with %+v", s)
		}
		if got := state(t, ns, "a"); got != signalboxv1.NodeState_NODE_STATE_LOST {
			t.Errorf("a is %v", got)
		}
	})
}

// A wait for several nodes goes on for the others when one is lost, and ends
// with the last of them, whatever it was that ended them.
func TestWaitOutlastsTheLost(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ns := observe.NewNodes()
		unvouched, leaving, held := join(t, ns, "unvouched", 1, 1), join(t, ns, "leaving", 1, 1), join(t, ns, "held", 1, 1)
		ns.Leased("leaving", &signalboxv1.NodeLease{Epoch: 1})
		ns.Leased("held", &signalboxv1.NodeLease{Epoch: 1})
		ended := waiting(t.Context(), ns, 2)
		held.Leave(false)
		for _, end := range []func(){
			func() { unvouched.Leave(false) },
			func() { leaving.Leave(true) },
			func() { ns.Leased("held", nil) },
		} {
			if synctest.Wait(); len(ended) != 0 {
				t.Fatalf("ended with %+v", <-ended)
			}
			end()
		}
		if s := <-ended; s.Live != 0 {
			t.Errorf("ended with %+v", s)
		}
	})
}

// A node that said goodbye is gone at once.
func TestGoodbye(t *testing.T) {
	ns := observe.NewNodes()
	a := join(t, ns, "a", 1, 1)
	ns.Leased("a", &signalboxv1.NodeLease{Epoch: 1})
	ended := waiting(t.Context(), ns, 2) // begun or not: see TestWaitOutlastsTheLost
	a.Leave(true)
	if s := <-ended; s.Live != 0 {
		t.Errorf("ended with %+v", s)
	}
	if !ns.Forget("a") || ns.Forget("a") || ns.Get("a", nil) != nil {
		t.Error("a lost node cannot be forgotten, or can twice")
	}
	if ns.Leased("a", nil); ns.Get("a", nil) != nil {
		t.Error("the end of its lease brings it back")
	}
}

// Of two processes with one name the newer is the node.
func TestNewerProcessWins(t *testing.T) {
	ns := observe.NewNodes()
	old := join(t, ns, "a", 1, 7)
	if _, err := ns.Join(&signalboxv1.Hello{Node: "a", Epoch: 0}); !errors.Is(err, observe.ErrReplaced) {
		t.Errorf("an older process joined: %v", err)
	}
	join(t, ns, "a", 2, 3)
	select {
	case <-old.Replaced():
	default:
		t.Error("the older process was not told")
	}
	ack(old, 9)
	old.Leave(true)
	if got := ns.Get("a", nil).GetServing().GetRevision(); got != 3 {
		t.Errorf("the older process is still heard: serving %d", got)
	}
	if _, err := ns.Join(&signalboxv1.Hello{Node: "a", Epoch: 1}); !errors.Is(err, observe.ErrReplaced) {
		t.Errorf("the older process came back: %v", err)
	}
}

// A newer process that is fed by another replica is known by its lease, and
// an older one may come back once that is gone: clocks can be set back.
func TestNewerProcessElsewhere(t *testing.T) {
	ns := observe.NewNodes()
	old := join(t, ns, "a", 1, 7)
	ns.Leased("a", &signalboxv1.NodeLease{Epoch: 2, ControlPlane: "other"})
	<-old.Replaced()
	if !old.ByNewer(1) {
		t.Error("the older process is not told that a newer took its place")
	}
	if _, err := ns.Join(&signalboxv1.Hello{Node: "a", Epoch: 1}); !errors.Is(err, observe.ErrReplaced) {
		t.Errorf("the older process came back: %v", err)
	}
	ns.Leased("a", nil)
	if _, err := ns.Join(&signalboxv1.Hello{Node: "a", Epoch: 1}); err != nil {
		t.Errorf("after the newer one's lease: %v", err)
	}
}

// A node that comes with a table is live: it serves, whoever fed it. A write
// that waits names it if it does not follow.
func TestJoiningWithATable(t *testing.T) {
	ns := observe.NewNodes()
	if _, err := ns.Join(&signalboxv1.Hello{Node: "a", Epoch: 1, Serving: at(3)}); err != nil {
		t.Fatal(err)
	}
	over, cancel := context.WithCancel(t.Context())
	cancel()
	if s := ns.Wait(over, version(4)); s.Live != 1 || !slices.Equal(s.Lagging, []string{"a"}) {
		t.Errorf("the wait ended with %+v", s)
	}
}

// A rejection stands until its record has another revision, or the node takes
// it back.
func TestRejections(t *testing.T) {
	ns := observe.NewNodes()
	a := join(t, ns, "a", 1, 1)
	key := store.Key{Kind: store.KindRoute, Name: "bad"}
	a.Ack(&signalboxv1.Ack{Version: at(2), Rejections: []*signalboxv1.Rejection{
		{Kind: signalboxv1.Kind_KIND_ROUTE, Name: "bad", Revision: 2, Reason: "no sockets here"},
	}})
	if got := ns.Rejections(key, 2); len(got) != 1 || got[0].GetNode() != "a" || got[0].GetReason() != "no sockets here" {
		t.Errorf("rejections: %v", got)
	}
	if got := ns.Rejections(key, 3); got != nil {
		t.Errorf("a rejection of revision 2 is told of revision 3: %v", got)
	}
	current := func(store.Key) store.Revision { return 3 }
	if got := ns.Get("a", current).GetRejections(); got != nil {
		t.Errorf("a void rejection is listed: %v", got)
	}
	_, now, _ := ns.Changed(0)
	a.Ack(&signalboxv1.Ack{Version: at(3), Accepted: []*signalboxv1.RecordKey{{Kind: signalboxv1.Kind_KIND_ROUTE, Name: "bad"}}})
	if got := ns.Rejections(key, 2); got != nil {
		t.Errorf("taken back, it is still told: %v", got)
	}
	if names, _, _ := ns.Changed(now); len(names) != 1 {
		t.Error("taking it back is no change")
	}
}

// Changes of standing are told once, to whoever asks from where he was.
func TestChanged(t *testing.T) {
	ns := observe.NewNodes()
	a := join(t, ns, "a", 1, 1)
	join(t, ns, "b", 1, 1)
	names, now, next := ns.Changed(0)
	if !slices.Equal(names, []string{"a", "b"}) {
		t.Errorf("changed: %v", names)
	}
	ack(a, 2) // serving more is not a change of standing
	if names, _, _ := ns.Changed(now); names != nil {
		t.Errorf("changed without a change: %v", names)
	}
	a.Heard(false, nil)
	<-next
	if names, _, _ := ns.Changed(now); !slices.Equal(names, []string{"a"}) {
		t.Errorf("changed: %v", names)
	}
}

// What a lease tells of a node that has no stream here ends waits as an ack
// does, and tells who listens no more than an ack does.
func TestLeaseTells(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ns := observe.NewNodes()
		lease := func(rev int64, refused ...string) *signalboxv1.NodeLease {
			l := &signalboxv1.NodeLease{Epoch: 1, ControlPlane: "other", Serving: at(rev), Ready: true}
			for _, name := range refused {
				l.Rejections = append(l.Rejections, &signalboxv1.Rejection{Kind: signalboxv1.Kind_KIND_ROUTE, Name: name, Revision: 3})
			}
			return l
		}
		ns.Leased("a", &signalboxv1.NodeLease{Epoch: 1, ControlPlane: "other"})
		if got := ns.Unheard(); !slices.Equal(got, []string{"a"}) {
			t.Errorf("unheard: %q", got)
		}
		if s := missedBy(t, ns, 2, time.Second); !slices.Equal(s.Lagging, []string{"a"}) {
			t.Errorf("told %+v of a node that nobody hears", s)
		}
		ns.Leased("a", lease(2))
		if got := state(t, ns, "a"); got != signalboxv1.NodeState_NODE_STATE_LIVE {
			t.Errorf("a is %v after it caught up", got)
		}
		_, seen, _ := ns.Changed(0)
		ended := waiting(t.Context(), ns, 3)
		synctest.Wait()
		ns.Leased("a", lease(3))
		if s := <-ended; s.Serving != 1 {
			t.Errorf("the wait ended with %+v", s)
		}
		if names, _, _ := ns.Changed(seen); names != nil {
			t.Errorf("serving more changed the standing of %q", names)
		}
		ns.Leased("a", lease(4, "bad"))
		if got := ns.Rejections(store.Key{Kind: store.KindRoute, Name: "bad"}, 3); len(got) != 1 || got[0].GetNode() != "a" {
			t.Errorf("rejections: %v", got)
		}
		a := join(t, ns, "a", 1, 6)
		if got := ns.Unheard(); got != nil {
			t.Errorf("unheard with a stream: %q", got)
		}
		ns.Leased("a", lease(5))
		a.Leave(false)
		ns.Leased("a", lease(5))
		if got := ns.Get("a", nil).GetServing().GetRevision(); got != 6 {
			t.Errorf("an old lease took a node from 6 back to %d", got)
		}
	})
}

// What is told of a node is what it said here, and bounded.
func TestTold(t *testing.T) {
	ns := observe.NewNodes()
	var refused []*signalboxv1.Rejection
	for i := range 1000 {
		refused = append(refused, &signalboxv1.Rejection{Kind: signalboxv1.Kind_KIND_ROUTE, Name: fmt.Sprint(i), Revision: 3, Reason: strings.Repeat("r", 1000)})
	}
	join(t, ns, "a", 1, 3).Ack(&signalboxv1.Ack{Version: at(4), Rejections: refused, Ready: true})
	lease := &signalboxv1.NodeLease{Epoch: 1}
	ns.Told(lease, "a")
	if n := proto.Size(lease); lease.GetServing().GetRevision() != 4 || !lease.GetReady() || n > 64<<10 || n < 30<<10 {
		t.Errorf("told of %v, ready %t, in %d bytes", lease.GetServing(), lease.GetReady(), n)
	}
	older := &signalboxv1.NodeLease{}
	ns.Told(older, "a")
	if ns.Told(older, "b"); older.GetServing() != nil {
		t.Errorf("told of a process that is not the node: %v", older.GetServing())
	}
}

// Who was forgotten is told until the node is known again; a process that is
// newer than the one that was forgotten stays.
func TestWhatWasForgottenIsTold(t *testing.T) {
	ns := observe.NewNodes()
	lost := func(epoch int64) {
		t.Helper()
		link, err := ns.Join(&signalboxv1.Hello{Node: "a", Epoch: epoch})
		if err != nil {
			t.Fatal(err)
		}
		if ns.ForgetUpTo("a", epoch) {
			t.Error("one that has a stream is forgotten")
		}
		if got := ns.Forgotten(); len(got) != 0 {
			t.Errorf("told is %v, of one that is there", got)
		}
		link.Leave(false)
	}
	lost(5)
	if ns.ForgetUpTo("a", 4) || !ns.ForgetUpTo("a", 5) || ns.Get("a", nil) != nil {
		t.Error("not the one that was meant is forgotten")
	}
	if got := ns.Forgotten(); len(got) != 1 || got["a"] != 5 {
		t.Errorf("told is %v", got)
	}
	lost(6)
	if ns.ForgetUpTo("a", 5) || ns.Get("a", nil) == nil {
		t.Error("a newer process is forgotten")
	}
}
