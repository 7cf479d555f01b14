// Package gateway is HTTP in front of the public gRPC services. It decides
// nothing and keeps nothing: what is asked goes on to a control plane, over a
// connection like any client's.
//
//	/v1/...            the JSON API, package rest
//	/v1/events         changes as server-sent events, package sse
//	/api/...           the API of configurable-http-proxy, package chp
//	/api/v1/...        the API of a NodePass master, package nodepass; also below
//	                   other prefixes, and /api/instances and its like
//	/openapi.json      what all of them take and answer
//	/docs              the same, to try out in a browser
//	/healthz, /readyz  is the gateway alive, and does it reach a control plane
//
// The last three, and NodePass's docs, need no key, all else does. Errors have the shape of the API
// whose path it is.
package gateway

import (
	"fmt"
	"log/slog"
	"net/http"
	"strings"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"signalbox/gateway/apierror"
	"signalbox/gateway/chp"
	"signalbox/gateway/credential"
	"signalbox/gateway/docs"
	"signalbox/gateway/nodepass"
	"signalbox/gateway/rest"
	"signalbox/gateway/sse"
)

// Config is every choice a gateway has. The zero value is usable.
type Config struct {
	// MaxBody bounds request bodies, in bytes. Default 8 MiB.
	MaxBody int64
	// HostRouting makes the first segment of a CHP key a host.
	HostRouting bool
	// WaitTimeout bounds how long writes through the CHP API wait for the
	// nodes. Default 5 s.
	WaitTimeout time.Duration
	// AnonymousKey is the API key of requests to the CHP API that bring none,
	// for CHP's mode without a token. Default: they are refused.
	AnonymousKey string
	// ObserveCHP is told of every call of the CHP API once it was answered.
	// Default: nobody is.
	ObserveCHP func(chp.Call)
	// CHPElsewhere answers paths that no API has as CHP does, where our own
	// answers would be taken for somebody else's; the NodePass API is one that it
	// has not, then. Default: as /v1 does.
	CHPElsewhere bool
	// NodePass is what the NodePass API can be told. Its Log is the gateway's
	// where it has none.
	NodePass nodepass.Config
	// AllowedOrigins are the origins whose pages may call /v1 from a browser,
	// each as "https://host", or "*" for all. Default: none.
	AllowedOrigins []string
	// Heartbeat is how often followers of events are sent a comment. Default
	// 15 s.
	Heartbeat time.Duration
	// Version is the software version to answer with.
	Version string
	// Log hears of failures that are not the client's. Default: nobody does.
	Log *slog.Logger
}

// defaults fills in what was left out.
func (c Config) defaults() Config {
	if c.MaxBody <= 0 {
		c.MaxBody = 8 << 20
	}
	if c.Log == nil {
		c.Log = slog.New(slog.DiscardHandler)
	}
	if c.NodePass.Log == nil {
		c.NodePass.Log = c.Log
	}
	return c
}

// Gateway answers everything.
type Gateway struct {
	v1       http.Handler // rest and events, for whatever origins are allowed
	rest     *rest.API
	events   *sse.Handler
	chp      http.Handler
	nodepass *nodepass.Handler // nil where CHP answers elsewhere
	docs     http.Handler
	health   http.Handler
	log      *slog.Logger

	chpElsewhere bool

	conn    grpc.ClientConnInterface
	metrics metrics
}

// New returns a gateway over the services that conn reaches, which remains the
// caller's. It starts nothing.
func New(conn grpc.ClientConnInterface, cfg Config) (*Gateway, error) {
	cfg = cfg.defaults()
	g := &Gateway{
		events: sse.New(conn, sse.Config{Heartbeat: cfg.Heartbeat, Log: cfg.Log}),
		health: newHealth(conn, cfg.Log),
		log:    cfg.Log,

		chpElsewhere: cfg.CHPElsewhere,

		conn: conn, metrics: newMetrics(),
		chp: chp.New(conn, chp.Config{
			HostRouting:  cfg.HostRouting,
			WaitTimeout:  cfg.WaitTimeout,
			MaxBody:      cfg.MaxBody,
			AnonymousKey: cfg.AnonymousKey,
			Observe:      cfg.ObserveCHP,
			Version:      cfg.Version,
			Log:          cfg.Log,
		}),
	}
	var err error
	if g.rest, err = rest.New(conn, rest.Config{MaxBody: cfg.MaxBody, Log: cfg.Log}); err != nil {
		return nil, fmt.Errorf("register the JSON API: %w", err)
	}
	v1 := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/v1/events" {
			g.events.ServeHTTP(w, r)
			return
		}
		g.rest.ServeHTTP(w, r)
	})
	if g.v1, err = newCORS(cfg.AllowedOrigins, v1); err != nil {
		return nil, err
	}
	if g.docs, err = docs.New(cfg.Version); err != nil {
		return nil, err
	}
	if !cfg.CHPElsewhere {
		g.nodepass, err = nodepass.New(conn, cfg.NodePass)
	}
	return g, err
}

// ServeHTTP sends a request to the API whose path it has. It is no
// http.ServeMux because those redirect paths that are not clean, and names and
// keys may have any path.
func (g *Gateway) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if id := r.Header.Get(credential.RequestID); credential.GoodRequestID(id) {
		w.Header().Set(credential.RequestID, id)
	}
	r = withDeadlines(w, r)
	api := g.apiOf(r.URL.Path)
	counted, end := g.metrics.begin(w, api)
	defer end()
	g.serve(counted, r, api)
}

// The APIs there are, as metrics call them.
const (
	apiREST           = "rest"
	apiEvents         = "sse"
	apiLogs           = "logs"
	apiCHP            = "chp"
	apiNodePass       = "nodepass"
	apiNodePassEvents = "nodepass_sse"
	apiDocs           = "docs"
	apiHealth         = "health"
	apiOther          = "other"
)

// apiOf is the API that has a path.
func (g *Gateway) apiOf(path string) string {
	switch {
	case path == "/v1/events":
		return apiEvents
	case g.nodepass != nil && g.nodepass.Streams(path):
		return apiNodePassEvents
	case g.nodepass != nil && g.nodepass.Serves(path):
		return apiNodePass
	case strings.HasPrefix(path, "/v1/instances/") && strings.HasSuffix(path, "/logs"):
		return apiLogs
	case below(path, "/v1"):
		return apiREST
	case below(path, "/api"):
		return apiCHP
	case below(path, "/docs"), path == "/openapi.json":
		return apiDocs
	case path == "/healthz", path == "/readyz":
		return apiHealth
	}
	return apiOther
}

// serve answers a request for an API.
func (g *Gateway) serve(w http.ResponseWriter, r *http.Request, api string) {
	switch api {
	case apiREST, apiEvents, apiLogs:
		g.v1.ServeHTTP(w, r)
	case apiCHP:
		g.chp.ServeHTTP(w, r)
	case apiNodePass, apiNodePassEvents:
		g.nodepass.ServeHTTP(w, r)
	case apiDocs:
		g.docs.ServeHTTP(w, r)
	case apiHealth:
		g.health.ServeHTTP(w, r)
	default:
		if g.chpElsewhere {
			g.chp.ServeHTTP(w, r)
			return
		}
		if r.URL.Path == "/" {
			w.Header().Set("Location", "docs/") // relative, for proxies that add a prefix
			w.WriteHeader(http.StatusFound)
			return
		}
		apierror.Write(w, status.Error(codes.NotFound, "there is nothing at this path; /docs/ says what there is"))
	}
}

// below reports whether path is dir or in it.
func below(path, dir string) bool {
	rest, ok := strings.CutPrefix(path, dir)
	return ok && (rest == "" || rest[0] == '/')
}
