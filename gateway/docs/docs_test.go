package docs

import (
	"compress/gzip"
	"encoding/json"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"regexp"
	"slices"
	"strings"
	"testing"
)

func start(t *testing.T) *httptest.Server {
	t.Helper()
	h, err := New("v9")
	if err != nil {
		t.Fatal(err)
	}
	srv := httptest.NewServer(h)
	t.Cleanup(srv.Close)
	return srv
}

// answer is a whole answer.
type answer struct {
	code   int
	header http.Header
	body   []byte
}

// get fetches without undoing compression; header is names and values in turn.
func get(t *testing.T, srv *httptest.Server, target string, header ...string) answer {
	t.Helper()
	return send(t, srv, http.MethodGet, target, header...)
}

func send(t *testing.T, srv *httptest.Server, method, target string, header ...string) answer {
	t.Helper()
	r, err := http.NewRequestWithContext(t.Context(), method, target, nil)
	if err != nil {
		t.Fatal(err)
	}
	r.Header.Set("Accept-Encoding", "identity")
	for i := 0; i < len(header); i += 2 {
		r.Header.Set(header[i], header[i+1])
	}
	res, err := srv.Client().Transport.RoundTrip(r)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = res.Body.Close() }()
	body, err := io.ReadAll(res.Body)
	if err != nil {
		t.Fatal(err)
	}
	return answer{res.StatusCode, res.Header, body}
}

// Whatever the page refers to, and whatever that refers to, comes from here.
func TestThePageNeedsNothingFromElsewhere(t *testing.T) {
	srv := start(t)
	refs := regexp.MustCompile(`(?:src|href)="([^"]*)"|url: "([^"]*)"|url\(([^)]*)\)|@import ([^;]*)`)
	seen := map[string]bool{}
	todo := []string{srv.URL + "/docs/"}
	for len(todo) > 0 {
		target := todo[0]
		todo = todo[1:]
		if seen[target] {
			continue
		}
		seen[target] = true
		a := get(t, srv, target)
		if a.code != 200 || len(a.body) == 0 || a.header.Get("Content-Type") == "" {
			t.Errorf("%s: got %d %v", target, a.code, a.header)
		}
		if strings.HasSuffix(target, "bundle.js") {
			continue // its strings are not all references; the policy keeps it here
		}
		for _, m := range refs.FindAllStringSubmatch(string(a.body), -1) {
			ref := strings.Trim(m[1]+m[2]+m[3]+m[4], `"'`)
			if strings.HasPrefix(ref, "data:") || strings.HasPrefix(ref, "#") {
				continue
			}
			base, err := url.Parse(target)
			if err != nil {
				t.Fatal(err)
			}
			abs, err := base.Parse(ref)
			if err != nil || abs.Host != base.Host {
				if strings.HasSuffix(target, "openapi.json") {
					continue // text for people
				}
				t.Errorf("%s refers to %q", target, ref)
				continue
			}
			todo = append(todo, abs.String())
		}
	}
	for _, want := range []string{"/docs/", "/docs/swagger-ui.css", "/docs/swagger-ui-bundle.js", "/docs/page.js", "/docs/page.css", "/docs/favicon-32x32.png", "/openapi.json"} {
		if !seen[srv.URL+want] {
			t.Errorf("the page does not lead to %s", want)
		}
	}
}

func TestBrowsersAreToldToStayHere(t *testing.T) {
	srv := start(t)
	a := get(t, srv, srv.URL+"/docs/")
	got := a.header.Get("Content-Security-Policy")
	for _, want := range []string{"default-src 'none'", "script-src 'self'", "connect-src 'self'", "frame-ancestors 'none'"} {
		if !slices.Contains(strings.Split(got, "; "), want) {
			t.Errorf("the policy is %q", got)
		}
	}
	if a.header.Get("X-Frame-Options") != "DENY" || a.header.Get("X-Content-Type-Options") != "nosniff" {
		t.Errorf("got %v", a.header)
	}
}

func TestPathsBelowDocs(t *testing.T) {
	srv := start(t)
	for path, code := range map[string]int{"/docs": 301, "/docs/": 200, "/docs/index.html": 200, "/docs/none": 404, "/docs/../page": 404, "/docs//": 404} {
		a := get(t, srv, srv.URL+path)
		if a.code != code {
			t.Errorf("%s: got %d, want %d", path, a.code, code)
		}
		if code == 301 && a.header.Get("Location") != "docs/" {
			t.Errorf("%s leads to %q", path, a.header.Get("Location"))
		}
	}
	if a := send(t, srv, http.MethodPost, srv.URL+"/docs/"); a.code != 405 || a.header.Get("Allow") != "GET, HEAD" {
		t.Errorf("POST: got %d %v", a.code, a.header)
	}
}

func TestFilesAreSentCompressedAndOnlyOnce(t *testing.T) {
	srv := start(t)
	for _, path := range []string{"/docs/swagger-ui.css", "/openapi.json"} {
		plain := get(t, srv, srv.URL+path).body
		zipped := get(t, srv, srv.URL+path, "Accept-Encoding", "br, gzip;q=0.8")
		if zipped.header.Get("Content-Encoding") != "gzip" || len(zipped.body) >= len(plain) {
			t.Errorf("%s: got %d bytes instead of %d, %v", path, len(zipped.body), len(plain), zipped.header)
		}
		z, err := gzip.NewReader(strings.NewReader(string(zipped.body)))
		if err != nil {
			t.Fatal(err)
		}
		if got, err := io.ReadAll(z); err != nil || string(got) != string(plain) {
			t.Errorf("%s differs when it is unpacked: %v", path, err)
		}
		again := get(t, srv, srv.URL+path, "Accept-Encoding", "gzip", "If-None-Match", zipped.header.Get("ETag"))
		if again.code != 304 {
			t.Errorf("%s again: got %d", path, again.code)
		}
		if a := get(t, srv, srv.URL+path, "Accept-Encoding", "gzip;q=0"); a.header.Get("Content-Encoding") != "" {
			t.Errorf("%s was compressed against the client's will", path)
		}
	}
}

// The description, as a reader of it sees it.
type description struct {
	Swagger string
	Info    struct{ Title, Version string }
	Tags    []struct{ Name string }
	Paths   map[string]map[string]json.RawMessage

	Definitions         map[string]json.RawMessage
	SecurityDefinitions map[string]struct{ Type, In, Name string }
	Security            []map[string][]string
}

func TestTheDescriptionIsWhole(t *testing.T) {
	srv := start(t)
	a := get(t, srv, srv.URL+"/openapi.json")
	body := a.body
	var d description
	if err := json.Unmarshal(body, &d); err != nil || a.header.Get("Content-Type") != "application/json" {
		t.Fatal(err, a.header)
	}
	if d.Swagger != "2.0" || d.Info.Title != "Signalbox" || d.Info.Version != "v1 (v9)" {
		t.Errorf("got %q %+v", d.Swagger, d.Info)
	}
	if len(d.SecurityDefinitions) != 2 || d.SecurityDefinitions["bearer"].Name != "Authorization" || d.SecurityDefinitions["key"].Name != "X-API-Key" || len(d.Security) != 2 {
		t.Errorf("got %+v, %v", d.SecurityDefinitions, d.Security)
	}
	for path, method := range map[string]string{
		"/v1/routes": "post", "/v1/routes/{name}": "delete", "/v1/events": "get", "/v1/keys": "post", "/v1/nodes/{node.name}": "put",
		"/api/routes": "get", "/api/routes/{key}": "post", "/api": "get", "/healthz": "get", "/readyz": "get",
	} {
		if d.Paths[path][method] == nil {
			t.Errorf("%s %s is not described", method, path)
		}
	}
	for _, m := range regexp.MustCompile(`"\$ref":"#/definitions/([^"]*)"`).FindAllStringSubmatch(string(body), -1) {
		if d.Definitions[m[1]] == nil {
			t.Errorf("%s is referred to, and is not there", m[1])
		}
	}
	ids := map[string]bool{}
	for path, item := range d.Paths {
		for method, op := range item {
			var o struct {
				OperationID string
				Tags        []string
			}
			if method == "parameters" {
				continue
			}
			if err := json.Unmarshal(op, &o); err != nil || o.OperationID == "" || ids[o.OperationID] || len(o.Tags) != 1 {
				t.Errorf("%s %s: %v %+v", method, path, err, o)
			}
			ids[o.OperationID] = true
		}
	}
	if strings.Contains(string(d.Paths["/v1/events"]["get"]), "FollowEventsResponse") {
		t.Error("events are described as a stream of JSON")
	}
	for _, tag := range d.Tags {
		if tag.Name == "FeedService" {
			t.Error("the nodes' service is listed")
		}
	}
}
