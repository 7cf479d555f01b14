package assign_test

import (
	"context"
	"errors"
	"log/slog"
	"slices"
	"testing"
	"time"

	"go.uber.org/goleak"

	"signalbox/controlplane/assign"
	"signalbox/controlplane/observe"
	"signalbox/controlplane/replica"
	signalboxv1 "signalbox/proto/gen/signalbox/v1"
	"signalbox/store"
	"signalbox/store/mem"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// always believes to lead.
func always(context.Context, string) (<-chan struct{}, error) { return nil, nil }

// world is a store, with one replica that follows it and believes to lead.
type world struct {
	keeper  *mem.Keeper
	replica *replica.Replica
	nodes   *observe.Nodes
	runs    *observe.Instances
}

func begin(t *testing.T, keeper *mem.Keeper) *world {
	t.Helper()
	log := slog.New(slog.DiscardHandler)
	w := &world{keeper: keeper, replica: replica.New(keeper, log), nodes: observe.NewNodes(), runs: observe.NewInstances()}
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan struct{}, 2)
	go func() { _ = w.replica.Run(ctx); done <- struct{}{} }()
	a := assign.New(assign.Config{Store: keeper, Replica: w.replica, Nodes: w.nodes, Runs: w.runs, Log: log})
	go func() {
		if err := a.Run(ctx, always); !errors.Is(err, context.Canceled) {
			t.Errorf("it ended with %v", err)
		}
		done <- struct{}{}
	}()
	t.Cleanup(func() { cancel(); <-done; <-done })
	return w
}

func (w *world) live(name string) {
	w.nodes.Leased(name, &signalboxv1.NodeLease{ControlPlane: "cp", Epoch: 1})
}

func write(t *testing.T, k *mem.Keeper, txn store.Txn) {
	t.Helper()
	if _, err := k.Commit(t.Context(), txn); err != nil {
		t.Fatal(err)
	}
}

func put(name string) store.Txn {
	return store.Txn{Put: []store.Record{{
		Key:     store.Key{Kind: store.KindInstance, Name: name},
		Message: &signalboxv1.Instance{Name: name, Url: "server://:1000/127.0.0.1:2000", Meta: &signalboxv1.Meta{}},
	}}}
}

// await waits for an assignment to nodes, nil for there to be none.
func (w *world) await(t *testing.T, name string, nodes ...string) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	for {
		view, next := w.replica.Now()
		var have []string
		found := false
		if view != nil {
			if r := view.Get(store.Key{Kind: store.KindAssignment, Name: name}); r != nil {
				found, have = true, r.Message.(*signalboxv1.Assignment).GetNodes()
			}
		}
		if found == (nodes != nil) && slices.Equal(have, nodes) {
			return
		}
		select {
		case <-next:
		case <-ctx.Done():
			t.Fatalf("%s is assigned to %v (%v), want %v", name, have, found, nodes)
		}
	}
}

func TestAnInstanceFollowsItsNodes(t *testing.T) {
	w := begin(t, mem.New())
	write(t, w.keeper, put("i"))
	w.live("a")
	w.await(t, "i", "a")
	w.live("b")
	w.nodes.Leased("a", nil) // it is lost
	w.await(t, "i", "b")
	write(t, w.keeper, store.Txn{Delete: []store.Key{{Kind: store.KindInstance, Name: "i"}}})
	w.await(t, "i")
}

// Two that both believe to lead, and see different nodes, as they may for a
// moment: every assignment names one node at every revision.
func TestTwoLeadersNeverAssignOneInstanceTwice(t *testing.T) {
	k := mem.New()
	one, two := begin(t, k), begin(t, k.Another())
	ctx, cancel := context.WithCancel(t.Context())
	watched := make(chan struct{})
	go func() {
		defer close(watched)
		_ = k.Follow(ctx, func(ch store.Change) error {
			for _, r := range ch.Put {
				if a, ok := r.Message.(*signalboxv1.Assignment); ok && len(a.GetNodes()) > 1 {
					t.Errorf("%s is assigned to %v", r.Name, a.GetNodes())
				}
			}
			return nil
		})
	}()
	one.live("a")
	two.live("b")
	for _, name := range []string{"i", "j", "k"} {
		write(t, k, put(name))
	}
	one.live("b")
	two.live("a")
	one.nodes.Leased("a", nil)
	two.nodes.Leased("a", nil)
	for _, name := range []string{"i", "j", "k"} {
		one.await(t, name, "b")
		two.await(t, name, "b")
	}
	cancel()
	<-watched
}
