package presence_test

import (
	"context"
	"log/slog"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"

	"signalbox/controlplane/presence"
	signalboxv1 "signalbox/proto/gen/signalbox/v1"
	"signalbox/store/mem"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// heard is the node leases a replica was told of.
type heard struct {
	mu     sync.Mutex
	leases map[string]string // node to control plane
	moved  chan struct{}
}

// Unheard and the others belong to nodes that are looked at elsewhere.
func (h *heard) Unheard() []string                   { return nil }
func (h *heard) Told(*signalboxv1.NodeLease, string) {}
func (h *heard) Forgotten() map[string]int64         { return nil }
func (h *heard) ForgetUpTo(string, int64) bool       { return false }

func (h *heard) Leased(node string, lease *signalboxv1.NodeLease) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if delete(h.leases, node); lease != nil {
		h.leases[node] = lease.GetControlPlane()
	}
	close(h.moved)
	h.moved = make(chan struct{})
}

// wait waits until a node is held by a control plane, or by nobody.
func (h *heard) wait(t *testing.T, node, want string) {
	t.Helper()
	over := time.After(10 * time.Second)
	for {
		h.mu.Lock()
		got, moved := h.leases[node], h.moved
		h.mu.Unlock()
		if got == want {
			return
		}
		select {
		case <-moved:
		case <-over:
			t.Fatalf("%s is held by %q, want %q", node, got, want)
		}
	}
}

func start(t *testing.T, keeper *mem.Keeper, id string) (*presence.Presence, *heard, func()) {
	h := &heard{leases: map[string]string{}, moved: make(chan struct{})}
	p := presence.New(presence.Config{ID: id, Address: id + ":1", TTL: time.Second}, keeper, slog.New(slog.DiscardHandler), h)
	ctx, cancel := context.WithCancel(context.Background())
	var running sync.WaitGroup
	running.Go(func() { _ = p.Run(ctx) })
	stop := sync.OnceFunc(func() {
		cancel()
		running.Wait()
	})
	t.Cleanup(stop)
	if _, err := p.Session(t.Context()); err != nil {
		t.Fatal(err)
	}
	return p, h, stop
}

// A replica that leaves takes its leases with it; a node that another has
// taken over stays that one's.
func TestTakeOver(t *testing.T) {
	keeper := mem.New()
	one, _, stopOne := start(t, keeper, "one")
	two, told, _ := start(t, keeper.Another(), "two")
	one.Hold("a", &signalboxv1.NodeLease{Epoch: 1})
	one.Hold("b", &signalboxv1.NodeLease{Epoch: 1})
	told.wait(t, "a", "one")
	told.wait(t, "b", "one")
	token := two.Hold("a", &signalboxv1.NodeLease{Epoch: 1})
	told.wait(t, "a", "two")
	stopOne()
	told.wait(t, "b", "")
	told.wait(t, "a", "two")
	two.Release("a", token)
	told.wait(t, "a", "")
}

// A lingering node is vouched for no longer than a lease lasts.
func TestLinger(t *testing.T) {
	p, told, _ := start(t, mem.New(), "one")
	a := p.Hold("a", &signalboxv1.NodeLease{Epoch: 1})
	b := p.Hold("b", &signalboxv1.NodeLease{Epoch: 1})
	c := p.Hold("c", &signalboxv1.NodeLease{Epoch: 1})
	told.wait(t, "a", "one")
	told.wait(t, "b", "one")
	told.wait(t, "c", "one")
	p.Linger("a", a)
	p.Linger("b", b)
	p.Hold("b", &signalboxv1.NodeLease{Epoch: 1})
	p.Hold("c", &signalboxv1.NodeLease{Epoch: 1})
	p.Linger("c", c) // an old stream's end, heard late
	p.Release("c", c)
	told.wait(t, "a", "")
	told.wait(t, "b", "one")
	told.wait(t, "c", "one")
}

// A replica cut off from the store knows it, and is back when the store is;
// what it vouches for then is what it feeds, not what it fed.
func TestCutOff(t *testing.T) {
	keeper := mem.New()
	p, _, _ := start(t, keeper, "one")
	_, told, _ := start(t, keeper.Another(), "two")
	p.Hold("stays", &signalboxv1.NodeLease{Epoch: 1})
	left := p.Hold("left", &signalboxv1.NodeLease{Epoch: 1})
	told.wait(t, "stays", "one")
	told.wait(t, "left", "one")
	session, err := p.Session(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	keeper.SetAvailable(false)
	<-session.Lost()
	told.wait(t, "stays", "")
	for {
		can, _, changed := p.Standing()
		if !can {
			break
		}
		<-changed
	}
	p.Linger("left", left)
	keeper.SetAvailable(true)
	told.wait(t, "stays", "one")
	told.wait(t, "left", "")
}

// Members come and go with their leases.
func TestMembers(t *testing.T) {
	keeper := mem.New()
	p, _, _ := start(t, keeper, "one")
	_, _, stop := start(t, keeper.Another(), "two")
	members := func(want int) {
		t.Helper()
		over := time.After(10 * time.Second)
		for {
			_, m, changed := p.Standing()
			if len(m.GetMembers()) == want {
				return
			}
			select {
			case <-changed:
			case <-over:
				t.Fatalf("members are %v, want %d", m, want)
			}
		}
	}
	members(2)
	stop()
	members(1)
}
