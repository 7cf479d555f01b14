// Package probe is a load balancing policy of gRPC's that goes around servers
// that hang. Their connections stay, a health watch of theirs says nothing, and
// gRPC's own keepalive asks no more often than every 10 s: what is sent to them
// until then waits in vain.
package probe

import (
	"context"
	"errors"
	"sync"
	"sync/atomic"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/balancer"
	"google.golang.org/grpc/balancer/endpointsharding"
	"google.golang.org/grpc/balancer/pickfirst"
	"google.golang.org/grpc/connectivity"
	healthv1 "google.golang.org/grpc/health/grpc_health_v1"
	"google.golang.org/grpc/resolver"
)

// How often a server is asked whether it is there, and how long it may take to
// say so.
const (
	every   = time.Second
	timeout = time.Second
)

// Policy is the name to put into a service config: calls go to servers in turn,
// but to none that hangs, unless all do. Where the config has a health check
// too, those that say they do not serve are left out as well. gRPC takes
// policies by name, and has them registered before it is used.
var Policy = func(name string) string {
	balancer.Register(builder(name))
	return name
}("signalbox_probing")

// builder is gRPC's round_robin, with a probe of each connection.
type builder string

// Name implements balancer.Builder.
func (b builder) Name() string { return string(b) }

// Build implements balancer.Builder.
func (builder) Build(cc balancer.ClientConn, opts balancer.BuildOptions) balancer.Balancer {
	one := balancer.Get(pickfirst.Name)
	return inTurn{endpointsharding.NewBalancer(answering{cc}, opts, func(cc balancer.ClientConn, opts balancer.BuildOptions) balancer.Balancer {
		return one.Build(&probed{ClientConn: cc}, opts)
	}, endpointsharding.Options{})}
}

// inTurn has the health watch of gRPC switched on below it.
type inTurn struct{ balancer.Balancer }

// UpdateClientConnState implements balancer.Balancer.
func (b inTurn) UpdateClientConnState(s balancer.ClientConnState) error {
	s.ResolverState = pickfirst.EnableHealthListener(s.ResolverState)
	return b.Balancer.UpdateClientConnState(s)
}

// answering has calls go to those of the connected servers that answer, or to
// all of them: when none does, it may be we who were stopped.
type answering struct{ balancer.ClientConn }

// UpdateState implements balancer.ClientConn.
func (a answering) UpdateState(s balancer.State) {
	if s.ConnectivityState == connectivity.Ready {
		var good turns
		for _, child := range endpointsharding.ChildStatesFromPicker(s.Picker) {
			if p, ok := child.State.Picker.(picker); ok && child.State.ConnectivityState == connectivity.Ready && !p.silent {
				good.pickers = append(good.pickers, p.Picker)
			}
		}
		if len(good.pickers) > 0 {
			s.Picker = &good
		}
	}
	a.ClientConn.UpdateState(s)
}

// turns takes pickers in turn.
type turns struct {
	pickers []balancer.Picker
	next    atomic.Uint64
}

// Pick implements balancer.Picker.
func (t *turns) Pick(info balancer.PickInfo) (balancer.PickResult, error) {
	return t.pickers[t.next.Add(1)%uint64(len(t.pickers))].Pick(info)
}

// A picker is one server's, and knows whether that answers.
type picker struct {
	balancer.Picker
	silent bool
}

// A probed is one server as its balancer sees it.
type probed struct {
	balancer.ClientConn

	mu     sync.Mutex
	state  balancer.State // but for the probes
	silent bool           // it did not answer the last probe
}

// NewSubConn implements balancer.ClientConn.
func (p *probed) NewSubConn(addrs []resolver.Address, opts balancer.NewSubConnOptions) (balancer.SubConn, error) {
	var conn balancer.SubConn
	listen := opts.StateListener
	opts.StateListener = func(s balancer.SubConnState) {
		if p.answers(); s.ConnectivityState == connectivity.Ready {
			conn.GetOrBuildProducer(p) // ends with the connection
		}
		listen(s)
	}
	var err error
	conn, err = p.ClientConn.NewSubConn(addrs, opts) //nolint:staticcheck // what is to go is a list of several addresses
	return conn, err
}

// UpdateState implements balancer.ClientConn.
func (p *probed) UpdateState(s balancer.State) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.state = s
	p.tell()
}

// tell passes the state on. Whoever calls it holds mu.
func (p *probed) tell() {
	s := p.state
	s.Picker = picker{s.Picker, p.silent}
	p.ClientConn.UpdateState(s)
}

func (p *probed) answers() { p.set(false) }
func (p *probed) doesNot() { p.set(true) }
func (p *probed) set(silent bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.silent != silent {
		p.silent = silent
		p.tell()
	}
}

// Build implements balancer.ProducerBuilder: it probes one connection for as
// long as that lasts.
func (p *probed) Build(conn any) (balancer.Producer, func()) {
	ctx, cancel := context.WithCancel(context.Background())
	var running sync.WaitGroup
	running.Go(func() { p.probe(ctx, healthv1.NewHealthClient(conn.(grpc.ClientConnInterface))) })
	return p, func() {
		cancel()
		running.Wait()
	}
}

func (p *probed) probe(ctx context.Context, health healthv1.HealthClient) {
	tick := time.NewTicker(every)
	defer tick.Stop()
	for {
		select {
		case <-tick.C:
		case <-ctx.Done():
			return
		}
		probe, cancel := context.WithTimeout(ctx, timeout)
		_, err := health.Check(probe, new(healthv1.HealthCheckRequest))
		silent := errors.Is(probe.Err(), context.DeadlineExceeded)
		cancel()
		switch {
		case ctx.Err() != nil:
			return
		case silent && err != nil:
			p.doesNot()
		default: // any answer is one; what it says, the watch hears too
			p.answers()
		}
	}
}
