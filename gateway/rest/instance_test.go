package rest

import (
	"bufio"
	"context"
	"encoding/json"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"signalbox/gateway/gatewaytest"
	signalboxv1 "signalbox/proto/gen/signalbox/v1"
)

const instance = `{"url":"server://key@:10101/127.0.0.1:8080","wanted":"stopped"}`

func TestAnInstanceGoesInIsChangedAndComesOut(t *testing.T) {
	a := start(t)
	put := a.ok("POST", "/v1/instances", `{"instance":{"url":"server://:1/:2","wanted":"INSTANCE_WANTED_STOPPED"},"wait":"nodes"}`)
	name, _ := at(put, "instance", "name").(string)
	if len(name) != 8 || at(put, "instance", "wanted") != "INSTANCE_WANTED_STOPPED" {
		t.Errorf("got %v", put)
	}
	a.ok("PUT", "/v1/instances/mine", instance)
	a.ok("PATCH", "/v1/instances/mine?wait=nodes", `{"action":"restart","reset":true,"alias":"x","tags":{"tags":{"k":"v"}}}`)
	calls := a.cp.Calls()
	req, ok := calls[len(calls)-1].Request.(*signalboxv1.UpdateInstanceRequest)
	if !ok || req.GetName() != "mine" || req.GetAction() != signalboxv1.InstanceAction_INSTANCE_ACTION_RESTART || !req.GetReset_() ||
		req.GetAlias() != "x" || req.Restart != nil || req.GetTags().GetTags()["k"] != "v" || req.GetWait() != signalboxv1.Wait_WAIT_NODES {
		t.Errorf("asked is %v", req)
	}
	a.ok("PATCH", "/v1/instances/mine?action=stop", "")
	got := a.ok("GET", "/v1/instances/mine", "")
	if at(got, "instance", "alias") != "x" || at(got, "instance", "starts") != "1" || at(got, "instance", "wanted") != "INSTANCE_WANTED_STOPPED" {
		t.Errorf("got %v", got)
	}
	if list := a.ok("GET", "/v1/instances?page_size=1", ""); at(list, "instances", 0, "name") == nil || at(list, "nextPageToken") == "" {
		t.Errorf("got %v", list)
	}
	a.ok("DELETE", "/v1/instances/mine?wait=nodes", "")
	if w := a.send("GET", "/v1/instances/mine", ""); w.Code != 404 {
		t.Errorf("got %d", w.Code)
	}
}

func TestWhatIsWrongWithAnInstanceIsNamed(t *testing.T) {
	a := start(t)
	a.ok("PUT", "/v1/instances/mine", instance)
	for _, c := range []struct {
		name, method, target, body string
		status                     int
		field                      string
	}{
		{"an action there is not", "PATCH", "/v1/instances/mine", `{"action":"explode"}`, 400, "action"},
		{"an action there is not, in the query", "PATCH", "/v1/instances/mine?action=explode", "", 400, "action"},
		{"a wanted there is not", "PUT", "/v1/instances/mine", `{"url":"x","wanted":"maybe"}`, 400, "wanted"},
		{"a switch that is none", "PATCH", "/v1/instances/mine", `{"restart":"yes"}`, 400, "restart"},
		{"a field there is not", "PATCH", "/v1/instances/mine", `{"url":"x"}`, 400, "url"},
		{"another name than the path's", "PATCH", "/v1/instances/mine", `{"name":"other"}`, 400, "name"},
		{"a url", "PUT", "/v1/instances/mine", `{"url":"tcp://x"}`, 400, ""},
		{"a tail", "GET", "/v1/instances/mine/logs?tail=x", "", 400, "tail"},
		{"a parameter of logs", "GET", "/v1/instances/mine/logs?head=3", "", 400, "head"},
		{"none", "PATCH", "/v1/instances/none", `{}`, 404, ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			w := a.send(c.method, c.target, c.body)
			var got map[string]any
			err := json.Unmarshal(w.Body.Bytes(), &got)
			field, _ := at(got, "error", "details", 0, "field").(string)
			if err != nil || w.Code != c.status || c.field != "" && field != c.field {
				t.Errorf("got %d %s, want %d blaming %q", w.Code, w.Body, c.status, c.field)
			}
		})
	}
	w := a.send("POST", "/v1/instances/mine", "")
	if got := w.Header().Get("Allow"); w.Code != 405 || got != "DELETE, GET, HEAD, PATCH, PUT" {
		t.Errorf("a wrong method is answered %d, Allow %q", w.Code, got)
	}
}

func TestAKeyIsRotated(t *testing.T) {
	a := start(t)
	got := a.ok("POST", "/v1/keys:rotate", "")
	secret, _ := at(got, "secret").(string)
	if secret == "" {
		t.Fatalf("got %v", got)
	}
	if w := a.send("GET", "/v1/routes", ""); w.Code != 401 {
		t.Errorf("the old secret is answered %d", w.Code)
	}
	if w := a.sendAs(secret, "GET", "/v1/routes", ""); w.Code != 200 {
		t.Errorf("the new secret is answered %d", w.Code)
	}
}

// follow opens the log of an instance over HTTP.
func (a *api) follow(ctx context.Context, method, target string) *http.Response {
	a.t.Helper()
	srv := httptest.NewServer(a.h)
	a.t.Cleanup(srv.Close)
	r, err := http.NewRequestWithContext(ctx, method, srv.URL+target, nil)
	if err != nil {
		a.t.Fatal(err)
	}
	r.Header.Set("X-API-Key", gatewaytest.Admin)
	res, err := srv.Client().Do(r)
	if err != nil {
		a.t.Fatal(err)
	}
	a.t.Cleanup(func() { _ = res.Body.Close() })
	return res
}

func TestLogsAreALineEach(t *testing.T) {
	a := start(t)
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	a.cp.Say(&signalboxv1.LogLine{Instance: "mine", Text: "one"})
	res := a.follow(ctx, "GET", "/v1/instances/mine/logs?tail=5")
	if res.StatusCode != 200 || res.Header.Get("Content-Type") != "application/x-ndjson" {
		t.Fatalf("got %v", res)
	}
	a.cp.Say(&signalboxv1.LogLine{Instance: "mine", Text: "two\nlines"})
	in := bufio.NewReader(res.Body)
	for _, want := range []string{"one", "two\nlines"} {
		line, err := in.ReadBytes('\n')
		var got map[string]any
		if err != nil || json.Unmarshal(line, &got) != nil || at(got, "result", "line", "text") != want || at(got, "result", "missed") != "0" {
			t.Errorf("got %q, %v, want %q", line, err, want)
		}
	}
	a.h.(*API).Close()
	if rest, err := io.ReadAll(in); err != nil || len(rest) != 0 {
		t.Errorf("it ends with %q, %v", rest, err)
	}
}

func TestLogsEndWithTheControlPlanesError(t *testing.T) {
	a := start(t)
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	res := a.follow(ctx, "GET", "/v1/instances/mine/logs")
	a.cp.Break()
	rest, err := io.ReadAll(res.Body)
	var got map[string]any
	if err != nil || json.Unmarshal(rest, &got) != nil || at(got, "error", "status") != "UNAVAILABLE" {
		t.Errorf("it ends with %q, %v", rest, err)
	}
}

func TestHeadOfLogsEnds(t *testing.T) {
	a := start(t)
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	res := a.follow(ctx, "HEAD", "/v1/instances/mine/logs")
	if body, err := io.ReadAll(res.Body); err != nil || len(body) != 0 || res.StatusCode != 200 {
		t.Errorf("got %d, %q, %v", res.StatusCode, body, err)
	}
}

func TestLogsNeedAKey(t *testing.T) {
	a := start(t)
	if w := a.sendAs("wrong", "GET", "/v1/instances/mine/logs", ""); w.Code != 401 || !strings.Contains(w.Body.String(), "UNAUTHENTICATED") {
		t.Errorf("got %d %s", w.Code, w.Body)
	}
}
