package tunnel

import (
	"context"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"google.golang.org/protobuf/types/known/durationpb"

	"signalbox/node/tunnel/account"
	"signalbox/node/tunnel/carry"
	"signalbox/node/tunnel/link"
	signalboxv1 "signalbox/proto/gen/signalbox/v1"
	"signalbox/proto/tunnelurl"
)

// sampled is how often it is looked how sessions stand.
const sampled = 5 * time.Second

// A run is one instance from being begun to being ended. It tries until it is
// ended; what is learnt in an attempt that worked is kept for the next.
type run struct {
	cfg  Config
	want Wanted
	url  tunnelurl.URL
	inst *account.Instance
	log  *journal
	// served says whether this node runs a server at that tunnel port.
	served func(port string) bool

	carrier *carry.Carrier
	slots   *carry.Slots
	targets *carry.Targets
	block   carry.Block
	// sessions are those that users are given to.
	sessions *sessions

	// mode is found at the first attempt that works, and kept: what listens
	// meanwhile must not turn an end of a tunnel into something else. keep's
	// goroutine alone has it.
	mode signalboxv1.InstanceMode
	// spoken is the wire that worked, of a client that was not told which;
	// misses are failures of it since. keep's goroutine alone has them.
	spoken tunnelurl.Wire
	misses int

	mu    sync.Mutex // guards what follows
	peers []link.Session
}

// newRun returns a run of what is wanted.
func newRun(cfg Config, w Wanted, u tunnelurl.URL, inst *account.Instance, t *tail) *run {
	return &run{
		cfg: cfg, want: w, url: u, inst: inst, log: newJournal(cfg, w.Name, u.Log, t),
		carrier: &carry.Carrier{In: carry.NewRate(u.Rate), Out: carry.NewRate(u.Rate), Idle: u.Idle, UDPIdle: cfg.UDPIdle},
		slots:   &carry.Slots{Most: int64(u.Slots)},
		targets: &carry.Targets{Addresses: u.Targets, Source: u.Source},
		block:   carry.Block(u.Block), sessions: newSessions(cfg.Patience),
	}
}

// keep tries until ctx ends, and returns when everything has. bad is what is
// wrong with the URL.
func (r *run) keep(ctx context.Context, bad error) {
	if bad != nil {
		r.failed(fmt.Errorf("the URL: %w", bad))
		<-ctx.Done()
		return
	}
	r.log.say(slog.LevelInfo, fmt.Sprintf("%s started: %s", r.role(), r.about()))
	for {
		err := r.attempt(ctx)
		if ctx.Err() != nil {
			break
		}
		r.failed(err)
		if !pause(ctx, r.cfg.Retry) {
			break
		}
	}
	r.log.say(slog.LevelInfo, r.role()+" shutdown complete")
}

// attempt runs until something fails.
func (r *run) attempt(ctx context.Context) error {
	if r.url.Role == tunnelurl.Server {
		return r.server(ctx)
	}
	return r.client(ctx)
}

// role is the role as lines begin with it.
func (r *run) role() string {
	if r.url.Role == tunnelurl.Server {
		return "Server"
	}
	return "Client"
}

// about is the instance's addresses, without its key.
func (r *run) about() string {
	about := r.url.Tunnel + "/"
	for i, t := range r.url.Targets {
		if i > 0 {
			about += ","
		}
		about += t
	}
	return about
}

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

// pause waits, and says whether ctx did not end meanwhile.
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
