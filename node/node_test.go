package node

import (
	"context"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"testing"

	signalboxv1 "signalbox/proto/gen/signalbox/v1"
)

// A running is a node that runs, and what a test asks of it.
type running struct {
	*Node
	t     *testing.T
	stop  context.CancelFunc
	ended chan error
}

// start runs a node named "n" with listener "public" and an admin endpoint
// until the test ends.
func start(t *testing.T, c Config) *running {
	t.Helper()
	c.ID, c.Key, c.AdminAddr = "n", "sekrit", "127.0.0.1:0"
	if c.Listeners == nil {
		c.Listeners = map[string]Listener{"public": {Addr: "127.0.0.1:0"}}
	}
	c.Log = slog.New(slog.NewTextHandler(testLog{t}, nil))
	n, err := New(c)
	if err != nil {
		t.Fatal(err)
	}
	if err := n.Listen(t.Context()); err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithCancel(context.Background())
	r := &running{Node: n, t: t, stop: stop, ended: make(chan error, 1)}
	var wait sync.WaitGroup
	wait.Go(func() { r.ended <- n.Run(ctx) })
	t.Cleanup(func() { stop(); wait.Wait() })
	return r
}

// end stops the node and waits until it has ended.
func (r *running) end() {
	r.t.Helper()
	r.stop()
	if err := <-r.ended; err != nil {
		r.t.Fatalf("Run returned %v", err)
	}
}

// get asks the node's public listener, over a connection of its own.
func (r *running) get(path string) (status int, body string, h http.Header) {
	r.t.Helper()
	return get(r.t, "http://"+r.Addr("public")+path, "")
}

func get(t *testing.T, url, key string) (int, string, http.Header) {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, url, nil)
	if err != nil {
		t.Fatal(err)
	}
	if key != "" {
		req.Header.Set("Authorization", "Bearer "+key)
	}
	transport := &http.Transport{}
	defer transport.CloseIdleConnections()
	res, err := (&http.Client{Transport: transport}).Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = res.Body.Close() }()
	b, err := io.ReadAll(res.Body)
	if err != nil {
		t.Fatal(err)
	}
	if res.Close {
		res.Header.Set("Connection", "close") // which the client takes out
	}
	return res.StatusCode, string(b), res.Header
}

// target is an upstream that answers with a word.
func target(t *testing.T, word string) string {
	t.Helper()
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		_, _ = io.WriteString(w, word+" "+r.URL.Path)
	}))
	t.Cleanup(s.Close)
	return s.URL
}

// testLog writes a log to the test's.
type testLog struct{ t *testing.T }

func (l testLog) Write(b []byte) (int, error) {
	l.t.Log(strings.TrimSpace(string(slices.Clone(b))))
	return len(b), nil
}

func TestNodeServesWhatItIsFed(t *testing.T) {
	p := newPlane(t, "cp1")
	n := start(t, Config{ControlPlanes: []string{p.addr}})
	p.put("/ana", target(t, "ana"))
	if status, body, _ := n.get("/ana/lab"); status != http.StatusOK || body != "ana /ana/lab" {
		t.Errorf("the route answers %d %q", status, body)
	}
	if !n.Ready() {
		t.Error("the node is not ready")
	}
	p.put("/ana", target(t, "new"))
	if _, body, _ := n.get("/ana"); body != "new /ana" {
		t.Errorf("the route written again answers %q", body)
	}
	p.acked(p.write(nil, &signalboxv1.RecordKey{Kind: signalboxv1.Kind_KIND_ROUTE, Name: "r/ana"}))
	if status, _, _ := n.get("/ana"); status != http.StatusNotFound {
		t.Errorf("the removed route answers %d", status)
	}
	report := p.until("what the route carried", func(m *signalboxv1.ConnectRequest) bool {
		rs := m.GetReport().GetRoutes()
		return len(rs) > 0 && rs[0].GetCounters().GetRequests() == 2
	})
	if got := report.GetReport().GetRoutes()[0].GetRoute(); got != "r/ana" {
		t.Errorf("the report is of %q", got)
	}
}

// A route written where another one still is, though it should not be, takes
// over as soon as that is removed, and everybody hears so.
func TestNodeTakesARejectionBack(t *testing.T) {
	p, dir := newPlane(t, "cp1"), t.TempDir()
	n := start(t, Config{ControlPlanes: []string{p.addr}, StateDir: dir})
	p.put("/a", target(t, "first"))
	second := routeRecord("/b", target(t, "second"))
	p.acked(p.write([]*signalboxv1.Record{second}))
	clash := routeRecord("/b", second.GetRoute().GetUpstreams()[0].GetUrl())
	clash.GetRoute().Match.PathPrefix = "/a"
	rev := p.write([]*signalboxv1.Record{clash})
	if rej := p.acked(rev).GetRejections(); len(rej) != 1 || rej[0].GetName() != "r/b" || rej[0].GetRevision() != rev {
		t.Fatalf("rejections are %v", rej)
	}
	if _, body, _ := n.get("/a"); body != "first /a" {
		t.Errorf("the match answers %q", body)
	}
	gone := p.write(nil, &signalboxv1.RecordKey{Kind: signalboxv1.Kind_KIND_ROUTE, Name: "r/a"})
	if acc := p.acked(gone).GetAccepted(); len(acc) != 1 || acc[0].GetName() != "r/b" || acc[0].GetKind() != signalboxv1.Kind_KIND_ROUTE {
		t.Errorf("accepted are %v", acc)
	}
	if _, body, _ := n.get("/a"); body != "second /a" {
		t.Errorf("the match answers %q once its holder is gone", body)
	}
	if s := n.status(); len(s.Rejections) != 0 {
		t.Errorf("the node still refuses %v", s.Rejections)
	}
	n.end()
	if changes, err := readState(dir); err != nil || len(changes) != 1 || changes[0].Upserts[0].GetRoute().GetMatch().GetPathPrefix() != "/a" {
		t.Errorf("kept is %v, %v; want the accepted record, and none refused", changes, err)
	}
}

func TestNodeAnswers503UntilThereIsATable(t *testing.T) {
	n := start(t, Config{ControlPlanes: []string{"127.0.0.1:1"}})
	status, body, h := n.get("/")
	if status != http.StatusServiceUnavailable || h.Get("Retry-After") != "1" || !strings.Contains(body, "no table yet (not_ready)") {
		t.Errorf("the node answers %d %q, Retry-After %q", status, body, h.Get("Retry-After"))
	}
	if status, body, _ := get(t, "http://"+n.AdminAddr()+"/readyz", ""); status != http.StatusServiceUnavailable || !strings.Contains(body, "no control plane") {
		t.Errorf("/readyz answers %d %q", status, body)
	}
	if status, _, _ := get(t, "http://"+n.AdminAddr()+"/healthz", ""); status != http.StatusOK {
		t.Errorf("/healthz answers %d", status)
	}
}

func TestNodeTakesListenerRecords(t *testing.T) {
	p := newPlane(t, "cp1")
	n := start(t, Config{ControlPlanes: []string{p.addr}})
	details := func(l *signalboxv1.Listener) (ack *signalboxv1.Ack, header string) {
		t.Helper()
		l.Name = "public"
		ack = p.acked(p.write([]*signalboxv1.Record{{Record: &signalboxv1.Record_Listener{Listener: l}}}))
		_, _, h := n.get("/nowhere")
		return ack, h.Get("Signalbox-Error")
	}
	if _, got := details(&signalboxv1.Listener{}); got != "" {
		t.Errorf("without error details the header is %q", got)
	}
	if _, got := details(&signalboxv1.Listener{ErrorDetails: true}); got == "" {
		t.Error("with error details there is no header")
	}
	ack, got := details(&signalboxv1.Listener{TrustedProxies: []string{"nonsense"}})
	if r := ack.GetRejections(); len(r) != 1 || r[0].GetKind() != signalboxv1.Kind_KIND_LISTENER || r[0].GetRevision() != 3 || got == "" {
		t.Errorf("a record that is wrong gives %v, and the header %q; want the last good one to stay", r, got)
	}
	other := &signalboxv1.Record{Record: &signalboxv1.Record_Listener{Listener: &signalboxv1.Listener{Name: "other"}}}
	p.acked(p.write([]*signalboxv1.Record{other}, &signalboxv1.RecordKey{Kind: signalboxv1.Kind_KIND_LISTENER, Name: "public"}))
	if _, _, h := n.get("/nowhere"); h.Get("Signalbox-Error") != "" {
		t.Error("without a record the default does not hold")
	}
}
