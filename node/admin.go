package node

import (
	"context"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/http/pprof"
	"strings"
	"sync"
	"time"

	"google.golang.org/protobuf/encoding/protojson"

	"signalbox/node/feed"
	signalboxv1 "signalbox/proto/gen/signalbox/v1"
)

// An admin is the endpoint for operators of the machine: health and readiness
// for everyone who can reach it; the table and profiles for holders of the
// node's key on the machine itself, since nothing is encrypted here.
type admin struct {
	node     *Node
	listener net.Listener
	server   *http.Server
}

// adminTimeout bounds reading a request and idling between two.
const adminTimeout = 10 * time.Second

// newAdmin binds the admin address.
func newAdmin(ctx context.Context, n *Node) (*admin, error) {
	ln, err := new(net.ListenConfig).Listen(ctx, "tcp", n.conf.AdminAddr)
	if err != nil {
		return nil, err
	}
	a := &admin{node: n, listener: ln}
	mux := http.NewServeMux()
	mux.HandleFunc("GET /healthz", func(w http.ResponseWriter, _ *http.Request) { answer(w, http.StatusOK, "ok") })
	mux.HandleFunc("GET /readyz", a.ready)
	mux.Handle("GET /table", a.private(a.table))
	mux.Handle("GET /debug/pprof/", a.private(pprof.Index))
	mux.Handle("GET /debug/pprof/cmdline", a.private(pprof.Cmdline))
	mux.Handle("GET /debug/pprof/profile", a.private(pprof.Profile))
	mux.Handle("GET /debug/pprof/symbol", a.private(pprof.Symbol))
	mux.Handle("GET /debug/pprof/trace", a.private(pprof.Trace))
	a.server = &http.Server{Handler: mux, ReadHeaderTimeout: adminTimeout, IdleTimeout: adminTimeout}
	return a, nil
}

// run serves until ctx ends.
func (a *admin) run(ctx context.Context) error {
	ctx, stop := context.WithCancel(ctx)
	var closing sync.WaitGroup
	closing.Go(func() {
		<-ctx.Done()
		_ = a.server.Close() // its errors are those of connections that are gone
	})
	a.node.log.Info("admin endpoint listening", "addr", a.listener.Addr().String())
	err := a.server.Serve(a.listener)
	stop()
	closing.Wait()
	if errors.Is(err, http.ErrServerClosed) {
		return nil
	}
	return fmt.Errorf("admin endpoint: %w", err)
}

// ready answers 200 when the node should be sent traffic, and 503 and the
// reason when not.
func (a *admin) ready(w http.ResponseWriter, _ *http.Request) {
	if s := a.node.status(); !s.Ready {
		answer(w, http.StatusServiceUnavailable, "not ready: "+s.Reason)
		return
	}
	answer(w, http.StatusOK, "ready")
}

// private lets those on this machine in who have the node's key.
func (a *admin) private(next http.HandlerFunc) http.Handler {
	key := a.node.conf.key()
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if !onLoopback(r.RemoteAddr) {
			answer(w, http.StatusForbidden, "only health and readiness are for other machines: ask on the node's own, at a loopback address")
			return
		}
		given, bearer := strings.CutPrefix(r.Header.Get("Authorization"), "Bearer ")
		if !bearer {
			given = r.Header.Get("X-API-Key")
		}
		// Sums are of one length, so that comparing tells nothing of the key's.
		want, got := sha256.Sum256([]byte(key())), sha256.Sum256([]byte(given))
		if given == "" || subtle.ConstantTimeCompare(want[:], got[:]) != 1 {
			w.Header().Set("WWW-Authenticate", "Bearer")
			answer(w, http.StatusUnauthorized, "the node's own key is needed, as a bearer token or in X-API-Key")
			return
		}
		next(w, r)
	})
}

// answer answers with a line of text.
func answer(w http.ResponseWriter, status int, line string) {
	w.Header().Set("Content-Type", "text/plain; charset=utf-8")
	w.Header().Set("Cache-Control", "no-store")
	w.WriteHeader(status)
	_, _ = w.Write([]byte(line + "\n"))
}

// A tableView is what /table answers.
type tableView struct {
	Node          string              `json:"node"`
	Epoch         int64               `json:"epoch"`
	Ready         bool                `json:"ready"`
	Reason        string              `json:"reason,omitempty"`
	Version       versionView         `json:"version"`
	ControlPlanes []feed.ControlPlane `json:"control_planes"`
	Listeners     map[string]string   `json:"listeners"`
	Routes        []routeView         `json:"routes"`
	Rejections    []json.RawMessage   `json:"rejections"`
}

// A versionView is the version served; its epoch is empty when there is none.
type versionView struct {
	Epoch    string `json:"epoch"`
	Revision int64  `json:"revision"`
}

// A routeView is one route and what it carried here.
type routeView struct {
	Name       string          `json:"name"`
	Revision   int64           `json:"revision"`
	Host       string          `json:"host,omitempty"`
	PathPrefix string          `json:"path_prefix"`
	Upstreams  []string        `json:"upstreams"`
	Carried    json.RawMessage `json:"carried,omitempty"`
}

// table answers the whole table.
func (a *admin) table(w http.ResponseWriter, _ *http.Request) {
	s := a.node.status()
	v := tableView{
		Node: a.node.conf.ID, Epoch: a.node.epoch, Ready: s.Ready, Reason: s.Reason,
		Version:       versionView{s.Serving.GetEpoch(), s.Serving.GetRevision()},
		ControlPlanes: s.ControlPlanes, Listeners: map[string]string{}, Routes: a.routes(), Rejections: []json.RawMessage{},
	}
	for _, f := range a.node.fronts {
		v.Listeners[f.name] = f.inner.Addr().String()
	}
	for _, r := range s.Rejections {
		if b, err := protojson.Marshal(r); err == nil {
			v.Rejections = append(v.Rejections, b)
		}
	}
	w.Header().Set("Content-Type", "application/json")
	w.Header().Set("Cache-Control", "no-store")
	out := json.NewEncoder(w)
	out.SetEscapeHTML(false)
	_ = out.Encode(v) // whoever asked has gone
}

// incarnation is a route between being created and being removed.
type incarnation struct {
	name    string
	created int64
}

// routes are all routes in order of their names, and what they carried.
func (a *admin) routes() []routeView {
	reader := a.node.book.Reader()
	defer reader.Close()
	carried := map[incarnation]*signalboxv1.RouteReport{}
	for _, r := range reader.Changed() {
		carried[incarnation{r.GetRoute(), r.GetCreatedRevision()}] = r
	}
	views := []routeView{}
	for _, r := range a.node.proxy.Table().All() {
		v := routeView{Name: r.Name, Revision: r.Revision, Host: r.Host, PathPrefix: r.Prefix}
		for _, u := range r.Upstreams {
			v.Upstreams = append(v.Upstreams, u.Scheme+"://"+u.Address+u.Path)
		}
		if c := carried[incarnation{r.Name, r.Created}]; c != nil {
			if b, err := protojson.Marshal(c); err == nil {
				v.Carried = b
			}
		}
		views = append(views, v)
	}
	return views
}
