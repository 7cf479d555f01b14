//go:build e2e

package faults

import (
	"context"
	"syscall"
	"time"
)

// scenarios are all of them, in the order they run in.
func scenarios() []scenario {
	var s []scenario
	s = append(s, ends()...)
	s = append(s, cuts()...)
	s = append(s, freezes()...)
	s = append(s, badLinks()...)
	s = append(s, clocksOff(), clocksAndCertificates(), fullStore(), otherVersion(), restoredStore()) // the last begins a history of its own
	return s
}

// hold is how long a fault lasts that shows at once; long one that shows when
// leases end, 5 s after.
const hold, long = 2 * time.Second, 8 * time.Second

// Who a fault hits.
type victim func(ctx context.Context, r *run) *part

func leader(ctx context.Context, r *run) *part { return r.leader(ctx, r) }

func follower(ctx context.Context, r *run) *part {
	lead := r.leader(ctx, r)
	for _, p := range r.of(member) {
		if p != lead {
			return p
		}
	}
	return nil
}

func feeder(ctx context.Context, r *run) *part { return r.feeder(ctx, r) }

func aNode(_ context.Context, r *run) *part { return r.of(node)[1] }

func front(_ context.Context, r *run) *part { return r.of(gateway)[0] }

// ends kills each kind of part, and asks each to end.
func ends() []scenario {
	var all []scenario
	for _, v := range []struct {
		name string
		who  victim
	}{{"an etcd follower", follower}, {"etcd's leader", leader}, {"the feeding control plane", feeder}, {"a gateway", front}, {"a node", aNode}} {
		all = append(all,
			scenario{name: v.name + " is killed", dies: v.name == "a node", do: func(ctx context.Context, r *run) {
				p := v.who(ctx, r)
				if p.kind == node {
					pause(ctx, 2*hold) // so that there is what it must have reported
				}
				r.signal(r, p, syscall.SIGKILL)
				pause(ctx, hold)
				r.start(r, p, release{})
			}},
			scenario{name: v.name + " is stopped", do: func(ctx context.Context, r *run) {
				p := v.who(ctx, r)
				r.end(ctx, p)
				pause(ctx, hold)
				r.start(r, p, release{})
			}},
		)
	}
	return all
}

// end asks a part to end: it does so well, and what runs through a node ends
// well, too.
func (r *run) end(ctx context.Context, p *part) {
	r.Helper()
	running := make(chan error, 1)
	if p.kind == node {
		go func() { running <- r.slowRequest(ctx, p) }()
		pause(ctx, slowly/2) // so that it is on its way
	} else {
		running <- nil
	}
	if code := r.signal(r, p, syscall.SIGTERM); code != 0 {
		r.Errorf("%s was asked to end, and its exit code is %d", p.name, code)
	}
	if err := <-running; err != nil {
		r.Errorf("a request that ran when %s was asked to end: %v", p.name, err)
	}
}

// freezes stops parts for a while without ending them: their connections stay
// open, and nothing comes.
func freezes() []scenario {
	var all []scenario
	for _, v := range []struct {
		name string
		who  victim
	}{{"an etcd follower", follower}, {"etcd's leader", leader}, {"the feeding control plane", feeder}, {"a gateway", front}, {"a node", aNode}} {
		all = append(all, scenario{name: v.name + " is frozen", do: func(ctx context.Context, r *run) {
			p := v.who(ctx, r)
			r.signal(r, p, syscall.SIGSTOP)
			pause(ctx, long)
			r.signal(r, p, syscall.SIGCONT)
		}})
	}
	return all
}
