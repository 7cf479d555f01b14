package tunnel

import (
	"context"
	"fmt"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"signalbox/node/tunnel/account"
	"signalbox/node/tunnel/carry"
	"signalbox/node/tunnel/link"
	signalboxv1 "signalbox/proto/gen/signalbox/v1"
	"signalbox/proto/tunnelurl"
)

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
	// spoken is the wire that worked last, of a client that was not told which;
	// ours stays. keep's goroutine alone has it.
	spoken tunnelurl.Wire
	// open says that every stranger knows a server's key. It is set before there
	// are clients.
	open bool
	// worked says that there was a session.
	worked atomic.Bool

	mu    sync.Mutex // guards what follows
	peers []link.Session
}

// newRun returns a run of what is wanted.
func newRun(cfg Config, w Wanted, u tunnelurl.URL, inst *account.Instance) *run {
	return &run{
		cfg: cfg, want: w, url: u, inst: inst, log: newJournal(cfg, w.Name, u.Log),
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
