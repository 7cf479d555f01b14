package main

import (
	"context"
	"crypto/sha256"
	"crypto/subtle"
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"os"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"github.com/prometheus/client_golang/prometheus/promhttp"
	dto "github.com/prometheus/client_model/go"
	"github.com/spf13/pflag"
	"golang.org/x/sync/errgroup"
)

// metricsFlags are how any part shows its metrics.
type metricsFlags struct {
	addr        string
	token, file string
	open        bool
	tls         serverTLS
}

func (m *metricsFlags) add(f *pflag.FlagSet) {
	f.StringVar(&m.addr, "metrics-listen", "", "address of /metrics, for Prometheus; none if not given. It needs a token, client certificates (--metrics-tls-client-ca), or --metrics-open")
	f.StringVar(&m.token, "metrics-token", "", "bearer token that /metrics asks for; better given as SIGNALBOX_METRICS_TOKEN")
	f.StringVar(&m.file, "metrics-token-file", "", "file that holds the token, read again on every request")
	f.BoolVar(&m.open, "metrics-open", false, "show /metrics to everyone who can reach its address, also in the clear: there are no secrets in it, and there is no token then")
	m.tls.add(f, "metrics-", "/metrics")
}

// check says which flags are missing or too many, and returns the listener's
// TLS.
func (m *metricsFlags) check(plaintext bool, log *slog.Logger) (*tls.Config, error) {
	tokens := 0
	for _, given := range []bool{m.token != "", m.file != "", m.open} {
		if given {
			tokens++
		}
	}
	switch {
	case tokens > 1:
		return nil, &usageError{errors.New("--metrics-token, --metrics-token-file and --metrics-open are alternatives")}
	case tokens == 0 && m.tls.ClientCA == "":
		return nil, &usageError{fmt.Errorf("--metrics-listen %s would show metrics to anyone: give --metrics-token-file (or SIGNALBOX_METRICS_TOKEN), --metrics-tls-client-ca, or --metrics-open", m.addr)}
	}
	if m.file != "" {
		if _, err := m.secret(); err != nil {
			return nil, &usageError{fmt.Errorf("--metrics-token-file: %w", err)}
		}
	}
	secure, err := m.tls.config(log)
	if err != nil {
		return nil, err
	}
	// Of open metrics nothing secret crosses the network.
	return secure, guard("metrics-listen", m.addr, secure != nil, plaintext || m.open)
}

// secret is the token, empty when none is asked for.
func (m *metricsFlags) secret() (string, error) {
	if m.file == "" {
		return m.token, nil
	}
	b, err := os.ReadFile(m.file)
	if err != nil {
		return "", err
	}
	token := strings.TrimSpace(string(b))
	if token == "" {
		return "", fmt.Errorf("%s is empty", m.file)
	}
	return token, nil
}

// metrics is what a process tells of itself, and where. Nil is nothing and
// nowhere.
type metrics struct {
	flags    *metricsFlags
	registry *prometheus.Registry
	certs    certificates
	shown    http.Handler // of what the sources tell
	listener net.Listener // nil for nowhere
	server   *http.Server
	log      *slog.Logger

	mu      sync.Mutex // parts start, and are added, while requests are answered
	sources prometheus.Gatherers
	fault   string // what was wrong with the token when it was last asked for
}

// listen binds the address, if there is one. part is what the process is.
func (m *metricsFlags) listen(part string, plaintext bool, log *slog.Logger) (*metrics, error) {
	s := newMetrics(part, log)
	s.flags = m
	if m.addr == "" {
		return s, nil
	}
	secure, err := m.check(plaintext, log)
	if err != nil {
		return nil, err
	}
	if s.listener, err = listenAt("metrics-listen", m.addr); err != nil {
		return nil, err
	}
	s.certificate("metrics", secure)
	s.server = &http.Server{
		Handler: s, TLSConfig: secure, ReadHeaderTimeout: 10 * time.Second, IdleTimeout: 5 * time.Minute,
		ErrorLog: slog.NewLogLogger(log.Handler(), slog.LevelDebug),
	}
	log.Info("metrics listening", "addr", s.listener.Addr().String(), "tls", secure != nil)
	return s, nil
}

// newMetrics returns what tells of the process itself.
func newMetrics(part string, log *slog.Logger) *metrics {
	s := &metrics{registry: prometheus.NewRegistry(), log: log}
	s.sources = prometheus.Gatherers{s.registry}
	s.shown = s.exposition()
	s.registry.MustRegister(
		collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}),
		prometheus.NewGaugeFunc(prometheus.GaugeOpts{
			Name: "signalbox_build_info", Help: "Always 1: the version of the software, and what the process is.",
			ConstLabels: prometheus.Labels{"version": version, "part": part},
		}, func() float64 { return 1 }),
		&s.certs,
	)
	return s
}

// add has a part tell, too.
func (s *metrics) add(c prometheus.Collector) {
	if s != nil {
		s.registry.MustRegister(c)
	}
}

// addPlane has a control plane's surroundings tell, and itself once it runs.
func (s *metrics) addPlane(pl *plane) {
	pl.metrics = s
	s.certificate("grpc", pl.secure)
	if pl.gateway != nil {
		s.addGateway(pl.gateway)
	}
}

// addGateway has a gateway tell.
func (s *metrics) addGateway(server *http.Server) {
	s.certificate("api", server.TLSConfig)
	if c, ok := server.Handler.(prometheus.Collector); ok {
		s.add(c)
	}
}

// addStore has a store tell: an etcd in this process, or how one elsewhere is
// reached.
func (s *metrics) addStore(kept *store) {
	s.certificate("etcd", kept.secure)
	if kept.failed != nil {
		s.addEtcd()
	}
}

// addEtcd has the etcd in this process tell: it knows one registry only, that
// of the library.
func (s *metrics) addEtcd() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.sources = append(s.sources, prometheus.GathererFunc(etcdFamilies))
}

// with serves while run runs, and ends it should serving fail.
func (s *metrics) with(ctx context.Context, run func(context.Context) error) error {
	if s.listener == nil {
		return run(ctx)
	}
	serving, stop := context.WithCancel(context.WithoutCancel(ctx))
	g, ctx := errgroup.WithContext(ctx)
	g.Go(func() error {
		defer stop()
		return run(ctx)
	})
	g.Go(func() error { return serveHTTP(serving, s.server, s.listener, s.log) })
	return g.Wait()
}

// scrapes is how many may be answered at once; others are told to come again.
const scrapes = 4

// ServeHTTP answers /metrics, to those who may ask.
func (s *metrics) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	switch {
	case !s.admits(r):
		w.Header().Set("WWW-Authenticate", "Bearer")
		http.Error(w, "the metrics token is needed, as a bearer token", http.StatusUnauthorized)
	case r.URL.Path != "/metrics":
		http.Error(w, "there is nothing at this path but /metrics", http.StatusNotFound)
	case r.Method != http.MethodGet && r.Method != http.MethodHead:
		w.Header().Set("Allow", "GET, HEAD")
		http.Error(w, "the method must be GET", http.StatusMethodNotAllowed)
	default:
		s.shown.ServeHTTP(w, r)
	}
}

// admits reports whether a request brings what is asked for. Certificates were
// checked before it came.
func (s *metrics) admits(r *http.Request) bool {
	want, err := s.flags.secret()
	s.changed(err)
	if err != nil {
		return false
	}
	if want == "" {
		return true // it is open, or for holders of a certificate
	}
	given, bearer := strings.CutPrefix(r.Header.Get("Authorization"), "Bearer ")
	// Sums are of one length, so that comparing tells nothing of the token's.
	a, b := sha256.Sum256([]byte(want)), sha256.Sum256([]byte(given))
	return bearer && subtle.ConstantTimeCompare(a[:], b[:]) == 1
}

// changed logs what is wrong with the token, when that is news: anyone can ask,
// as often as they like.
func (s *metrics) changed(err error) {
	now := ""
	if err != nil {
		now = err.Error()
	}
	s.mu.Lock()
	was := s.fault
	s.fault = now
	s.mu.Unlock()
	switch {
	case now == was:
	case now != "":
		s.log.Error("metrics token cannot be read", "err", err)
	default:
		s.log.Info("metrics token can be read again")
	}
}

// gather asks all sources that are known by now.
func (s *metrics) gather() ([]*dto.MetricFamily, error) {
	s.mu.Lock()
	sources := slices.Clone(s.sources)
	s.mu.Unlock()
	return sources.Gather()
}

// exposition writes what there is to tell, in the form that is asked for. There
// is one for all requests, as it is what counts them.
func (s *metrics) exposition() http.Handler {
	return promhttp.HandlerFor(prometheus.GathererFunc(s.gather), promhttp.HandlerOpts{
		EnableOpenMetrics: true, ErrorHandling: promhttp.ContinueOnError,
		MaxRequestsInFlight: scrapes, Timeout: 10 * time.Second,
		ErrorLog: slog.NewLogLogger(s.log.Handler(), slog.LevelWarn),
	})
}
