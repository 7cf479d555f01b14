package node

import (
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	signalboxv1 "signalbox/proto/gen/signalbox/v1"
)

func TestAdminShowsTheTableToHoldersOfTheKey(t *testing.T) {
	p := newPlane(t, "cp1")
	n := start(t, Config{ControlPlanes: []string{p.addr}})
	p.write([]*signalboxv1.Record{routeRecord("/bad", "ftp://nowhere")})
	p.put("/a", target(t, "a"))
	n.get("/a")
	n.get("/a/b")
	base := "http://" + n.AdminAddr()
	for _, path := range []string{"/table", "/debug/pprof/", "/debug/pprof/heap", "/debug/pprof/cmdline"} {
		for _, key := range []string{"", "other", "sekri", "sekritt"} {
			if status, body, _ := get(t, base+path, key); status != http.StatusUnauthorized || strings.Contains(body, "sekrit") {
				t.Errorf("%s with key %q answers %d %q", path, key, status, body)
			}
		}
		if status, _, _ := get(t, base+path, "sekrit"); status != http.StatusOK {
			t.Errorf("%s with the node's key answers %d", path, status)
		}
	}
	_, body, h := get(t, base+"/table", "sekrit")
	var v struct {
		Node    string
		Ready   bool
		Version struct {
			Epoch    string
			Revision int64
		}
		ControlPlanes []struct {
			ID               string
			Connected, Feeds bool
		} `json:"control_planes"`
		Listeners map[string]string
		Routes    []struct {
			Name       string
			PathPrefix string `json:"path_prefix"`
			Upstreams  []string
			Carried    struct{ Counters struct{ Requests string } }
		}
		Rejections []struct{ Name, Reason string }
	}
	if err := json.Unmarshal([]byte(body), &v); err != nil {
		t.Fatalf("%v in %s", err, body)
	}
	if h.Get("Content-Type") != "application/json" || v.Node != "n" || !v.Ready || v.Version.Epoch != "e" || v.Version.Revision != 2 ||
		len(v.ControlPlanes) != 1 || !v.ControlPlanes[0].Feeds || v.Listeners["public"] != n.Addr("public") {
		t.Errorf("the table is %s", body)
	}
	if len(v.Routes) != 1 || v.Routes[0].Name != "r/a" || v.Routes[0].PathPrefix != "/a" ||
		len(v.Routes[0].Upstreams) != 1 || v.Routes[0].Carried.Counters.Requests != "2" {
		t.Errorf("the routes are %+v", v.Routes)
	}
	if len(v.Rejections) != 1 || v.Rejections[0].Name != "r/bad" || v.Rejections[0].Reason == "" {
		t.Errorf("the rejections are %+v", v.Rejections)
	}
}

// bound returns a node that listens, and does nothing more.
func bound(t *testing.T, c Config) *Node {
	t.Helper()
	c.ID, c.ControlPlanes = "n", []string{"127.0.0.1:1"}
	c.Listeners = map[string]Listener{"public": {Addr: "127.0.0.1:0"}}
	n, err := New(c)
	if err != nil {
		t.Fatal(err)
	}
	if err := n.Listen(t.Context()); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(n.unbind)
	return n
}

// Nobody has the key of a node without one.
func TestAdminOfANodeWithoutKeyShowsNothing(t *testing.T) {
	a := bound(t, Config{AdminAddr: "127.0.0.1:0"}).admin
	for _, key := range []string{"", "x"} {
		r, err := http.NewRequestWithContext(t.Context(), http.MethodGet, "/table", nil)
		if err != nil {
			t.Fatal(err)
		}
		r.RemoteAddr = "127.0.0.1:1"
		r.Header.Set("X-API-Key", key)
		w := httptest.NewRecorder()
		a.server.Handler.ServeHTTP(w, r)
		if w.Code != http.StatusUnauthorized {
			t.Errorf("key %q: the answer is %d", key, w.Code)
		}
	}
}

// From elsewhere, where the key would cross the network in the clear, health
// is all there is.
func TestAdminShowsOtherMachinesOnlyHealth(t *testing.T) {
	n := bound(t, Config{Key: "sekrit", AdminAddr: "0.0.0.0:0", AllowRemoteAdmin: true})
	for path, want := range map[string]int{
		"/healthz": http.StatusOK, "/readyz": http.StatusServiceUnavailable,
		"/table": http.StatusForbidden, "/debug/pprof/": http.StatusForbidden, "/debug/pprof/heap": http.StatusForbidden, "/debug/pprof/cmdline": http.StatusForbidden,
	} {
		for _, from := range []string{"10.0.0.1:1", "[2001:db8::1]:1"} {
			r := httptest.NewRequestWithContext(t.Context(), http.MethodGet, path, nil)
			r.RemoteAddr = from
			r.Header.Set("X-API-Key", "sekrit")
			w := httptest.NewRecorder()
			n.admin.server.Handler.ServeHTTP(w, r)
			if w.Code != want {
				t.Errorf("%s from %s: the answer is %d, want %d", path, from, w.Code, want)
			}
		}
	}
}
