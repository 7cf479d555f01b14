package tunnel

import (
	"context"
	"fmt"
	"log/slog"
	"time"

	"google.golang.org/protobuf/types/known/durationpb"

	"signalbox/node/tunnel/link"
	signalboxv1 "signalbox/proto/gen/signalbox/v1"
)

// sampled is how often it is looked how sessions stand.
const sampled = 5 * time.Second

// failed makes the state ERROR.
func (r *run) failed(err error) {
	reason := reasonOf(err)
	r.log.repeat(slog.LevelError, "failure", fmt.Sprintf("%s error: %s", r.role(), reason))
	r.inst.Update(func(run *signalboxv1.InstanceRun) {
		run.State, run.Reason = signalboxv1.InstanceState_INSTANCE_STATE_ERROR, clean(reason)
		run.Ping, run.Pool = nil, 0
	})
}

// running makes the state RUNNING.
func (r *run) running() {
	r.log.over("failure")
	r.inst.Update(func(run *signalboxv1.InstanceRun) {
		run.State, run.Reason = signalboxv1.InstanceState_INSTANCE_STATE_RUNNING, ""
	})
}

// waiting makes the state STARTING, unless something was wrong before: then
// that stays until it works.
func (r *run) waiting() {
	r.inst.Update(func(run *signalboxv1.InstanceRun) {
		if r.mode == signalboxv1.InstanceMode_INSTANCE_MODE_UNSPECIFIED {
			run.State, run.Reason = signalboxv1.InstanceState_INSTANCE_STATE_STARTING, ""
		}
	})
}

// found notes the mode that is tried.
func (r *run) found(m signalboxv1.InstanceMode) {
	r.inst.Update(func(run *signalboxv1.InstanceRun) { run.Mode = m })
}

// joined notes a session that has begun.
func (r *run) joined(s link.Session) {
	r.mu.Lock()
	r.peers = append(r.peers, s)
	r.mu.Unlock()
	r.worked.Store(true)
	r.log.say(slog.LevelInfo, fmt.Sprintf("Tunnel handshaked: %s, wire %s", s.Peer(), s.Wire()))
	r.inst.Update(func(run *signalboxv1.InstanceRun) { run.Wire = string(s.Wire()) })
	r.running()
	r.sample()
}

// left notes that one has ended, and says how many there still are.
func (r *run) left(s link.Session) int {
	r.mu.Lock()
	for i, p := range r.peers {
		if p == s {
			r.peers = append(r.peers[:i:i], r.peers[i+1:]...)
			break
		}
	}
	n := len(r.peers)
	r.mu.Unlock()
	return n
}

// sample notes how the sessions stand: all that wait to be used, and the
// longest way.
func (r *run) sample() {
	r.mu.Lock()
	var all link.Stats
	for _, p := range r.peers {
		s := p.Stats()
		all.Pool += s.Pool
		all.Ping = max(all.Ping, s.Ping)
	}
	n := len(r.peers)
	r.mu.Unlock()
	if n == 0 {
		return
	}
	r.inst.Update(func(run *signalboxv1.InstanceRun) {
		run.Pool, run.Ping = int32(all.Pool), nil
		if all.Ping > 0 {
			run.Ping = durationpb.New(max(all.Ping.Round(100*time.Microsecond), 100*time.Microsecond))
		}
	})
}

// samples takes a sample now and then until ctx ends.
func (r *run) samples(ctx context.Context) error {
	for pause(ctx, sampled) {
		r.sample()
	}
	return nil
}
