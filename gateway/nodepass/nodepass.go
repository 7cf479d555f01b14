// Package nodepass serves the API of a NodePass master over the public gRPC
// services, as anyone could. Here alone is known what a panel of NodePass
// expects: an instance is an object of 1.14's shape, an API key is the instance
// "********", and changes are events named "instance".
//
//	GET    /instances        all, the caller's key first
//	POST   /instances        make one
//	GET    /instances/{id}   one
//	PATCH  /instances/{id}   alias, restart, meta, and an action
//	PUT    /instances/{id}   another URL
//	DELETE /instances/{id}
//	GET    /events           what happens, as server-sent events
//	GET    /info             of the gateway and its machine; POST: its alias
//	GET    /tcping           can the gateway reach an address
//	GET    /openapi.json, /docs
//
// All of it is below each prefix, and below its "/v1": the documentation has
// the first, every real master and panel the second. Statuses, bodies and texts
// are those of 1.4.4, and where that has none, of 1.14.0. Where we differ, we
// mean to; docs/nodepass.md has the list.
package nodepass

import (
	"fmt"
	"log/slog"
	"os"
	"slices"
	"strings"
	"sync"
	"time"

	"google.golang.org/grpc"

	"signalbox/gateway/docs"
	signalboxv1 "signalbox/proto/gen/signalbox/v1"
	"signalbox/proto/tunnelurl"
)

// Config is what a handler can be told. The zero value is usable.
type Config struct {
	// Prefixes are the paths that the API is below, as "/api" or "/a/b".
	// Default "/api". Below "/api" there are other APIs: only NodePass's own
	// names and "/api/v1" are served there. All of any other prefix is.
	Prefixes []string
	// Defaults are written into the URLs of POST and PUT that leave them out.
	Defaults tunnelurl.Defaults
	// Name is what GET /info calls the host. Default: the machine's name.
	Name string
	// Alias is what GET /info calls the master, until POST /info gives it
	// another, which is kept in memory.
	Alias string
	// TLS is how the API itself is served: "0", "1" or "2". Default "0".
	TLS string
	// CertFile and KeyFile are what GET /info says of TLS "2".
	CertFile, KeyFile string
	// EndsForGood says that when the handler is closed the service itself ends.
	// Followers of events are told "shutdown" then, after which panels do not
	// come back. Default: their streams are closed, and they do.
	EndsForGood bool
	// MaxBody bounds a request's body, in bytes. Default 1 MiB.
	MaxBody int64
	// Log hears of failures that are not the client's. Default: nobody does.
	Log *slog.Logger

	// patience is how long a control plane that followers lost is looked for,
	// poll how often counters are, and most how long a running instance may go
	// without an update. Tests shorten them.
	patience, poll, most time.Duration
}

// Check says what is wrong with a prefix, before there is a handler.
func (c Config) Check() error {
	_, err := prefixes(c.Prefixes)
	return err
}

// version is that of NodePass whose API this is, as GET /info says it. Panels
// choose by it what they offer: what 1.14 has is here.
const version = "v1.14.0"

// Handler serves the API.
type Handler struct {
	instances signalboxv1.InstanceServiceClient
	events    signalboxv1.EventServiceClient
	keys      signalboxv1.ApiKeyServiceClient
	cfg       Config
	files     *docs.Files
	begun     time.Time
	machine   machine
	pings     chan struct{} // has room for each tcping that may run at a time
	closing   chan struct{} // closed when all streams are to end
	close     sync.Once

	mu    sync.Mutex // guards alias
	alias string     // of the master
}

// New returns a handler over the services that conn reaches. It fails when a
// prefix is not one, or another API's.
func New(conn grpc.ClientConnInterface, cfg Config) (*Handler, error) {
	var err error
	if cfg.Prefixes, err = prefixes(cfg.Prefixes); err != nil {
		return nil, err
	}
	if cfg.Name == "" {
		cfg.Name, _ = os.Hostname() // empty where there is none
	}
	if cfg.TLS == "" {
		cfg.TLS = "0"
	}
	if cfg.MaxBody <= 0 {
		cfg.MaxBody = 1 << 20
	}
	if cfg.Log == nil {
		cfg.Log = slog.New(slog.DiscardHandler)
	}
	orElse(&cfg.patience, 30*time.Second)
	orElse(&cfg.poll, 5*time.Second)
	orElse(&cfg.most, 55*time.Second)
	files, err := docs.NewFiles(page, "page/index.html", "page/page.js")
	if err != nil {
		return nil, fmt.Errorf("prepare the docs page: %w", err)
	}
	return &Handler{
		instances: signalboxv1.NewInstanceServiceClient(conn),
		events:    signalboxv1.NewEventServiceClient(conn),
		keys:      signalboxv1.NewApiKeyServiceClient(conn),
		cfg:       cfg,
		files:     files,
		begun:     time.Now(),
		pings:     make(chan struct{}, maxPings),
		closing:   make(chan struct{}),
		alias:     cfg.Alias,
	}, nil
}

// orElse gives d a default.
func orElse(d *time.Duration, value time.Duration) {
	if *d <= 0 {
		*d = value
	}
}

// Close ends all streams of events, now and from now on, so that a server can
// shut down.
func (h *Handler) Close() { h.close.Do(func() { close(h.closing) }) }

// general is the prefix that other APIs share.
const general = "/api"

// taken are paths of other APIs, at which no prefix can be, nor below them.
var taken = []string{"/v1", "/docs", "/openapi.json", "/healthz", "/readyz", general + "/routes"}

// prefixes checks and sorts prefixes, the longest first.
func prefixes(given []string) ([]string, error) {
	if len(given) == 0 {
		given = []string{general}
	}
	all := slices.Clone(given)
	for i, p := range all {
		if all[i] = strings.TrimRight(p, "/"); all[i] == "" {
			all[i] = general // as NodePass takes it
		}
		p = all[i]
		if p != clean(p) || p[0] != '/' || strings.ContainsAny(p, "?#%") {
			return nil, fmt.Errorf("NodePass prefix %q must be a plain path, as /api or /a/b", given[i])
		}
		for _, t := range taken {
			if _, below := under(p, t); below {
				return nil, fmt.Errorf("NodePass prefix %q is at or below %s, which is another API's", given[i], t)
			}
		}
	}
	slices.SortFunc(all, func(a, b string) int { return len(b) - len(a) })
	return slices.Compact(all), nil
}

// under cuts dir off a path that is in it.
func under(path, dir string) (rest string, ok bool) {
	rest, ok = strings.CutPrefix(path, dir)
	return rest, ok && (rest == "" || rest[0] == '/')
}
