package proxy

import (
	"context"
	"crypto/tls"
	"log/slog"
	"net/http"
	"sync"
	"sync/atomic"
	"time"

	"google.golang.org/protobuf/proto"

	signalboxv1 "signalbox/proto/gen/signalbox/v1"

	"signalbox/node/report"
	"signalbox/node/route"
	"signalbox/node/upstream"
)

// Config is what a Handler works with.
type Config struct {
	// Pools are the connections to upstreams.
	Pools *upstream.Registry
	// Book counts what each route carries; nil counts for nobody.
	Book *report.Book
	// Ready tells whether there is a table to serve. Nil means that there
	// always is.
	Ready func() bool
	// TLS says how those who are asked for error pages are reached over https;
	// nil means by the system's authorities.
	TLS *tls.Config
	// Observe is told of every exchange when it is over, by the goroutine that
	// carried it, and must not wait for anything. Nil means that nobody is.
	Observe func(Exchange)
	// Log gets failures and accesses; nil means nobody does.
	Log *slog.Logger
	// Sample logs every n-th exchange. Zero means that only failures are
	// logged, one that everything is, and a negative number that nothing is.
	// Of failures no more than a hundred a second are logged, and as many of
	// clients' failures; the next line then has how many were left out.
	Sample int
}

// A Handler serves a node's table on all its listeners. It is safe for
// concurrent use.
type Handler struct {
	cfg      Config
	table    atomic.Pointer[route.Table]
	draining atomic.Bool
	served   atomic.Uint64 // exchanges so far, for sampling
	failures failures
	quotas   [2]Quota // of failures to be logged: clients', others
	streams  streams
	descs    descs
	begun    time.Time
	running  tally
	pages    *http.Client // asks for error pages

	// noUpgrades says that no more protocols are switched.
	noUpgrades atomic.Bool

	// base is what the contexts of all exchanges on a Server are made from; end
	// ends it, with the cause.
	base context.Context //nolint:containedctx // it is there before any call
	end  context.CancelCauseFunc

	mu     sync.Mutex // of those who change what is served
	fronts map[string]*front
	rules  map[string]*listener
}

// New returns a handler that knows no route: it answers 404.
func New(cfg Config) *Handler {
	if cfg.Log == nil {
		cfg.Log = slog.New(slog.DiscardHandler)
	}
	if cfg.Book == nil {
		cfg.Book = report.New()
	}
	h := &Handler{cfg: cfg, pages: pageClient(cfg.TLS), descs: newDescs(), begun: time.Now(), fronts: map[string]*front{}, rules: map[string]*listener{}}
	h.base, h.end = context.WithCancelCause(context.Background())
	h.table.Store(route.New(route.Config{}))
	return h
}

// Table returns the table that is served.
func (h *Handler) Table() *route.Table { return h.table.Load() }

// SetTable serves t from the next request on. change must be all that
// distinguishes it from the table served until now. Routes that did not change
// keep everything: connections, counters, streams.
func (h *Handler) SetTable(t *route.Table, change route.Change) {
	h.mu.Lock()
	defer h.mu.Unlock()
	for _, s := range change.Swaps {
		if s.New != nil {
			h.attach(s.New, s.Old)
		}
	}
	h.table.Store(t)
	for _, s := range change.Swaps {
		if s.Old != nil {
			h.detach(s.Old, s.New)
		}
	}
}

// SetListeners makes recs, by name, the listeners' records from the next
// request on, also on connections that are open. A listener without one has
// the defaults. A record that is invalid is left out: the last good one under
// its name stays.
func (h *Handler) SetListeners(recs map[string]*signalboxv1.Listener) (rejected map[string]error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	rules := make(map[string]*listener, len(recs))
	rejected = map[string]error{}
	for name, rec := range recs {
		old := h.rules[name]
		if old != nil && proto.Equal(old.said, rec) {
			rules[name] = old
			continue
		}
		l, err := compile(rec)
		switch {
		case err == nil:
			l.follow(old)
			rules[name] = l
		case old != nil:
			rules[name] = old
		}
		if err != nil {
			rejected[name] = err
		}
	}
	h.rules = rules
	for name, f := range h.fronts {
		f.rules.Store(h.rulesOf(name))
		f.idle.changed()
	}
	return rejected
}

// For returns the handler of one listener, the same for the same name.
func (h *Handler) For(listener string) http.Handler { return h.front(listener) }

func (h *Handler) front(name string) *front {
	h.mu.Lock()
	defer h.mu.Unlock()
	f := h.fronts[name]
	if f == nil {
		f = &front{handler: h, name: name}
		f.idle.front = f
		f.rules.Store(h.rulesOf(name))
		h.fronts[name] = f
	}
	return f
}

// rulesOf returns a listener's record or the defaults. The lock is held.
func (h *Handler) rulesOf(name string) *listener {
	if l := h.rules[name]; l != nil {
		return l
	}
	return defaultListener()
}

// A front is what a Handler is on one listener.
type front struct {
	handler *Handler
	name    string
	rules   atomic.Pointer[listener]
	idle    idleWatch

	meters   [meters]meter
	accepted atomic.Uint64 // connections
	conns    atomic.Int64  // those that are open and net/http's
}
