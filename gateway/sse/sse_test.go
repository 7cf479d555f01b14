package sse

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"signalbox/gateway/gatewaytest"
	signalboxv1 "signalbox/proto/gen/signalbox/v1"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// feed is a handler behind a real server, before a small control plane.
type feed struct {
	t   *testing.T
	cp  *gatewaytest.ControlPlane
	h   *Handler
	srv *httptest.Server
}

func start(t *testing.T, cfg Config, h2 bool) *feed {
	t.Helper()
	cp, conn := gatewaytest.Start(t)
	h := New(conn, cfg)
	srv := httptest.NewUnstartedServer(h)
	if srv.EnableHTTP2 = h2; h2 {
		srv.StartTLS()
	} else {
		srv.Start()
	}
	t.Cleanup(srv.Close)
	return &feed{t: t, cp: cp, h: h, srv: srv}
}

// block is what a blank line ends: its fields, and how often ":" came.
type block struct {
	id, event, data string
	comments        int
}

// reader reads one response.
type reader struct {
	t      *testing.T
	res    *http.Response
	in     *bufio.Reader
	cancel context.CancelFunc
}

// get asks for events.
func (f *feed) get(query string, header ...string) *reader {
	f.t.Helper()
	ctx, cancel := context.WithTimeout(f.t.Context(), 30*time.Second)
	r, err := http.NewRequestWithContext(ctx, http.MethodGet, f.srv.URL+"/v1/events"+query, nil)
	if err != nil {
		f.t.Fatal(err)
	}
	r.Header.Set("Authorization", "Bearer "+gatewaytest.Admin)
	for i := 0; i < len(header); i += 2 {
		r.Header.Set(header[i], header[i+1])
	}
	res, err := f.srv.Client().Do(r)
	if err != nil {
		f.t.Fatal(err)
	}
	rd := &reader{t: f.t, res: res, in: bufio.NewReader(res.Body), cancel: cancel}
	f.t.Cleanup(rd.close)
	return rd
}

// follow asks for events and reads what a response begins with.
func (f *feed) follow(query string, header ...string) *reader {
	f.t.Helper()
	rd := f.get(query, header...)
	if rd.res.StatusCode != 200 || rd.res.Header.Get("Content-Type") != "text/event-stream" {
		f.t.Fatalf("got %v", rd.res)
	}
	if line, err := rd.in.ReadString('\n'); err != nil || line != "retry: 1000\n" {
		f.t.Fatalf("it begins with %q, %v", line, err)
	}
	if b, err := rd.next(); err != nil || b != (block{}) {
		f.t.Fatalf("it begins with %v, %v", b, err)
	}
	return rd
}

func (rd *reader) close() {
	rd.cancel()
	_ = rd.res.Body.Close()
}

// next reads to a blank line.
func (rd *reader) next() (block, error) {
	var b block
	for {
		line, err := rd.in.ReadString('\n')
		if err != nil {
			return b, err
		}
		key, value, _ := strings.Cut(strings.TrimSuffix(line, "\n"), ": ")
		switch key {
		case "":
			return b, nil
		case "id":
			b.id = value
		case "event":
			b.event = value
		case "data":
			b.data = value
		case ":":
			b.comments++
		default:
			rd.t.Errorf("got the line %q", line)
		}
	}
}

// event reads to the next event.
func (rd *reader) event() block {
	rd.t.Helper()
	for {
		b, err := rd.next()
		if err != nil {
			rd.t.Fatal(err)
		}
		if b.event != "" {
			return b
		}
	}
}

// want reads the next event and compares it.
func (rd *reader) want(event, id, name string) {
	rd.t.Helper()
	b := rd.event()
	var data struct{ ID, Name string }
	if err := json.Unmarshal([]byte(b.data), &data); err != nil {
		rd.t.Fatalf("%v in %q", err, b.data)
	}
	if b.event != event || b.id != id || data.Name != name || data.ID != id {
		rd.t.Fatalf("got %+v, want %s %s %s", b, event, id, name)
	}
}

func (f *feed) put(name string) {
	f.t.Helper()
	_, err := f.cp.Put(&signalboxv1.Route{
		Name: name, Match: &signalboxv1.Match{PathPrefix: "/" + name}, Upstreams: []*signalboxv1.Upstream{{Url: "http://h:1"}},
		Data: "{\n\"two\":\"lines\"}",
	})
	if err != nil {
		f.t.Fatal(err)
	}
}

func (f *feed) drop(name string) {
	f.t.Helper()
	if _, err := f.cp.DeleteRoute(f.t.Context(), &signalboxv1.DeleteRouteRequest{Name: name}); err != nil {
		f.t.Fatal(err)
	}
}

func TestChangesAreTold(t *testing.T) {
	for name, h2 := range map[string]bool{"over HTTP/1.1": false, "over HTTP/2": true} {
		t.Run(name, func(t *testing.T) {
			f := start(t, Config{}, h2)
			rd := f.follow("") // the header is there before anything happened
			if major := rd.res.ProtoMajor; (major == 2) != h2 {
				t.Fatalf("spoke HTTP/%d", major)
			}
			f.put("a")
			rd.want("created", "e1.101.0", "a")
			f.put("a")
			f.drop("a")
			rd.want("updated", "e1.102.0", "a")
			rd.want("removed", "e1.103.0", "a")
		})
	}
}

func TestWhoComesBackMissesNothing(t *testing.T) {
	f := start(t, Config{}, false)
	for _, name := range []string{"a", "b", "c"} {
		f.put(name)
	}
	rd := f.follow("?after=e1.101.0")
	rd.want("created", "e1.102.0", "b")
	rd.close()
	f.drop("a")
	// As a browser does: the URL is the old one.
	rd = f.follow("?after=e1.101.0", "Last-Event-ID", "e1.102.0")
	rd.want("created", "e1.103.0", "c")
	rd.want("removed", "e1.104.0", "a")
}

func TestAGapIsTold(t *testing.T) {
	f := start(t, Config{}, false)
	f.put("a")
	f.put("b")
	f.cp.Forget()
	rd := f.follow("?after=e1.101.0")
	rd.want("reset", "e1.102.0", "")
	f.put("c")
	rd.want("created", "e1.103.0", "c")
}

func TestKindsAreAskedForByShortNames(t *testing.T) {
	f := start(t, Config{}, false)
	rd := f.follow("?kinds=node,KIND_LISTENER&kinds=api_key")
	f.put("a")
	f.cp.Heartbeat()
	if b, err := rd.next(); err != nil || b != (block{id: "e1.101.0"}) {
		t.Errorf("got %+v, %v, want only the heartbeat's id", b, err)
	}
}

func TestCommentsKeepItAlive(t *testing.T) {
	f := start(t, Config{Heartbeat: time.Millisecond}, false)
	rd := f.follow("")
	for range 3 {
		if b, err := rd.next(); err != nil || b != (block{comments: 1}) {
			t.Fatalf("got %+v, %v", b, err)
		}
	}
}

func TestWhatIsNotUnderstoodIsRefused(t *testing.T) {
	f := start(t, Config{}, false)
	for _, c := range []struct {
		query string
		code  int
		want  string
	}{
		{"?kinds=routes", 400, `"field":"kinds"`},
		{"?kinds=unspecified", 400, `"field":"kinds"`},
		{"?afer=x", 400, `"field":"afer"`},
		{"?after=a&after=b", 400, `"field":"after"`},
		{"?after=%ff", 400, `"field":"after"`},
	} {
		rd := f.get(c.query)
		body, err := io.ReadAll(rd.in)
		if err != nil || rd.res.StatusCode != c.code || !strings.Contains(string(body), c.want) {
			t.Errorf("%s: got %d %s %v", c.query, rd.res.StatusCode, body, err)
		}
	}
	for key, code := range map[string]int{"": 401, "Bearer wrong": 401} {
		if rd := f.get("", "Authorization", key); rd.res.StatusCode != code {
			t.Errorf("with %q: got %d", key, rd.res.StatusCode)
		}
	}
	f.cp.Before(func(string) error { return status.Error(codes.PermissionDenied, "the key lacks events:read") })
	if rd := f.get(""); rd.res.StatusCode != 403 || rd.res.Header.Get("Content-Type") != "application/json" {
		t.Errorf("got %v", rd.res)
	}
	f.cp.Before(func(string) error { return status.Error(codes.Unavailable, "no quorum") })
	if rd := f.get("?after=e1.100.0"); rd.res.StatusCode != 503 || rd.res.Header.Get("Retry-After") == "" {
		t.Errorf("got %v", rd.res)
	}
	res, err := f.srv.Client().Post(f.srv.URL, "", nil)
	if err != nil {
		t.Fatal(err)
	}
	_ = res.Body.Close()
	if res.StatusCode != 405 || res.Header.Get("Allow") != "GET" {
		t.Errorf("POST: got %v", res)
	}
}

func TestALostControlPlaneIsFoundAgainWithoutALoss(t *testing.T) {
	f := start(t, Config{}, false)
	rd := f.follow("")
	f.put("a")
	rd.want("created", "e1.101.0", "a")
	f.cp.Break()
	f.put("b") // while nobody follows, or so it may be
	rd.want("created", "e1.102.0", "b")
	f.cp.Break()
	f.drop("a")
	f.put("c")
	rd.want("removed", "e1.103.0", "a")
	rd.want("created", "e1.104.0", "c")
}

func TestAHeartbeatsIdIsEnoughToComeBackBy(t *testing.T) {
	f := start(t, Config{}, false)
	rd := f.follow("")
	f.cp.Heartbeat()
	if b, err := rd.next(); err != nil || b.id != "e1.100.0" || b.event != "" {
		t.Fatalf("got %+v, %v", b, err)
	}
	f.cp.Break()
	f.put("a")
	rd.want("created", "e1.101.0", "a")
}

func TestWhatCannotGoOnEndsWithItsReason(t *testing.T) {
	for _, c := range []struct {
		name, query string
		before      error
		patience    time.Duration
		want        string
	}{
		{"without an id something would be lost", "", nil, time.Hour, "UNAVAILABLE"},
		{"a key that is gone", "?after=e1.101.0", status.Error(codes.Unauthenticated, "the key was deleted"), time.Hour, "UNAUTHENTICATED"},
		{"no control plane for too long", "?after=e1.101.0", status.Error(codes.Unavailable, "nobody is left"), time.Millisecond, "UNAVAILABLE"},
	} {
		t.Run(c.name, func(t *testing.T) {
			f := start(t, Config{Patience: c.patience}, false)
			f.put("a")
			rd := f.follow(c.query)
			f.cp.Before(func(string) error { return c.before })
			f.cp.Break()
			b := rd.event()
			if b.event != "error" || b.id != "" || !strings.Contains(b.data, c.want) {
				t.Errorf("got %+v", b)
			}
			if _, err := rd.next(); !errors.Is(err, io.EOF) {
				t.Errorf("it goes on: %v", err)
			}
		})
	}
}

func TestAClientThatGoesAwayEndsTheStream(t *testing.T) {
	f := start(t, Config{}, false)
	rd := f.follow("")
	rd.close()
	f.srv.Close() // waits for the handler, which waits for its stream
}

func TestCloseEndsAllResponses(t *testing.T) {
	f := start(t, Config{}, false)
	rd := f.follow("")
	f.h.Close()
	if _, err := rd.next(); !errors.Is(err, io.EOF) {
		t.Errorf("got %v", err)
	}
	f.h.Close() // twice is once
}
