package main

import (
	"context"
	"sync/atomic"
	"testing"
	"time"

	"google.golang.org/grpc/health"
	healthv1 "google.golang.org/grpc/health/grpc_health_v1"

	signalboxv1 "signalbox/proto/gen/signalbox/v1"
)

// A freezable health service keeps its watches open and answers no check while
// it is frozen, as a stopped process does.
type freezable struct {
	*health.Server
	frozen atomic.Bool
	asked  atomic.Int32
}

func (f *freezable) Check(ctx context.Context, req *healthv1.HealthCheckRequest) (*healthv1.HealthCheckResponse, error) {
	f.asked.Add(1)
	if f.frozen.Load() {
		<-ctx.Done()
		return nil, ctx.Err()
	}
	return f.Server.Check(ctx, req)
}

// Writes go to no control plane that hangs, once it was found out, and to it
// again when it answers.
func TestWritesGoAroundWhoHangs(t *testing.T) {
	hanging := &replica{name: "hanging", health: &freezable{Server: health.NewServer()}}
	routes := between(t, time.Hour, hanging, &replica{name: "good"})
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	// until writes until the last few writes went where they should.
	until := func(what string, right func(before int32) bool) {
		t.Helper()
		for inRow := 0; inRow < 20; inRow++ {
			before := hanging.writes.Load()
			if _, err := routes.PutRoute(ctx, &signalboxv1.PutRouteRequest{}); err != nil || !right(before) {
				inRow = -1
				<-time.After(time.Millisecond)
			}
			if ctx.Err() != nil {
				t.Fatal("never: " + what)
			}
		}
	}
	some := func(int32) bool { return hanging.writes.Load() > 0 }
	none := func(before int32) bool { return hanging.writes.Load() == before }
	until("both are written to", some)
	hanging.health.frozen.Store(true)
	until("only one is written to", none)
	hanging.health.frozen.Store(false)
	hanging.writes.Store(0)
	until("both are written to again", some)
}

// Where none is known to answer, they are called all the same: it may be the
// caller that stood still.
func TestWritesGoToWhoeverIsThereWhenAllSeemToHang(t *testing.T) {
	only := &replica{name: "only", health: &freezable{Server: health.NewServer()}}
	only.health.frozen.Store(true)
	routes := between(t, time.Hour, only)
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	for only.health.asked.Load() < 3 { // so that one has gone unanswered
		if _, err := routes.PutRoute(ctx, &signalboxv1.PutRouteRequest{}); err != nil {
			t.Fatal(err)
		}
		<-time.After(time.Millisecond)
	}
}
