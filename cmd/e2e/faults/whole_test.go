//go:build e2e

package faults

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"testing"
	"time"

	signalboxv1 "signalbox/proto/gen/signalbox/v1"
)

// whole waits until every part does what it is there for.
func (l *lab) whole(ctx context.Context, t testing.TB) {
	t.Helper()
	began := time.Now()
	for _, check := range []func(context.Context) error{l.membersWell, l.gatewaysReady, l.nodesLive, l.nodesServe} {
		eventually(ctx, t, "the cluster is whole", check)
	}
	for _, p := range l.parts {
		p.comeUp()
	}
	if took := time.Since(began); took > time.Second {
		t.Logf("the cluster is whole after %v", took.Round(100*time.Millisecond))
	}
}

// membersWell fails unless all members of etcd follow one leader, with no alarm.
func (l *lab) membersWell(ctx context.Context) error {
	leaders := map[uint64]bool{}
	for _, p := range l.of(member) {
		s, err := l.store.Status(ctx, l.endpoint(p))
		if err != nil {
			return fmt.Errorf("%s: %w", p.name, err)
		}
		if s.Leader == 0 || len(s.Errors) > 0 {
			return fmt.Errorf("%s: leader %x, %v", p.name, s.Leader, s.Errors)
		}
		leaders[s.Leader] = true
	}
	if len(leaders) != 1 {
		return errors.New("members follow different leaders")
	}
	return nil
}

// leader is the member that leads etcd.
func (l *lab) leader(ctx context.Context, t testing.TB) *part {
	t.Helper()
	for _, p := range l.of(member) {
		s, err := l.store.Status(ctx, l.endpoint(p))
		if err == nil && s.Leader == s.Header.MemberId {
			return p
		}
	}
	t.Fatal("no member of etcd leads")
	return nil
}

// gatewaysReady fails unless every gateway reaches a control plane that serves.
func (l *lab) gatewaysReady(ctx context.Context) error {
	for _, p := range append(l.of(plane), l.of(gateway)...) {
		a, err := send(ctx, l.http, "GET", l.api(p)+"/readyz", "")
		if err == nil && a.status != http.StatusOK {
			err = fmt.Errorf("%d %s", a.status, a.body)
		}
		if err != nil {
			return fmt.Errorf("%s: %w", p.name, err)
		}
	}
	return nil
}

// nodesLive fails unless every control plane sees all nodes live, ready, and
// at the newest version.
func (l *lab) nodesLive(ctx context.Context) error {
	for _, p := range l.of(plane) {
		res, err := l.nodes(p).ListNodes(ctx, &signalboxv1.ListNodesRequest{})
		if err != nil {
			return fmt.Errorf("%s: %w", p.name, err)
		}
		seen := map[string]*signalboxv1.NodeObserved{}
		for _, n := range res.GetNodes() {
			seen[n.GetName()] = n.GetObserved()
		}
		for _, n := range l.of(node) {
			o := seen[n.id]
			if o.GetState() != signalboxv1.NodeState_NODE_STATE_LIVE || !o.GetReady() || o.GetControlPlane() == "" || o.GetServing().GetEpoch() != res.GetVersion().GetEpoch() {
				return fmt.Errorf("%s sees %s so: %v", p.name, n.name, o)
			}
		}
	}
	return nil
}

// nodesServe fails unless every node answers, with a table: control planes take
// one that was killed for live until its lease ends.
func (l *lab) nodesServe(ctx context.Context) error {
	for _, n := range l.of(node) {
		a, err := send(ctx, l.http, "GET", "http://"+n.name+":"+publicPort+"/", "")
		if err == nil && a.status >= http.StatusInternalServerError {
			err = fmt.Errorf("%d %s", a.status, a.body)
		}
		if err != nil {
			return fmt.Errorf("%s: %w", n.name, err)
		}
	}
	return nil
}

// feeder is the control plane that feeds the most nodes.
func (l *lab) feeder(ctx context.Context, t testing.TB) *part {
	t.Helper()
	fed := map[string]int{}
	res, err := l.nodes(l.of(plane)[0]).ListNodes(ctx, &signalboxv1.ListNodesRequest{})
	if err != nil {
		t.Fatal(err)
	}
	for _, n := range res.GetNodes() {
		fed[n.GetObserved().GetControlPlane()]++
	}
	return slices.MaxFunc(l.of(plane), func(a, b *part) int { return fed[a.id] - fed[b.id] })
}

// eventually tries until there is no error, for as long as the suite waits.
func eventually(ctx context.Context, t testing.TB, what string, try func(context.Context) error) {
	t.Helper()
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	var last error
	for {
		once, done := context.WithTimeout(ctx, 3*time.Second)
		err := try(once)
		done()
		if err == nil {
			return
		}
		if last == nil || ctx.Err() == nil {
			last = err
		}
		if !pause(ctx, 50*time.Millisecond) {
			t.Fatalf("%s: %v", what, last)
		}
	}
}

// pause waits for a time, and reports whether ctx has not ended meanwhile.
func pause(ctx context.Context, d time.Duration) bool {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return true
	case <-ctx.Done():
		return false
	}
}
