package gateway_test

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/test/bufconn"

	"signalbox/controlplane"
	"signalbox/gateway"
	"signalbox/store/mem"
)

const admin = "the-admin-secret"

// whole is a gateway before a real control plane, behind a real server.
type whole struct {
	t      *testing.T
	url    string
	client *http.Client
}

func start(t *testing.T) *whole {
	t.Helper()
	keeper, log := mem.New(), slog.New(slog.DiscardHandler)
	ln := bufconn.Listen(1 << 20)
	ready := make(chan string, 1)
	cp := controlplane.New(controlplane.Config{
		ID: "cp", Records: keeper, Notes: keeper, AdminKey: admin, Ready: func(made string) { ready <- made }, Log: log,
	})
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- cp.Run(ctx, controlplane.Endpoint{Listener: ln}) }()
	conn, err := grpc.NewClient("passthrough:///memory",
		grpc.WithContextDialer(func(ctx context.Context, _ string) (net.Conn, error) { return ln.DialContext(ctx) }),
		grpc.WithTransportCredentials(insecure.NewCredentials()))
	if err != nil {
		t.Fatal(err)
	}
	g, err := gateway.New(conn, gateway.Config{Version: "v9", Log: log})
	if err != nil {
		t.Fatal(err)
	}
	srv := httptest.NewServer(g)
	t.Cleanup(func() {
		g.Close()
		srv.Close()
		_ = conn.Close()
		cancel()
		if err := <-ended; err != nil {
			t.Error(err)
		}
	})
	select {
	case <-ready:
	case err := <-ended:
		t.Fatalf("the control plane ended: %v", err)
	}
	return &whole{t: t, url: srv.URL, client: srv.Client()}
}

// ask sends a request and returns status, header and body.
func (w *whole) ask(key, method, path, body string) (int, http.Header, string) {
	w.t.Helper()
	ctx, cancel := context.WithTimeout(w.t.Context(), 30*time.Second)
	defer cancel()
	r, err := http.NewRequestWithContext(ctx, method, w.url+path, strings.NewReader(body))
	if err != nil {
		w.t.Fatal(err)
	}
	r.Header.Set("Authorization", "token "+key)
	res, err := w.client.Do(r)
	if err != nil {
		w.t.Fatal(err)
	}
	defer func() { _ = res.Body.Close() }()
	text, err := io.ReadAll(res.Body)
	if err != nil {
		w.t.Fatal(err)
	}
	return res.StatusCode, res.Header, string(text)
}

// json sends a request that has to have a status, and returns the answer.
func (w *whole) json(code int, method, path, body string) map[string]any {
	w.t.Helper()
	got, _, text := w.ask(admin, method, path, body)
	var v map[string]any
	if err := json.Unmarshal([]byte(text), &v); err != nil || got != code {
		w.t.Fatalf("%s %s: got %d %s, want %d", method, path, got, text, code)
	}
	return v
}

// at walks into JSON by names.
func at(v any, path ...string) any {
	for _, p := range path {
		m, _ := v.(map[string]any)
		v = m[p]
	}
	return v
}

// Every call under /v1, before the control plane that answers them.
func TestEveryCallOfTheJSONAPI(t *testing.T) {
	w := start(t)
	const route = `"match":{"pathPrefix":"/x"},"upstreams":[{"url":"http://h:1"}]`

	put := w.json(200, "POST", "/v1/routes", `{"route":{"name":"team/x",`+route+`},"wait":"nodes"}`)
	rev, _ := at(put, "result", "version", "revision").(string)
	if rev == "" || at(put, "route", "name") != "team/x" || at(put, "result", "nodesLive") != 0.0 {
		t.Fatalf("got %v", put)
	}
	if got := w.json(200, "GET", "/v1/routes/team/x", ""); at(got, "route", "meta", "revision") != rev {
		t.Errorf("got %v", got)
	}
	w.json(409, "POST", "/v1/routes", `{"route":{"name":"other",`+route+`}}`)
	w.json(409, "PUT", "/v1/routes/team/x?expectedRevision=1", `{`+route+`}`)
	w.json(200, "PUT", "/v1/routes/team/x?wait=nodes&validate_only=true&expected_revision="+rev, `{`+route+`}`)
	bad := w.json(400, "PUT", "/v1/routes/team/x", `{"match":{"pathPrefix":"x"},"upstreams":[{"url":"ftp://h"}]}`)
	if details, _ := at(bad, "error", "details").([]any); len(details) != 2 {
		t.Errorf("got %v", bad)
	}
	if list := w.json(200, "GET", "/v1/routes?name_prefix=team/&match.path_prefix=/x", ""); len(at(list, "routes").([]any)) != 1 {
		t.Errorf("got %v", list)
	}
	batch := w.json(200, "POST", "/v1/batch/routes/put", `{"routes":[{"name":"b1","match":{"pathPrefix":"/b1"},"upstreams":[{"url":"http://h:1"}]}]}`)
	if at(batch, "written") != 1.0 {
		t.Errorf("got %v", batch)
	}
	if gone := w.json(200, "POST", "/v1/batch/routes/delete", `{"names":["b1","none"]}`); at(gone, "removed") != 1.0 {
		t.Errorf("got %v", gone)
	}
	w.json(200, "DELETE", "/v1/routes/team/x?wait=nodes", "")
	w.json(404, "DELETE", "/v1/routes/team/x", "")

	w.json(200, "PUT", "/v1/listeners/public", `{"trustedProxies":["10.0.0.0/8"],"idleTimeout":"5s"}`)
	if got := w.json(200, "GET", "/v1/listeners/public", ""); at(got, "listener", "idleTimeout") != "5s" {
		t.Errorf("got %v", got)
	}
	w.json(200, "GET", "/v1/listeners", "")
	w.json(200, "DELETE", "/v1/listeners/public", "")

	w.json(200, "PUT", "/v1/nodes/n1", `{"wanted":{"drain":true}}`)
	if got := w.json(200, "GET", "/v1/nodes/n1", ""); at(got, "node", "wanted", "drain") != true {
		t.Errorf("got %v", got)
	}
	w.json(200, "GET", "/v1/nodes", "")
	w.json(200, "DELETE", "/v1/nodes/n1", "")
}

func TestAKeyMadeOverHTTPCanDoWhatItsScopesSay(t *testing.T) {
	w := start(t)
	made := w.json(200, "POST", "/v1/keys", `{"key":{"name":"reader","scopes":["routes:read"]}}`)
	secret, _ := at(made, "secret").(string)
	if secret == "" {
		t.Fatalf("got %v", made)
	}
	for call, want := range map[string]int{
		"GET /v1/routes": 200, "GET /api/routes": 200, "GET /api": 200, "GET /v1/keys": 403, "GET /v1/events": 403,
		"DELETE /v1/routes/x": 403, "DELETE /api/routes/x": 404, // which is not there, as it may know
	} {
		method, path, _ := strings.Cut(call, " ")
		if code, _, text := w.ask(secret, method, path, ""); code != want {
			t.Errorf("%s: got %d %s, want %d", call, code, text, want)
		}
	}
	if code, _, text := w.ask(secret, "POST", "/api/routes/x", `{"target":"http://h:1"}`); code != 403 || text != "" {
		t.Errorf("a write: got %d %q", code, text)
	}
	if _, _, text := w.ask(admin, "GET", "/v1/keys", ""); strings.Contains(text, secret) || !strings.Contains(text, `"reader"`) {
		t.Errorf("the list is %s", text)
	}
	w.json(200, "DELETE", "/v1/keys/reader", "")
	if code, _, _ := w.ask(secret, "GET", "/v1/routes", ""); code != 401 {
		t.Errorf("after its end: got %d", code)
	}
}

func TestCHPWritesAreReadByAllAPIs(t *testing.T) {
	w := start(t)
	code, header, text := w.ask(admin, "POST", "/api/routes/user/%C3%BCn%C3%AF", `{"target":"http://h:1","user":"ünï","jupyterhub":true}`)
	if code != 201 || text != "" || header.Get("Signalbox-Revision") == "" {
		t.Fatalf("got %d %q %v", code, text, header)
	}
	if got := w.json(200, "GET", "/v1/routes/chp/user/%C3%BCn%C3%AF", ""); at(got, "route", "data") != `{"user":"ünï","jupyterhub":true}` {
		t.Errorf("got %v", got)
	}
	if got := w.json(200, "GET", "/api/routes", ""); at(got, "/user/ünï", "target") != "http://h:1" || at(got, "/user/ünï", "last_activity") == nil {
		t.Errorf("got %v", got)
	}
	if code, _, text := w.ask(admin, "POST", "/api/routes/bad", `{"target":"ftp://h"}`); code != 400 || !strings.HasPrefix(text, "'target' ") {
		t.Errorf("a bad target: got %d %q", code, text)
	}
	big := fmt.Sprintf(`{"target":"http://h:1","x":%q}`, strings.Repeat("x", 300<<10))
	if code, _, text := w.ask(admin, "POST", "/api/routes/big", big); code != 400 || !strings.HasPrefix(text, "body ") {
		t.Errorf("too much data: got %d %.100q", code, text)
	}
	if code, _, _ := w.ask(admin, "DELETE", "/api/routes/user/%C3%BCn%C3%AF", ""); code != 204 {
		t.Errorf("got %d", code)
	}
	if got := w.json(200, "GET", "/api/routes", ""); len(got) != 0 {
		t.Errorf("got %v", got)
	}
}

// follow reads events until the test ends: each id, name and record's name.
func (w *whole) follow(after string) <-chan [3]string {
	w.t.Helper()
	ctx, cancel := context.WithTimeout(w.t.Context(), 30*time.Second)
	r, err := http.NewRequestWithContext(ctx, http.MethodGet, w.url+"/v1/events?kinds=route", nil)
	if err != nil {
		w.t.Fatal(err)
	}
	r.Header.Set("X-API-Key", admin)
	r.Header.Set("Last-Event-ID", after)
	res, err := w.client.Do(r)
	if err != nil || res.StatusCode != 200 {
		w.t.Fatalf("got %v, %v", res, err)
	}
	events := make(chan [3]string)
	go func() {
		defer close(events)
		defer func() { _ = res.Body.Close() }()
		var e [3]string
		for in := bufio.NewScanner(res.Body); in.Scan(); {
			key, value, _ := strings.Cut(in.Text(), ": ")
			switch key {
			case "id":
				e[0] = value
			case "event":
				e[1] = value
			case "data":
				var data struct{ Name string }
				if err := json.Unmarshal([]byte(value), &data); err != nil {
					return
				}
				e[2] = data.Name
			case "":
				if e[0] == "" {
					continue // how soon to come back
				}
				select {
				case events <- e:
				case <-ctx.Done():
					return
				}
				e = [3]string{}
			}
		}
	}()
	w.t.Cleanup(func() {
		cancel()
		for range events { // until the reader is gone
		}
	})
	return events
}

func TestEventsFollowWritesAndResume(t *testing.T) {
	w := start(t)
	events := w.follow("")
	if e := <-events; e[0] == "" || e[1] != "" {
		t.Fatalf("it begins with %q, want an id to come back by", e)
	}
	for _, method := range []string{"POST", "POST", "DELETE"} {
		if code, _, text := w.ask(admin, method, "/api/routes/a", `{"target":"http://h:1"}`); code/100 != 2 {
			t.Fatalf("%s: got %d %s", method, code, text)
		}
	}
	var ids []string
	for _, want := range []string{"created", "updated", "removed"} {
		e := <-events
		if e[1] != want || e[2] != "chp/a" {
			t.Fatalf("got %q, want %s", e, want)
		}
		ids = append(ids, e[0])
	}
	again := w.follow(ids[0])
	for i, want := range []string{"", "updated", "removed"} {
		if e := <-again; e[0] != ids[i] || e[1] != want {
			t.Errorf("resumed: got %q, want %s %s", e, ids[i], want)
		}
	}
}
