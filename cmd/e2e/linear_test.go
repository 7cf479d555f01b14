//go:build e2e

// What clients are answered by several control planes, while these and etcd are
// killed, frozen and cut off from each other, could have been answered by one
// table of routes that does one thing at a time.

package e2e

import (
	"context"
	"fmt"
	"math/rand/v2"
	"net/url"
	"os"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	signalboxv1 "signalbox/proto/gen/signalbox/v1"

	"signalbox/cmd/e2e/history"
)

const (
	// linearRoutes is over how many routes the history is spread: the fewer
	// operations a route has, the quicker it is checked.
	linearRoutes = 60
	// linearClients is how many clients call at once.
	linearClients = 8
	// linearPatience is how long a client waits for an answer. It is longer
	// than a new leader of etcd takes, and shorter than what is frozen stays
	// so: then the outcome is unknown, and the write may be made on thawing.
	linearPatience = 2 * time.Second
	// linearPace is how often a client calls, and linearPause how long it
	// waits when nobody could do what it asked: what fails at once, with an
	// outcome nobody knows, is not to be most of the history.
	linearPace  = 3 * time.Millisecond
	linearPause = 100 * time.Millisecond
)

// seed returns the number that all chance of a test comes from: that of the
// environment, or a new one, which is logged.
func seed(t *testing.T) *rand.Rand {
	t.Helper()
	n := rand.Uint64()
	if text := os.Getenv("SIGNALBOX_E2E_SEED"); text != "" {
		var err error
		if n, err = strconv.ParseUint(text, 10, 64); err != nil {
			t.Fatalf("SIGNALBOX_E2E_SEED: %v", err)
		}
	}
	t.Logf("SIGNALBOX_E2E_SEED=%d", n)
	return rand.New(rand.NewPCG(n, 0))
}

// A historian is clients that write and read routes and remember what they were
// answered.
type historian struct {
	*cluster
	history *history.Recorder
	routes  []string
	stop    context.CancelFunc
	running sync.WaitGroup
}

// newHistorian starts clients on all control planes.
func newHistorian(c *cluster, chance *rand.Rand) *historian {
	ctx, stop := context.WithCancel(context.Background())
	h := &historian{cluster: c, history: history.New(time.Now), stop: stop}
	for i := range linearRoutes {
		h.routes = append(h.routes, fmt.Sprintf("h%d", i))
	}
	for i := range linearClients {
		w := h.newClient(i, chance.Uint64())
		h.running.Go(func() { w.run(ctx) })
	}
	c.t.Cleanup(h.end)
	return h
}

// end waits for the clients' last answers.
func (h *historian) end() {
	h.stop()
	h.running.Wait()
}

// more waits until so many more calls were answered.
func (h *historian) more(n int) {
	h.t.Helper()
	before, _ := h.history.Count()
	eventually(h.t, "calls are answered", func(context.Context) error {
		if now, failed := h.history.Count(); now < before+n {
			return fmt.Errorf("%d of %d, and %d failed in all", now-before, n, failed)
		}
		return nil
	})
}

// fails waits until so many more calls have failed.
func (h *historian) fails(n int) {
	h.t.Helper()
	_, before := h.history.Count()
	eventually(h.t, "calls fail", func(context.Context) error {
		if _, now := h.history.Count(); now < before+n {
			return fmt.Errorf("%d of %d", now-before, n)
		}
		return nil
	})
}

// A historyClient is one of the clients: it stays with a control plane until
// that fails it, and now and then moves on.
type historyClient struct {
	*history.Client
	h      *historian
	planes []signalboxv1.RouteServiceClient
	at     int // of planes
	chance *rand.Rand
	seen   map[string]int64 // revisions by route
}

func (h *historian) newClient(at int, seed uint64) *historyClient {
	w := &historyClient{Client: h.history.Client(), h: h, at: at, chance: rand.New(rand.NewPCG(seed, 1)), seen: map[string]int64{}}
	for i := range h.planes {
		w.planes = append(w.planes, h.services(i).routes)
	}
	return w
}

func (w *historyClient) run(ctx context.Context) {
	pace := time.NewTicker(linearPace)
	defer pace.Stop()
	for ctx.Err() == nil {
		<-pace.C
		if err := w.call(context.WithoutCancel(ctx)); err == nil && w.chance.IntN(50) > 0 {
			continue
		}
		w.at++
		if _, failed := w.h.history.Count(); failed == 0 {
			continue
		}
		select {
		case <-time.After(linearPause):
		case <-ctx.Done():
		}
	}
}

// call makes one call. It returns an error if the control plane did not do what
// it was asked and another may; that a route is not as expected is none.
func (w *historyClient) call(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, linearPatience)
	defer cancel()
	plane, route := w.planes[w.at%len(w.planes)], w.h.routes[w.chance.IntN(len(w.h.routes))]
	call := history.Call{Kind: history.Put, Expected: history.Any}
	var err error
	switch dice := w.chance.IntN(200); {
	case dice == 0:
		call.Kind = history.Get
		err = w.List(ctx, plane, w.h.routes...)
	case dice < 70:
		call.Kind = history.Get
		w.seen[route], err = w.Get(ctx, plane, route)
	case dice < 110:
		w.seen[route], err = w.Put(ctx, plane, route, w.Value())
	case dice < 130:
		call.Expected = 0
		w.seen[route], err = w.Create(ctx, plane, route, w.Value())
	case dice < 170:
		call.Expected = max(w.seen[route], 1)
		w.seen[route], err = w.PutAt(ctx, plane, route, w.Value(), call.Expected)
	case dice < 190:
		call.Kind = history.Delete
		err = w.Delete(ctx, plane, route)
	default:
		call.Kind, call.Expected = history.Delete, max(w.seen[route], 1)
		err = w.DeleteAt(ctx, plane, route, call.Expected)
	}
	switch history.Of(call, err) {
	case history.Unknown, history.Refused:
		return err
	}
	return nil
}

// newCut is a cluster of three etcd members and three control planes, which
// reach etcd by wires: those of one control plane can be cut.
func newCut(t *testing.T) (*cluster, [][]*wire) {
	t.Helper()
	c := emptyCluster(t)
	c.startEtcd(3)
	members := c.store
	var wires [][]*wire
	for range 3 {
		var own []*wire
		c.store = nil
		for _, m := range members {
			u, err := url.Parse(m)
			if err != nil {
				t.Fatal(err)
			}
			w := newWire(t, u.Host)
			own = append(own, w)
			c.store = append(c.store, "http://"+w.addr)
		}
		wires = append(wires, own)
		c.addPlane().start()
	}
	c.store = members
	c.complete(0)
	return c, wires
}

func TestWhatIsAnsweredUnderFaultsIsLinearizable(t *testing.T) {
	c, wires := newCut(t)
	h := newHistorian(c, seed(t))
	const some = 150 // calls answered between what happens
	h.more(4 * some)
	began := time.Now()
	// Whoever leads etcd is among the members.
	for i := range 3 {
		plane, member := c.planes[i].process, c.part(fmt.Sprintf("etcd%d", i))
		for _, fault := range []struct {
			name        string
			spoil, heal func()
			calls       int // answered meanwhile
		}{
			{plane.name + " is killed", plane.kill, plane.start, some},
			{member.name + " is killed", member.kill, member.start, some},
			{plane.name + " is frozen", func() { plane.signal(syscall.SIGSTOP) }, func() { plane.signal(syscall.SIGCONT) }, some},
			{member.name + " is frozen", func() { member.signal(syscall.SIGSTOP) }, func() { member.signal(syscall.SIGCONT) }, some / 5},
			{plane.name + " is cut off from etcd", func() { all(wires[i], (*wire).sever) }, func() { all(wires[i], (*wire).mend) }, some},
		} {
			at := time.Now()
			fault.spoil()
			h.more(fault.calls)
			fault.heal()
			h.more(some)
			t.Logf("%6.1f s  %s, for %.1f s", at.Sub(began).Seconds(), fault.name, time.Since(at).Seconds())
		}
	}

	t.Log("all members are killed, and all control planes but one")
	for i := range 3 {
		c.part(fmt.Sprintf("etcd%d", i)).kill()
	}
	h.fails(10)
	c.planes[0].kill()
	c.planes[1].kill()
	h.fails(5)
	for i := range 3 {
		c.part(fmt.Sprintf("etcd%d", i)).start()
	}
	h.more(some)
	c.planes[0].start()
	c.planes[1].start()
	h.more(2 * some)
	h.end()

	t.Log("all is as it was answered")
	for _, p := range c.planes {
		c.awaitPlane(p)
	}
	last := h.newClient(0, 0)
	for i := range c.planes {
		eventually(t, c.planes[i].id+" lists all routes", func(ctx context.Context) error {
			return last.List(ctx, last.planes[i], h.routes...)
		})
	}
	h.check()
}

// all does something with every wire.
func all(wires []*wire, do func(*wire)) {
	for _, w := range wires {
		do(w)
	}
}

// check fails unless the history is one that can be, and large enough to tell.
func (h *historian) check() {
	h.t.Helper()
	counts := map[history.Kind]map[history.Outcome]int{}
	for _, o := range h.history.Operations() {
		if counts[o.Kind] == nil {
			counts[o.Kind] = map[history.Outcome]int{}
		}
		counts[o.Kind][o.Outcome]++
	}
	var lines []string
	for kind, name := range map[history.Kind]string{history.Get: "gets", history.Put: "puts", history.Delete: "deletes"} {
		n := counts[kind]
		lines = append(lines, fmt.Sprintf("%s: %d done, %d found none, %d found one, %d found another revision, %d refused, %d unknown",
			name, n[history.Done], n[history.Absent], n[history.Exists], n[history.Moved], n[history.Refused], n[history.Unknown]))
	}
	h.t.Log(strings.Join(lines, "; "))
	if counts[history.Put][history.Done] < 500 || counts[history.Delete][history.Done] < 50 {
		h.t.Error("that is too little to tell")
	}
	began := time.Now()
	if err := h.history.Check(os.TempDir()); err != nil {
		h.t.Error(err)
	}
	h.t.Logf("checked in %v", time.Since(began).Round(time.Millisecond))
}
