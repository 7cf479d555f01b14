//go:build e2e

// Whatever is killed while requests are counted, control planes never say more
// than was counted, lose at most what a killed node had not reported, and know
// the newest activity of a route within the report interval.

package e2e

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net/http"
	"slices"
	"sync"
	"syscall"
	"testing"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"

	signalboxv1 "signalbox/proto/gen/signalbox/v1"
)

const (
	// reportEvery is how often nodes report, and stall how late they and
	// everybody else may be on a machine that has much to do.
	reportEvery = 250 * time.Millisecond
	stall       = 5 * time.Second
	// agreeing bounds how long control planes take to say the same of a node
	// that was killed between its reports to them: the one that heard more
	// first leaves it to the leader to write it down.
	agreeing = time.Minute
	// coarse is how exact the last activity is.
	coarse = time.Second
)

// A meter is the load of one node, over all its lives: one request after the
// other, for a route that no other node has requests for.
type meter struct {
	node   *nodeProcess
	route  string
	client *http.Client
	// turn is held by whoever sends, or wants nothing to be sent.
	turn sync.Mutex
	// After a request that failed the load says so, and waits until it is told
	// that the node is back.
	parked, revived chan struct{}

	mu       sync.Mutex
	begun    int         // guarded by mu: requests
	answered int         // guarded by mu: those with an answer of 200
	at       []time.Time // guarded by mu: of the answers

	// What follows is the test's alone.

	// settled is how many answers there were when control planes were last
	// asked, told what they said then, and doubt how many requests failed since
	// which may have been counted all the same.
	settled, told, doubt int
}

// run sends requests until ctx ends.
func (m *meter) run(ctx context.Context) {
	for ctx.Err() == nil {
		m.turn.Lock()
		err := m.send(ctx)
		m.turn.Unlock()
		if err == nil {
			continue
		}
		select {
		case m.parked <- struct{}{}:
		case <-ctx.Done():
			return
		}
		select {
		case <-m.revived:
		case <-ctx.Done():
		}
	}
}

// send sends one request, of a method that clients do not send again by
// themselves.
func (m *meter) send(ctx context.Context) error {
	m.mu.Lock()
	m.begun++
	m.mu.Unlock()
	a, err := send(context.WithoutCancel(ctx), m.client, "POST", "http://"+m.node.public+"/"+m.route, "x")
	m.mu.Lock()
	defer m.mu.Unlock()
	if err == nil && a.status != http.StatusOK {
		err = fmt.Errorf("%d %s", a.status, a.body)
	}
	if err == nil {
		m.answered++
		m.at = append(m.at, time.Now())
	}
	return err
}

func (m *meter) counts() (begun, answered int) {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.begun, m.answered
}

// since is how many answers came after a moment.
func (m *meter) since(when time.Time) int {
	m.mu.Lock()
	defer m.mu.Unlock()
	i, _ := slices.BinarySearchFunc(m.at, when, time.Time.Compare)
	return len(m.at) - i
}

// A toll is a cluster under load, of which something is killed at random.
type toll struct {
	*cluster
	chance *rand.Rand
	meters []*meter
}

func newToll(t *testing.T) *toll {
	t.Helper()
	c := emptyCluster(t)
	c.startEtcd(3)
	for range 2 {
		c.addPlane("--report-interval", reportEvery.String()).start()
	}
	c.complete(3)
	r := &toll{cluster: c, chance: seed(t)}
	ctx, stop := context.WithCancel(context.Background())
	var running sync.WaitGroup
	t.Cleanup(func() { stop(); running.Wait() })
	to, api := newUpstream(t, "up"), c.services(0)
	api.put(t, route("active", "/active", to.url))
	for _, n := range c.nodes {
		m := &meter{node: n, route: n.id, client: newHTTP(t), parked: make(chan struct{}), revived: make(chan struct{})}
		api.put(t, route(m.route, "/"+m.route, to.url))
		r.meters = append(r.meters, m)
		running.Go(func() { m.run(ctx) })
	}
	return r
}

// carried is what a control plane says of a route.
func (r *toll) carried(ctx context.Context, plane int, route string) (int, error) {
	entry, err := r.services(plane).routes.GetRoute(ctx, &signalboxv1.GetRouteRequest{Name: route})
	return int(entry.GetObserved().GetCounters().GetRequests()), err
}

// up are the control planes that run.
func (r *toll) up() (planes []int) {
	for i, p := range r.planes {
		if p.running() {
			planes = append(planes, i)
		}
	}
	return planes
}

// more waits until so many more requests were answered by every node that is
// not parked, while no control plane says more than were begun.
func (r *toll) more(n int, of ...*meter) {
	r.t.Helper()
	for _, m := range of {
		_, before := m.counts()
		eventually(r.t, m.node.id+" answers", func(context.Context) error {
			if _, now := m.counts(); now < before+n {
				return fmt.Errorf("%d of %d", now-before, n)
			}
			return nil
		})
		for _, p := range r.up() {
			ctx, cancel := context.WithTimeout(r.t.Context(), stall)
			got, err := r.carried(ctx, p, m.route)
			cancel()
			if begun, _ := m.counts(); err == nil && got > begun {
				r.t.Errorf("%s says %d requests of %s; %d were begun", r.planes[p].id, got, m.route, begun)
			}
		}
	}
}

// settle waits until all control planes that run say the same of a meter's
// route, whose load is held: what was counted, but for at most lost since the
// last time.
func (r *toll) settle(m *meter, lost int) {
	r.t.Helper()
	_, answered := m.counts()
	high := m.told + answered - m.settled + m.doubt
	low := m.told + answered - m.settled - lost
	var said []int
	within(r.t, agreeing, "control planes agree on what "+m.node.id+" carried", func(ctx context.Context) error {
		said = nil
		for _, p := range r.up() {
			got, err := r.carried(ctx, p, m.route)
			if err != nil {
				return err
			}
			said = append(said, got)
		}
		if slices.Max(said) > high {
			r.t.Errorf("%s: control planes say %v; %d were counted", m.route, said, high)
			return nil
		}
		if slices.Min(said) < low || slices.Min(said) != slices.Max(said) {
			return fmt.Errorf("they say %v; from %d to %d were counted", said, low, high)
		}
		return nil
	})
	m.settled, m.told, m.doubt = answered, said[0], 0
}

// settleAll settles all routes, between two requests of each, exactly.
func (r *toll) settleAll() {
	r.t.Helper()
	for _, m := range r.meters {
		func() {
			m.turn.Lock()
			defer m.turn.Unlock()
			r.settle(m, 0)
		}()
	}
}

// saved waits until the store holds what was carried, and then lets do happen
// before more is.
func (r *toll) saved(do func()) {
	r.t.Helper()
	for _, m := range r.meters {
		m.turn.Lock()
		defer m.turn.Unlock()
	}
	for _, m := range r.meters {
		r.settle(m, 0)
	}
	for _, m := range r.meters {
		r.checkpointed(m.route, uint64(m.told))
	}
	do()
}

// down waits until the load of a node that ended has noticed, and starts it
// again; none of its requests is sent before again is called.
func (r *toll) down(m *meter) (again func()) {
	r.t.Helper()
	select {
	case <-m.parked:
	case <-time.After(patience):
		r.t.Fatalf("requests through %s, which has ended, do not fail", m.node.id)
	}
	m.doubt++
	m.node.start()
	r.awaitNode(m.node)
	r.awaitLive()
	return func() { m.revived <- struct{}{} }
}

// active asks for a route through some node, and fails unless every control
// plane that runs soon knows when.
func (r *toll) active() {
	r.t.Helper()
	n := r.nodes[r.chance.IntN(len(r.nodes))]
	began := time.Now()
	if a, err := r.get(r.t.Context(), n, "/active"); err != nil || a.status != http.StatusOK {
		r.t.Fatalf("%s: %d %v", n.id, a.status, err)
	}
	for _, p := range r.up() {
		api := r.services(p).routes
		within(r.t, reportEvery+stall, r.planes[p].id+" knows of the newest activity", func(ctx context.Context) error {
			entry, err := api.GetRoute(ctx, &signalboxv1.GetRouteRequest{Name: "active"})
			if err != nil {
				return err
			}
			last := entry.GetObserved().GetLastActivity().AsTime()
			if now := time.Now(); last.After(now) {
				r.t.Errorf("%s says that there was activity at %v; it is %v", r.planes[p].id, last, now)
			}
			if last.Before(began.Add(-coarse)) {
				return fmt.Errorf("it says %v, and a request began at %v", last, began)
			}
			return nil
		})
	}
}

// leader is the etcd member that leads.
func (r *toll) leader() *process {
	r.t.Helper()
	client, err := clientv3.New(clientv3.Config{Endpoints: r.store})
	if err != nil {
		r.t.Fatal(err)
	}
	defer func() { _ = client.Close() }()
	led := -1
	eventually(r.t, "etcd has a leader", func(ctx context.Context) error {
		for i, endpoint := range r.store {
			at, err := client.Status(ctx, endpoint)
			if err != nil {
				return err
			}
			if at.Leader == at.Header.GetMemberId() {
				led = i
			}
		}
		if led < 0 {
			return errors.New("nobody leads")
		}
		return nil
	})
	return r.part(fmt.Sprintf("etcd%d", led))
}

const batch = 100 // requests between what happens

// killNode kills a node in the midst of requests.
func (r *toll) killNode(m *meter) {
	seen := 0
	for _, p := range r.up() {
		ctx, cancel := context.WithTimeout(r.t.Context(), patience)
		got, err := r.carried(ctx, p, m.route)
		cancel()
		if err != nil {
			r.t.Fatal(err)
		}
		seen = max(seen, got)
	}
	at := time.Now()
	m.node.kill()
	again := r.down(m)
	r.settle(m, m.since(at.Add(-reportEvery-stall)))
	if m.told < seen {
		r.t.Errorf("%s: %d requests were told of before it was killed, and %d after", m.node.id, seen, m.told)
	}
	_, answered := m.counts()
	r.t.Logf("of %d requests %s answered in all, %d were not reported", answered, m.node.id, answered-m.told)
	again()
}

// killQuiet kills a node after all it carried was reported.
func (r *toll) killQuiet(m *meter) {
	m.turn.Lock()
	defer m.turn.Unlock()
	r.settle(m, 0)
	m.node.kill()
	r.settle(m, 0)
	m.node.start()
	r.awaitNode(m.node)
	r.awaitLive()
	m.client.CloseIdleConnections()
}

// stopNode asks a node to end in the midst of requests.
func (r *toll) stopNode(m *meter) {
	if code := m.node.stop(syscall.SIGTERM); code != 0 {
		r.t.Errorf("%s exits with %d", m.node.id, code)
	}
	again := r.down(m)
	r.settle(m, 0)
	again()
}

// killPlane kills a control plane, which is missing for a while.
func (r *toll) killPlane(i int) {
	r.planes[i].kill()
	r.active()
	r.more(batch, r.meters...)
	r.planes[i].start()
	r.awaitPlane(r.planes[i])
	r.awaitLive()
}

// killPlanes kills all control planes, once the dead are written down.
func (r *toll) killPlanes() {
	r.saved(func() {
		for _, p := range r.planes {
			p.kill()
		}
	})
	r.more(batch, r.meters...)
	for _, p := range r.planes {
		p.start()
	}
	for _, p := range r.planes {
		r.awaitPlane(p)
	}
	r.awaitLive()
}

// killLeader kills the member that leads etcd.
func (r *toll) killLeader() {
	member := r.leader()
	member.kill()
	r.more(batch, r.meters...)
	r.active()
	member.start()
}

func TestTotalsAddUpWhateverIsKilledAtRandom(t *testing.T) {
	r := newToll(t)
	r.more(batch, r.meters...)
	some := func() *meter { return r.meters[r.chance.IntN(len(r.meters))] }
	faults := []struct {
		name  string
		cause func()
	}{
		{"a node is killed", func() { r.killNode(some()) }},
		{"a node is killed", func() { r.killNode(some()) }},
		{"a node is killed that has reported", func() { r.killQuiet(some()) }},
		{"a node is stopped", func() { r.stopNode(some()) }},
		{"a node is stopped", func() { r.stopNode(some()) }},
		{"a control plane is killed", func() { r.killPlane(r.chance.IntN(len(r.planes))) }},
		{"a control plane is killed", func() { r.killPlane(r.chance.IntN(len(r.planes))) }},
		{"all control planes are killed", r.killPlanes},
		{"etcd's leader is killed", r.killLeader},
	}
	r.chance.Shuffle(len(faults), func(i, j int) { faults[i], faults[j] = faults[j], faults[i] })
	for _, f := range faults {
		began := time.Now()
		f.cause()
		r.more(batch, r.meters...)
		r.active()
		r.settleAll()
		t.Logf("%s: %.1f s", f.name, time.Since(began).Seconds())
	}
	for _, m := range r.meters {
		t.Logf("%s answered %d requests, and %d are told of", m.node.id, m.settled, m.told)
	}
}
