//go:build e2e

package faults

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"syscall"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"signalbox/cmd/e2e/history"
	signalboxv1 "signalbox/proto/gen/signalbox/v1"
)

// restart ends a part and starts it as another release, and waits until the
// cluster is whole.
func (r *run) restart(ctx context.Context, p *part, as release) {
	r.Helper()
	r.signal(r, p, syscall.SIGTERM)
	r.start(r, p, as)
	r.whole(ctx, r)
}

// fullStore uses up etcd's quota, and makes room by the documented steps.
func fullStore() scenario {
	const room = 3 << 20 // bytes above what the database has
	return scenario{name: "etcd's quota is used up", do: func(ctx context.Context, r *run) {
		lead, err := r.lab.store.Status(ctx, r.endpoint(r.of(member)[0]))
		if err != nil {
			r.Fatal(err)
		}
		for _, p := range r.of(member) {
			r.restart(ctx, p, release{env: []string{fmt.Sprintf("SIGNALBOX_QUOTA_BYTES=%d", lead.DbSize+room)}})
		}
		r.fill(ctx)
		again := r.writers.nobodyCan()
		pause(ctx, hold)
		r.collect(ctx) // what follows forgets it
		for _, command := range []string{"etcd compact", "etcd defragment", "etcd disarm"} {
			if out, err := r.operate(r.of(plane)[0], nil, strings.Fields(command)...); err != nil {
				r.Fatal(out, err)
			}
		}
		again()
		r.whole(ctx, r)
		for _, p := range r.of(member) {
			r.restart(ctx, p, release{})
		}
	}}
}

// fill writes a large route again and again, until the store is full: the
// answer says so.
func (r *run) fill(ctx context.Context) {
	r.Helper()
	for i := range 200 {
		route := r.route(history.Call{Route: "large", Value: "large"})
		route.Data = fmt.Sprintf(`{"%d":%q}`, i, strings.Repeat("x", 200<<10))
		ctx, cancel := context.WithTimeout(ctx, requestPatience)
		_, err := r.routes(r.of(plane)[i%2]).PutRoute(ctx, &signalboxv1.PutRouteRequest{Route: route})
		cancel()
		if status.Code(err) == codes.ResourceExhausted {
			if said := status.Convert(err).Message(); !strings.Contains(said, "full") || !isCertain(said) {
				r.Errorf("a full store is said to be so: %q", said)
			}
			return
		}
	}
	r.Error("the store does not become full")
}

// otherVersion restarts everything, part by part, with another version of the
// program.
func otherVersion() scenario {
	return scenario{name: "all parts are restarted with another version", do: func(ctx context.Context, r *run) {
		program, err := r.build(ctx)
		if err != nil {
			r.Fatal(err)
		}
		for _, p := range r.parts {
			r.restart(ctx, p, release{program: program})
		}
		eventually(ctx, r, "all nodes say that they have the other version", func(ctx context.Context) error {
			res, err := r.nodes(r.of(plane)[0]).ListNodes(ctx, &signalboxv1.ListNodesRequest{})
			for _, n := range res.GetNodes() {
				if v := n.GetObserved().GetSoftwareVersion(); v != otherStamp {
					err = errors.Join(err, fmt.Errorf("%s has %s", n.GetName(), v))
				}
			}
			return err
		})
		for _, p := range r.parts {
			r.restart(ctx, p, release{})
		}
	}}
}
