package proxy_test

import (
	"fmt"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"

	signalboxv1 "signalbox/proto/gen/signalbox/v1"
)

// closing asks the node for a path on a connection of its own.
func (n *node) closing(method, path string, more ...string) (reply, string) {
	n.t.Helper()
	c := n.dial()
	c.send(append([]string{method + " " + path + " HTTP/1.1", "Host: pub", "Connection: close"}, more...)...)
	head, body, _ := strings.Cut(c.rest(), "\r\n\r\n")
	a := reply{Header: http.Header{}}
	_, _ = fmt.Sscanf(head, "HTTP/1.1 %d", &a.StatusCode)
	for _, line := range strings.Split(head, "\r\n")[1:] {
		name, value, _ := strings.Cut(line, ": ")
		a.Header.Add(name, value)
	}
	return a, body
}

func TestErrorPagesTakeThePlaceOfTheNodesAnswers(t *testing.T) {
	n := plain(t)
	n.listener(&signalboxv1.Listener{ErrorPages: &signalboxv1.ErrorPages{Pages: map[string]*signalboxv1.ErrorPage{
		"404": {Body: []byte("<p>none")}, "error": {Body: []byte("any"), ContentType: "text/plain"},
	}}, UpstreamFailureStatus: 503})
	n.route("/dead", "http://127.0.0.1:1")
	n.route("/own", web(t, func(w http.ResponseWriter, _ *http.Request) { http.Error(w, "its own", http.StatusNotFound) }))
	for _, c := range []struct {
		method, path string
		status       int
		kind, body   string
	}{
		{"GET", "/none", 404, "text/html", "<p>none"},
		{"HEAD", "/none", 404, "text/html", ""},
		{"POST", "/dead", 503, "text/plain", "any"},
		{"GET", "/own", 404, "text/plain; charset=utf-8", "its own\n"},
	} {
		a, body := n.closing(c.method, c.path, "Accept: application/json")
		if a.StatusCode != c.status || a.Header.Get("Content-Type") != c.kind || body != c.body {
			t.Errorf("%s %s: got %v %q", c.method, c.path, a, body)
		}
	}
	// What the client did wrong is told to it in words, and those who speak
	// gRPC are told in theirs.
	if a, body := n.closing("GET", "/%zz"); a.StatusCode != 400 || strings.Contains(body, "any") {
		t.Errorf("a bad path: got %v %q", a, body)
	}
	if a, body := n.closing("POST", "/none", "Content-Type: application/grpc", "TE: trailers", "Content-Length: 0"); strings.Contains(body, "none") {
		t.Errorf("gRPC: got %v %q", a, body)
	}
	if a, body := n.closing("GET", "/none", "Connection: Upgrade", "Upgrade: websocket"); a.StatusCode != 404 || strings.Contains(body, "<p>") {
		t.Errorf("a WebSocket: got %v %q", a, body)
	}
}

func TestTheErrorTargetIsAskedForPages(t *testing.T) {
	n := plain(t)
	var down atomic.Bool
	var asked atomic.Pointer[http.Request]
	target := web(t, func(w http.ResponseWriter, r *http.Request) {
		if down.Load() {
			panic(http.ErrAbortHandler)
		}
		asked.Store(r)
		w.Header().Set("Content-Type", "text/x-page")
		w.Header().Set("Content-Encoding", "x-plain")
		w.Header().Set("Set-Cookie", "a=1")
		w.WriteHeader(http.StatusTeapot)
		_, _ = fmt.Fprint(w, "page for "+r.URL.Query().Get("url"))
	})
	n.listener(&signalboxv1.Listener{ErrorPages: &signalboxv1.ErrorPages{
		Target: target + "/hub/error/", Pages: map[string]*signalboxv1.ErrorPage{"502": {Body: []byte("kept"), ContentType: "text/x-own"}},
	}})
	n.route("/dead", "http://127.0.0.1:1")
	a, body := n.closing("POST", "/user/x%20y?a=1&b=2", "Cookie: secret=1", "X-Secret: 1", "Content-Length: 0")
	r := asked.Load()
	if a.StatusCode != 404 || body != "page for /user/x%20y?a=1&b=2" || a.Header.Get("Content-Type") != "text/x-page" ||
		a.Header.Get("Content-Encoding") != "x-plain" || a.Header.Get("Set-Cookie") != "" {
		t.Errorf("got %v %q", a, body)
	}
	if r.Method != "GET" || r.URL.RequestURI() != "/hub/error/404?url=%2Fuser%2Fx%2520y%3Fa%3D1%26b%3D2" || r.Header.Get("Cookie")+r.Header.Get("X-Secret") != "" {
		t.Errorf("asked for %s %s with %v", r.Method, r.URL, r.Header)
	}
	down.Store(true)
	// The page that one client was shown says what it asked for.
	if a, body := n.closing("GET", "/other"); a.StatusCode != 404 || body != "page for /" {
		t.Errorf("while the target is down: got %v %q", a, body)
	}
	if a, body := n.closing("GET", "/dead"); a.StatusCode != 502 || body != "kept" || a.Header.Get("Content-Type") != "text/x-own" {
		t.Errorf("while the target is down, which never gave this page: got %v %q", a, body)
	}
}

func TestAPageThatWasGivenOutlivesChangesOfTheListener(t *testing.T) {
	n := plain(t)
	var down atomic.Bool
	target := web(t, func(w http.ResponseWriter, _ *http.Request) {
		if down.Load() {
			panic(http.ErrAbortHandler)
		}
		_, _ = fmt.Fprint(w, "given")
	})
	record := func(at string, details bool) *signalboxv1.Listener {
		return &signalboxv1.Listener{Name: "public", ErrorDetails: details, ErrorPages: &signalboxv1.ErrorPages{
			Target: at, Pages: map[string]*signalboxv1.ErrorPage{"error": {Body: []byte("own")}},
		}}
	}
	n.listener(record(target, false))
	n.closing("GET", "/none")
	down.Store(true)
	for _, c := range []struct {
		name string
		rec  *signalboxv1.Listener
		want string
	}{
		{"the same record", record(target, false), "given"},
		{"another field", record(target, true), "given"},
		{"another target", record(target+"/other", true), "own"},
		{"the first target again", record(target, true), "own"},
	} {
		n.handler.SetListeners(map[string]*signalboxv1.Listener{"public": c.rec, "other": {Name: "other"}})
		if _, body := n.closing("GET", "/none"); body != c.want {
			t.Errorf("%s: got %q, want %q", c.name, body, c.want)
		}
	}
}

func TestWhatAClientAsksForIsNotLoggedWhenTheErrorTargetFails(t *testing.T) {
	for name, target := range map[string]string{
		"nobody listens":      "http://127.0.0.1:1",
		"it breaks off":       web(t, func(http.ResponseWriter, *http.Request) { panic(http.ErrAbortHandler) }),
		"it speaks no HTTP":   "https" + strings.TrimPrefix(web(t, func(http.ResponseWriter, *http.Request) {}), "http"),
		"it has no such name": "http://none.invalid",
	} {
		t.Run(name, func(t *testing.T) {
			n := plain(t)
			n.listener(&signalboxv1.Listener{ErrorPages: &signalboxv1.ErrorPages{Target: target}})
			n.closing("GET", "/user/ana/lab?token=SESAME")
			eventually(t, "the failure and the exchange are logged", func() bool {
				log := n.log.String()
				return strings.Contains(log, "no error page from the error target") && strings.Contains(log, "msg=exchange")
			})
			if log := n.log.String(); strings.Contains(log, "SESAME") {
				t.Errorf("the query is in the log:\n%s", log)
			}
		})
	}
}

// An error target that is behind the node itself ends in the node's own answer.
func TestAnErrorTargetBehindTheNodeDoesNotGoRound(t *testing.T) {
	n := plain(t)
	n.listener(&signalboxv1.Listener{ErrorPages: &signalboxv1.ErrorPages{Target: "http://" + n.addr + "/errors"}})
	a, body := n.closing("GET", "/none")
	if a.StatusCode != 404 || !strings.Contains(body, "no_route") {
		t.Errorf("got %v %q", a, body)
	}
}

func TestTheHealthPathIsAnsweredBeforeRoutes(t *testing.T) {
	n := plain(t)
	n.listener(&signalboxv1.Listener{HealthPath: "/_chp_healthz"})
	n.route("/", web(t, func(w http.ResponseWriter, _ *http.Request) { _, _ = fmt.Fprint(w, "routed") }))
	for path, want := range map[string]string{"/_chp_healthz": `{"status":"OK"}`, "/_chp_healthz?x": "routed", "/_chp_healthz/": "routed"} {
		if a, body := n.closing("POST", path, "Content-Length: 0"); a.StatusCode != 200 || body != want {
			t.Errorf("%s: got %v %q, want %q", path, a, body, want)
		}
	}
}

func TestEverythingIsLedToHTTPS(t *testing.T) {
	n := plain(t)
	n.route("/", "http://127.0.0.1:1")
	for _, c := range []struct {
		port             uint32
		host, path, want string
	}{
		{0, "pub:8080", "/a%2Fb?c", "https://pub/a%2Fb?c"},
		{443, "pub", "//x", "https://pub//x"},
		{8443, "[::1]:80", "/", "https://[::1]:8443/"},
		{8443, "pub", "http://other:1/abs?q", "https://other:8443/abs?q"},
	} {
		n.listener(&signalboxv1.Listener{HttpsRedirect: &signalboxv1.HttpsRedirect{Port: c.port}})
		client := n.dial()
		client.send("GET "+c.path+" HTTP/1.1", "Host: "+c.host)
		if a, _ := client.answer(); a.StatusCode != 301 || a.Header.Get("Location") != c.want {
			t.Errorf("%s at %s: got %v, want %s", c.path, c.host, a, c.want)
		}
	}
	client := n.dial()
	client.send("GET / HTTP/1.0")
	if a, _ := client.answer(); a.StatusCode != 400 {
		t.Errorf("without a host: got %v", a)
	}
}
