package feed

import (
	"context"
	"errors"
	"log/slog"
	"slices"
	"time"

	signalboxv1 "signalbox/proto/gen/signalbox/v1"
)

// A loop is a client at work. One goroutine owns all of it; attempts reach it
// through events alone.
type loop struct {
	client  *Client
	conf    *Config
	log     *slog.Logger
	machine *machine
	links   links

	events   chan event
	attempts map[int]*attempt // those that run, by number
	last     int              // number of the newest attempt

	resolved chan resolution
	kick     chan struct{} // has an element when seeds should be looked up at once

	// Moments at which something is due, zero while nothing is: the first
	// choice, asking those again that said Unfed, and giving up on an answer.
	settleAt, againAt, verdictAt time.Time
	renewal                      renewal
	ready                        bool                     // as told to control planes last
	fatal                        error                    // why Run must fail, nil while it need not
	rejections                   []*signalboxv1.Rejection // as in the status; nil when out of date
}

func newLoop(c *Client) *loop {
	return &loop{
		client: c, conf: &c.conf, log: c.conf.Log,
		machine:  newMachine(c.conf.Node, c.conf.Applier, c.conf.Start...),
		links:    links{all: map[string]*link{}, seeds: map[string][]string{}},
		events:   make(chan event),
		attempts: map[int]*attempt{},
		resolved: make(chan resolution),
		kick:     make(chan struct{}, 1),
	}
}

// run is [Client.Run].
func (l *loop) run(ctx context.Context) error {
	resolving, stop := context.WithCancel(ctx)
	done := make(chan struct{})
	go func() { defer close(done); resolve(resolving, l.conf, l.kick, l.resolved) }()
	defer func() { stop(); <-done }()

	// Streams outlive ctx by their last words.
	streams, cut := context.WithCancel(context.WithoutCancel(ctx))
	defer cut()
	timer := time.NewTimer(0)
	defer timer.Stop()
	l.verdictAt = time.Now().Add(l.conf.timing.verdict)
	for l.fatal == nil {
		select {
		case ev := <-l.events:
			l.handle(ev)
		case r := <-l.resolved:
			l.learn(r)
		case <-l.client.changed:
		case <-timer.C:
		case <-ctx.Done():
			l.goodbye(context.Cause(ctx), cut)
			return nil
		}
		timer.Reset(l.advance(streams))
	}
	cut()
	l.drainEvents()
	return l.fatal
}

// handle takes one event of a stream. Those of streams that were given up
// come to nothing, but for their end.
func (l *loop) handle(ev event) {
	a := l.attempts[ev.stream]
	switch m := ev.message; {
	case ev.ended != nil:
		l.ended(ev.stream, ev.ended)
	case m == nil:
		l.hello(a)
	case m.GetWelcome() != nil:
		l.welcome(a, m.GetWelcome())
	case m.GetMembers() != nil:
		l.links.members = m.GetMembers().GetMembers()
		l.carryOut(l.machine.named(m.GetMembers()))
	case m.GetUpdate() != nil:
		l.rejections = nil
		l.carryOut(l.machine.update(ev.stream, m.GetUpdate()))
	case m.GetUnfed() != nil:
		l.log.Info("fed no more", "addr", a.addr, "reason", m.GetUnfed().GetReason())
		l.againAt = time.Now().Add(l.conf.timing.again)
		l.carryOut(l.machine.unfed(ev.stream))
	}
}

// hello opens a stream from the node's side.
func (l *loop) hello(a *attempt) {
	l.machine.open(a.number)
	hello := &signalboxv1.Hello{
		Node: l.conf.Node, Epoch: l.conf.Epoch, SoftwareVersion: l.conf.Version,
		Labels: l.conf.Labels, Listeners: l.conf.Listeners,
		Serving: l.machine.assembly.Serving(), Rejections: l.machine.refused.all(),
	}
	a.out.put(func(m *mail) { m.hello = hello })
}

// welcome takes a control plane's answer to Hello.
func (l *loop) welcome(a *attempt, w *signalboxv1.Welcome) {
	effects := l.machine.welcome(a.number, w)
	a.welcomed = true
	if k := l.links.of(a.number); k != nil {
		k.replica = w.GetControlPlane()
		if l.machine.streamOf(k.replica) == a.number {
			k.fails, k.parked, k.err = 0, "", nil
			l.log.Info("connected to control plane", "addr", k.addr, "controlplane", k.replica, "rev", w.GetCurrent().GetRevision())
		}
	}
	interval := defaultReport
	if w.GetReportInterval().AsDuration() > 0 {
		interval = max(w.GetReportInterval().AsDuration(), minReport)
	}
	a.out.put(func(m *mail) { m.interval = interval })
	if l.settleAt.IsZero() && !l.machine.settled {
		l.settleAt = time.Now().Add(l.conf.timing.settle)
	}
	l.carryOut(effects)
}

// defaultReport is how often to report to a control plane that does not say,
// and minReport the most often a node agrees to.
const (
	defaultReport = time.Second
	minReport     = 50 * time.Millisecond
)

// carryOut does what the machine decided. Before anything is said the status
// is brought up to date, since it is asked for what is said.
func (l *loop) carryOut(effects []effect) {
	l.publish()
	for _, e := range effects {
		a := l.attempts[e.Stream]
		if a == nil {
			continue
		}
		switch {
		case e.Feed != nil:
			l.logAsk(a, e)
			a.out.put(func(m *mail) { m.feed = e.Feed })
		case e.Withdraw:
			a.out.put(func(m *mail) { m.feed = nil })
		case e.Ack != nil:
			a.out.acknowledge(e.Ack, l.machine.refused.stands)
		case e.End != nil:
			a.cancel(e.End)
		}
	}
}

// logAsk says whom the node asks to feed it, and why if it was fed already.
func (l *loop) logAsk(a *attempt, e effect) {
	if e.Because != nil {
		l.log.Warn("update cannot be used", "addr", a.addr, "err", e.Because)
		return
	}
	l.log.Info("asking to be fed", "addr", a.addr, "rev", e.Feed.GetHave().GetRevision())
}

// ended takes note of the end of an attempt, and decides when to try again.
func (l *loop) ended(stream int, err error) {
	a, k := l.attempts[stream], l.links.of(stream)
	delete(l.attempts, stream)
	k.stream = 0
	if a.told != nil {
		a.told(err)
	}
	l.retry(k, a.welcomed, err)
	l.carryOut(l.machine.ended(stream))
	select {
	case l.kick <- struct{}{}:
	default:
	}
}

// learn takes what a look-up of a seed found. When it failed, the addresses
// found before stand.
func (l *loop) learn(r resolution) {
	before, known := l.links.seeds[r.seed]
	switch {
	case r.err != nil:
		if !known {
			l.links.seeds[r.seed] = nil
			l.log.Warn("cannot look up control plane", "addr", r.seed, "err", r.err)
		}
	default:
		if !slices.Equal(before, r.addrs) {
			l.log.Info("control plane addresses", "addr", r.seed, "found", r.addrs)
		}
		l.links.seeds[r.seed] = r.addrs
	}
}

// advance does what is due, and returns how long to wait for what is next.
func (l *loop) advance(streams context.Context) time.Duration {
	now := time.Now()
	l.links.refresh(now, l.conf.timing.forget)
	if passed(&l.settleAt, now) {
		l.carryOut(l.machine.settle())
	}
	if passed(&l.againAt, now) {
		l.carryOut(l.machine.again())
	}
	if !l.verdictAt.IsZero() && (len(l.links.seeds) == len(l.conf.Seeds) && l.links.tried() || passed(&l.verdictAt, now)) {
		l.verdictAt = time.Time{}
		l.machine.unanswered()
	}
	l.renew(now)
	try, next := l.links.due(now)
	for _, k := range try {
		l.attempt(streams, k)
	}
	l.publish()
	wait := l.conf.timing.resolve
	for _, at := range []time.Time{next, l.settleAt, l.againAt, l.verdictAt} {
		if !at.IsZero() {
			wait = min(wait, max(at.Sub(now), 0))
		}
	}
	return wait
}

// passed reports whether a moment has come, and then forgets it.
func passed(at *time.Time, now time.Time) bool {
	if at.IsZero() || at.After(now) {
		return false
	}
	*at = time.Time{}
	return true
}

// attempt starts to try a link. The attempt's end is its last event.
func (l *loop) attempt(streams context.Context, k *link) {
	l.last++
	ctx, cancel := context.WithCancelCause(streams)
	a := &attempt{number: l.last, addr: k.addr, host: k.host, out: newOutbox(), cancel: cancel,
		fed: func(at time.Time) { l.client.fed.Store(&at) }}
	l.attempts[a.number], k.stream = a, a.number
	go func() {
		defer cancel(nil)
		err := a.run(ctx, l.conf, l.client.ready, func(ev event) { l.events <- ev })
		l.events <- event{stream: a.number, ended: err}
	}()
}

// goodbye says so on all streams, waits for their ends, and cuts those that
// take too long.
func (l *loop) goodbye(cause error, cut func()) {
	reason := "stopped"
	if cause != nil && !errors.Is(cause, context.Canceled) {
		reason = cause.Error()
	}
	for number, a := range l.attempts {
		if l.machine.peers[number] == nil {
			a.cancel(nil)
			continue
		}
		a.out.put(func(m *mail) { m.goodbye = &signalboxv1.Goodbye{Reason: reason} })
	}
	timer := time.AfterFunc(l.conf.timing.goodbye, cut)
	defer timer.Stop()
	l.drainEvents()
}

// drainEvents takes events until every attempt has ended.
func (l *loop) drainEvents() {
	for len(l.attempts) > 0 {
		if ev := <-l.events; ev.ended != nil {
			delete(l.attempts, ev.stream)
		} else if ev.message == nil {
			l.attempts[ev.stream].cancel(nil) // it opened too late to be used
		}
	}
}
