package nodepass

import (
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"

	"signalbox/gateway/gatewaytest"
	signalboxv1 "signalbox/proto/gen/signalbox/v1"
)

// answered checks what every answer must be: no failure of ours, JSON on one
// line or nothing, and CORS at paths there are.
func answered(t *testing.T, w *httptest.ResponseRecorder) {
	t.Helper()
	if w.Code >= 500 || w.Code < 200 {
		t.Fatalf("got %d %s", w.Code, w.Body)
	}
	if w.Header().Get("Access-Control-Allow-Origin") == "" {
		if w.Code != 404 && w.Code != 307 {
			t.Fatalf("got %d without CORS", w.Code)
		}
		return
	}
	if body := w.Body.String(); w.Code != 204 && (!json.Valid(w.Body.Bytes()) || strings.Count(body, "\n") != 1 || !strings.HasSuffix(body, "\n")) {
		t.Fatalf("got %q", body)
	}
}

// Whatever the body, it is answered, and never as a failure of ours.
func FuzzBodies(f *testing.F) {
	for _, s := range []string{
		`{"url":"server://k@a:1/b:2?tls=2","alias":"x"}`, `{"URL":"client://a:1/b:2","alias":null}`, `{"action":"restart"}`,
		`{"alias":"\ud800","restart":true,"action":"reset","meta":{"peer":{"sid":"s"},"tags":{"a":"b"}}}`, `[`, `null`, `{"meta":[]}`, "\xff", `{"url":"//"}`,
	} {
		f.Add(s)
	}
	m := start(f, Config{})
	m.put(&signalboxv1.Instance{Name: "a", Url: oneURL})
	f.Fuzz(func(t *testing.T, body string) {
		for _, to := range []string{"POST /instances", "PATCH /instances/a", "PUT /instances/a", "POST /info", "PATCH /instances/x"} {
			method, path, _ := strings.Cut(to, " ")
			r := httptest.NewRequestWithContext(t.Context(), method, "/api/v1"+path, strings.NewReader(body))
			r.Header.Set("X-API-Key", gatewaytest.Admin)
			w := httptest.NewRecorder()
			m.h.ServeHTTP(w, r)
			answered(t, w)
			if w.Code == 201 {
				var o instance
				if err := json.Unmarshal(w.Body.Bytes(), &o); err != nil || o.Config == "" {
					t.Fatalf("what was made cannot be run: %s", w.Body)
				}
			}
		}
	})
}

// Whatever the path, it is answered by the API that has it.
func FuzzPaths(f *testing.F) {
	for _, s := range []string{"a", "********", "%2A", "/", "//", "../info", "a/b", "\xff", ".", "", "a?b", "%"} {
		f.Add(s)
	}
	m := start(f, Config{})
	f.Fuzz(func(t *testing.T, id string) {
		for _, method := range []string{"GET", "PATCH", "DELETE", "POST"} {
			r := httptest.NewRequestWithContext(t.Context(), method, "/", strings.NewReader("{}"))
			r.URL = &url.URL{Path: "/api/v1/instances/" + id}
			r.Header.Set("X-API-Key", gatewaytest.Reader)
			w := httptest.NewRecorder()
			m.h.ServeHTTP(w, r)
			answered(t, w)
			if to := w.Header().Get("Location"); w.Code == http.StatusTemporaryRedirect && !strings.HasPrefix(to, "/api/") && to != "/" && !strings.HasPrefix(to, "/") || strings.HasPrefix(to, "//") {
				t.Fatalf("%q is sent to %q", id, to)
			}
		}
	})
}
