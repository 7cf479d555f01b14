package gateway_test

import (
	"bufio"
	"context"
	"encoding/json"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"
)

// tunnel is what NodePass's API shows of an instance.
type tunnel struct {
	ID, Alias, Type, Status, URL, Config string
	Restart                              bool
	Meta                                 struct{ Tags map[string]string }
}

// nodepass sends a request to NodePass's API, which has to have a status, and
// reads the answer into v.
func (w *whole) nodepass(code int, key, method, path, body string, v any) {
	w.t.Helper()
	ctx, cancel := context.WithTimeout(w.t.Context(), 30*time.Second)
	defer cancel()
	r, err := http.NewRequestWithContext(ctx, method, w.url+"/api/v1"+path, strings.NewReader(body))
	if err != nil {
		w.t.Fatal(err)
	}
	r.Header.Set("X-API-Key", key)
	res, err := w.client.Do(r)
	if err != nil {
		w.t.Fatal(err)
	}
	defer func() { _ = res.Body.Close() }()
	text, err := io.ReadAll(res.Body)
	if err != nil || res.StatusCode != code {
		w.t.Fatalf("%s %s: got %d %s, %v; want %d", method, path, res.StatusCode, text, err, code)
	}
	if v == nil {
		return
	}
	if err := json.Unmarshal(text, v); err != nil {
		w.t.Fatalf("%s %s: %v in %s", method, path, err, text)
	}
}

// panel follows the events of NodePass's API until the test ends: each type,
// and its instance.
func (w *whole) panel(key string) func() (string, tunnel) {
	w.t.Helper()
	ctx, cancel := context.WithTimeout(w.t.Context(), 30*time.Second)
	w.t.Cleanup(cancel)
	r, err := http.NewRequestWithContext(ctx, http.MethodGet, w.url+"/api/v1/events", nil)
	if err != nil {
		w.t.Fatal(err)
	}
	r.Header.Set("X-API-Key", key)
	res, err := w.client.Do(r)
	if err != nil || res.StatusCode != 200 {
		w.t.Fatalf("got %v, %v", res, err)
	}
	w.t.Cleanup(func() { _ = res.Body.Close() })
	in := bufio.NewScanner(res.Body)
	return func() (string, tunnel) {
		w.t.Helper()
		for in.Scan() {
			if data, ok := strings.CutPrefix(in.Text(), "data: "); ok {
				var e struct {
					Type     string
					Instance tunnel
				}
				if err := json.Unmarshal([]byte(data), &e); err != nil {
					w.t.Fatal(err)
				}
				return e.Type, e.Instance
			}
		}
		return "end", tunnel{}
	}
}

// An instance's life as a panel leads it, before the control plane that keeps
// it. There is no node, so that it cannot run, and says so.
func TestAPanelBeforeARealControlPlane(t *testing.T) {
	w := start(t)
	next := w.panel(admin)
	expect := func(kind, id, status string) tunnel {
		t.Helper()
		got, i := next()
		if got != kind || i.ID != id || i.Status != status {
			t.Fatalf("got %s of %+v, want %s of %s, %s", got, i, kind, id, status)
		}
		return i
	}
	if key := expect("initial", "********", ""); key.URL != admin {
		t.Errorf("the key is %+v", key)
	}
	var made, got tunnel
	w.nodepass(201, admin, "POST", "/instances", `{"url":"server://secret@0.0.0.0:10101/127.0.0.1:8080?tls=1&min=3","alias":"web"}`, &made)
	if made.URL != "server://secret@0.0.0.0:10101/127.0.0.1:8080?min=3&tls=1" || made.Alias != "web" || made.Status != "stopped" || len(made.ID) != 8 {
		t.Errorf("got %+v", made)
	}
	expect("create", made.ID, "stopped")
	expect("update", made.ID, "error") // there is no node
	path := "/instances/" + made.ID
	w.nodepass(200, admin, "PATCH", path, `{"alias":"db","restart":true,"meta":{"tags":{"k":"v"}},"action":"stop"}`, &got)
	if got.Alias != "db" || !got.Restart || got.Meta.Tags["k"] != "v" || got.Status != "error" {
		t.Errorf("got %+v", got)
	}
	if i := expect("update", made.ID, "stopped"); i.Alias != "db" || !i.Restart {
		t.Errorf("told %+v", i)
	}
	w.nodepass(200, admin, "GET", path, "", &got)
	if got.Status != "stopped" {
		t.Errorf("got %+v", got)
	}
	w.nodepass(409, admin, "PUT", path, `{"url":"`+made.URL+`"}`, nil)
	w.nodepass(400, admin, "PATCH", path, `{"alias":"`+strings.Repeat("x", 257)+`"}`, nil)
	w.nodepass(200, admin, "PUT", path, `{"url":"client://secret@h:1/h:2"}`, &got)
	if got.Type != "client" || got.Alias != "db" || !got.Restart {
		t.Errorf("got %+v", got)
	}
	expect("update", made.ID, "error")
	w.nodepass(200, admin, "PATCH", path, `{"action":"reset"}`, &got)
	expect("update", made.ID, "error")

	reader := w.json(200, "POST", "/v1/keys", `{"key":{"name":"reader","scopes":["instances:read","events:read"]}}`)
	secret, _ := at(reader, "secret").(string)
	var all []tunnel
	w.nodepass(200, secret, "GET", "/instances", "", &all)
	if len(all) != 2 || all[0].URL != secret || all[1].URL != "client://********@h:1/h:2" || strings.Contains(all[1].Config, "secret@") {
		t.Errorf("a reader is shown %+v", all)
	}
	w.nodepass(403, secret, "PATCH", path, `{"action":"start"}`, nil)
	read := w.panel(secret)
	read()
	if _, i := read(); strings.Contains(i.URL+i.Config, "secret@") {
		t.Errorf("a reader is told %+v", i)
	}
	var key tunnel
	w.nodepass(200, secret, "PATCH", "/instances/********", `{"action":"restart"}`, &key)
	if key.URL == secret || key.URL == "" {
		t.Errorf("got %+v", key)
	}
	if kind, i := read(); kind != "end" {
		t.Errorf("with the old key came %s of %+v", kind, i)
	}
	w.nodepass(401, secret, "GET", path, "", nil)
	w.nodepass(200, key.URL, "GET", path, "", nil)

	w.nodepass(204, admin, "DELETE", path, "", nil)
	expect("delete", made.ID, "stopped")
	w.nodepass(404, admin, "GET", path, "", nil)
}
