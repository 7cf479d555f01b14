package chp

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"runtime"
	"slices"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	signalboxv1 "signalbox/proto/gen/signalbox/v1"
)

// route is a route as an operator writes it.
func route(name, host, path string, urls ...string) *signalboxv1.Route {
	r := &signalboxv1.Route{Name: name, Match: &signalboxv1.Match{Host: host, PathPrefix: path}}
	for _, u := range urls {
		r.Upstreams = append(r.Upstreams, &signalboxv1.Upstream{Url: u})
	}
	return r
}

func TestTheTableIsInOrderOfCreation(t *testing.T) {
	p := start(t, Config{})
	for _, path := range []string{"/z", "/a", "/", "/m"} {
		p.must(201, "POST", "/api/routes"+path, good)
	}
	p.must(201, "POST", "/api/routes/z", good) // which keeps its place
	if got := p.keys("/api/routes"); !slices.Equal(got, []string{"/z", "/a", "/", "/m"}) {
		t.Errorf("got %q", got)
	}
}

func TestRoutesOfOthersAreListedWhenCHPCanSayThem(t *testing.T) {
	routes := []*signalboxv1.Route{
		route("plain", "", "/plain", "http://one:1", "http://two:2"),
		route("root", "", "/", "http://one:1"),
		route("hosted", "H.example", "/a", "http://one:1"),
		route("host", "h.example", "/", "http://one:1"),
	}
	for _, c := range []struct {
		hosts bool
		want  []string
	}{
		{false, []string{"/plain", "/"}},
		{true, []string{"/", "/h.example/a", "/h.example"}},
	} {
		p := start(t, Config{HostRouting: c.hosts})
		for _, r := range routes {
			p.put(r)
		}
		if got := p.keys("/api/routes"); !slices.Equal(got, c.want) {
			t.Errorf("with host routing %v: got %q, want %q", c.hosts, got, c.want)
		}
		for _, key := range c.want[1:] {
			if key != "/" {
				p.must(200, "GET", "/api/routes"+key, "")
			}
		}
	}
}

func TestDataOfOthersCannotBreakTheTable(t *testing.T) {
	p := start(t, Config{})
	for i, data := range []string{"", "{}", " { } ", `{"target":"x","a":1,"last_activity":2}`, `{"t\u0061rget":1}`, "{\n\t\"b\": {\"target\": 1}\n}"} {
		r := route(fmt.Sprint("r", i), "", fmt.Sprint("/", i), "http://h:1")
		r.Data = data
		p.put(r)
	}
	var got map[string]map[string]any
	if err := json.Unmarshal([]byte(p.must(200, "GET", "/api/routes", "").body), &got); err != nil {
		t.Fatal(err)
	}
	for key, o := range got {
		if o["target"] != "http://h:1" || o["last_activity"] == float64(2) {
			t.Errorf("%s is %v", key, o)
		}
	}
	if got["/3"]["a"] != float64(1) || len(got["/3"]) != 3 || len(got["/4"]) != 2 || got["/5"]["b"] == nil {
		t.Errorf("got %v", got)
	}
}

func TestInactiveSince(t *testing.T) {
	p := start(t, Config{})
	at := time.Date(2026, time.November, 20, 15, 35, 53, 270e6, time.UTC)
	for i, path := range []string{"/old", "/exact", "/new"} {
		p.must(201, "POST", "/api/routes"+path, good)
		p.cp.Active("chp"+path, at.Add(time.Duration(i-1)*time.Millisecond))
	}
	all := []string{"/old", "/exact", "/new"}
	for query, want := range map[string][]string{
		"inactive_since=2026-11-20T15:35:53.270Z":           {"/old"}, // strictly before
		"inactiveSince=2026-11-20T15:35:53.271Z":            {"/old", "/exact"},
		"inactive_since=2000-01-01T00:00:00Z":               {},
		"inactive_since=1":                                  {},
		"inactive_since=0":                                  {},
		"inactive_since=Tue,%2001%20Jan%202000":             {},
		"inactiveSince=2099":                                all,
		"inactiveSince=2099-01-01":                          all,
		"inactiveSince=":                                    all,
		"INACTIVE_SINCE=bad":                                all,
		"inactiveSince=2099&inactive_since=2000":            all,
		"inactiveSince=&inactive_since=2000":                {},
		"inactive_since=2026-11-20T16:35:53.270000%2b01:00": {"/old"},
	} {
		if got := p.keys("/api/routes?" + query); !slices.Equal(got, want) {
			t.Errorf("%s: got %q, want %q", query, got, want)
		}
	}
	for query, text := range map[string]string{
		"inactive_since=endoftheuniverse":         "Invalid datestamp 'endoftheuniverse' must be ISO8601.",
		"inactiveSince=%20":                       "Invalid datestamp ' ' must be ISO8601.",
		"inactive_since=2099-13-01T00:00:00Z":     "Invalid datestamp '2099-13-01T00:00:00Z' must be ISO8601.",
		"inactiveSince=bad&inactive_since=2000":   "Invalid datestamp 'bad' must be ISO8601.",
		"inactive_since=%3Cscript%3E&x=%3Cscript": "Invalid datestamp '<script>' must be ISO8601.",
	} {
		a := p.admin("GET", "/api/routes?"+query, "")
		if a.code != 400 || a.body != text || a.header.Get("Content-Type") != "text/plain; charset=utf-8" {
			t.Errorf("%s: got %d %q %v", query, a.code, a.body, a.header)
		}
		if a := p.send("GET", "/api/routes?"+query, "token wrong", ""); a.code != 403 {
			t.Errorf("%s: a stranger got %d", query, a.code)
		}
	}
	p.must(200, "GET", "/api/routes/old?inactive_since=bad", "")
}

func TestATornTableIsNoTable(t *testing.T) {
	p := start(t, Config{})
	for i := range pageSize + 1 {
		p.put(route(fmt.Sprintf("r%04d", i), "", fmt.Sprint("/", i), "http://h:1"))
	}
	if got := p.keys("/api/routes"); len(got) != pageSize+1 {
		t.Fatalf("got %d routes", len(got))
	}
	pages := 0
	p.cp.Before(func(string) error {
		if pages++; pages == 2 {
			return status.Error(codes.Unavailable, "gone in between")
		}
		return nil
	})
	if a := p.admin("GET", "/api/routes", ""); a.code != 503 || len(a.body) > 100 {
		t.Errorf("got %d and %d bytes", a.code, len(a.body))
	}
}

// The table of 100 000 routes must cost little more than its own text.
func TestALargeTableIsAnsweredWithoutMuchMemory(t *testing.T) {
	if testing.Short() {
		t.Skip("writes 5 000 routes")
	}
	const n = 5_000
	rows := make([]*signalboxv1.RouteEntry, n)
	h := &Handler{}
	for i := range rows {
		r := route(fmt.Sprintf("chp/user/name-%06d", i), "", fmt.Sprintf("/user/name-%06d", i), fmt.Sprintf("http://10.0.%d.%d:8888", i/256%256, i%256))
		r.Data = `{"user":"someone","server_name":"","jupyterhub":true}`
		r.Meta = &signalboxv1.Meta{CreatedRevision: int64(n - i)}
		rows[i] = &signalboxv1.RouteEntry{Route: r}
	}
	h.routes = pages{rows: rows}
	w := httptest.NewRecorder()
	w.Body.Grow(4 << 20)
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	if err := h.table(w, httptest.NewRequestWithContext(t.Context(), http.MethodGet, base, nil), "/"); err != nil {
		t.Fatal(err)
	}
	runtime.ReadMemStats(&after)
	if used, size := after.TotalAlloc-before.TotalAlloc, uint64(w.Body.Len()); used > 6*size {
		t.Errorf("allocated %d bytes for a table of %d", used, size)
	}
	if !json.Valid(w.Body.Bytes()) {
		t.Error("the table is not JSON")
	}
}

func BenchmarkTable(b *testing.B) {
	rows := make([]*signalboxv1.RouteEntry, 100_000)
	for i := range rows {
		r := route(fmt.Sprintf("chp/user/name-%06d", i), "", fmt.Sprintf("/user/name-%06d", i), "http://10.0.0.1:8888")
		r.Data = `{"user":"someone","server_name":"","jupyterhub":true}`
		rows[i] = &signalboxv1.RouteEntry{Route: r}
	}
	h := &Handler{routes: pages{rows: rows}}
	b.ReportAllocs()
	for b.Loop() {
		if err := h.table(httptest.NewRecorder(), httptest.NewRequest(http.MethodGet, base, nil), "/"); err != nil {
			b.Fatal(err)
		}
	}
}

// pages answers lists from memory, without a connection, so that only the
// table's own work is measured.
type pages struct {
	signalboxv1.RouteServiceClient
	rows []*signalboxv1.RouteEntry
}

func (p pages) ListRoutes(_ context.Context, req *signalboxv1.ListRoutesRequest, _ ...grpc.CallOption) (*signalboxv1.ListRoutesResponse, error) {
	from := 0
	if req.GetPageToken() != "" {
		if _, err := fmt.Sscan(req.GetPageToken(), &from); err != nil {
			return nil, err
		}
	}
	to := min(len(p.rows), from+int(req.GetPageSize()))
	res := &signalboxv1.ListRoutesResponse{Routes: p.rows[from:to]}
	if to < len(p.rows) {
		res.NextPageToken = fmt.Sprint(to)
	}
	return res, nil
}
