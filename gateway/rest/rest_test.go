package rest

import (
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"reflect"
	"strings"
	"testing"

	"go.uber.org/goleak"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"signalbox/gateway/apierror"
	"signalbox/gateway/gatewaytest"
	signalboxv1 "signalbox/proto/gen/signalbox/v1"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// api is the API before a small control plane.
type api struct {
	t  *testing.T
	cp *gatewaytest.ControlPlane
	h  http.Handler
}

func start(t *testing.T) *api {
	t.Helper()
	cp, conn := gatewaytest.Start(t)
	h, err := New(conn, Config{MaxBody: 4096, Log: slog.New(slog.DiscardHandler)})
	if err != nil {
		t.Fatal(err)
	}
	return &api{t: t, cp: cp, h: h}
}

// send sends a request with the key that may do everything.
func (a *api) send(method, target, body string) *httptest.ResponseRecorder {
	a.t.Helper()
	return a.sendAs(gatewaytest.Admin, method, target, body)
}

func (a *api) sendAs(key, method, target, body string) *httptest.ResponseRecorder {
	a.t.Helper()
	r := httptest.NewRequest(method, target, strings.NewReader(body))
	if key != "" {
		r.Header.Set("Authorization", "Bearer "+key)
	}
	r.Header.Set("Content-Type", "application/x-www-form-urlencoded") // as curl -d does
	w := httptest.NewRecorder()
	a.h.ServeHTTP(w, r)
	return w
}

// ok sends a request that has to succeed, and returns the answer's JSON.
func (a *api) ok(method, target, body string) map[string]any {
	a.t.Helper()
	w := a.send(method, target, body)
	var got map[string]any
	if err := json.Unmarshal(w.Body.Bytes(), &got); err != nil || w.Code != http.StatusOK {
		a.t.Fatalf("%s %s: got %d %s", method, target, w.Code, w.Body)
	}
	return got
}

// at walks into JSON.
func at(v any, path ...any) any {
	for _, p := range path {
		switch p := p.(type) {
		case string:
			m, _ := v.(map[string]any)
			v = m[p]
		case int:
			l, _ := v.([]any)
			if p >= len(l) {
				return nil
			}
			v = l[p]
		}
	}
	return v
}

const route = `{"name":"a/b","match":{"pathPrefix":"/x"},"upstreams":[{"url":"http://h:1"}]}`

func TestARouteGoesInAndComesOut(t *testing.T) {
	a := start(t)
	put := a.ok("POST", "/v1/routes", `{"route":`+route+`,"wait":"nodes"}`)
	if got := at(put, "result", "version", "revision"); got != "101" {
		t.Errorf("revision is %v", got)
	}
	a.ok("PUT", "/v1/routes/a/b?expected_revision=101&waitTimeout=2s", `{"match":{"path_prefix":"/y"},"upstreams":[{"url":"http://h:2"}]}`)
	got := a.ok("GET", "/v1/routes/a/b", "")
	if at(got, "route", "match", "pathPrefix") != "/y" || at(got, "route", "name") != "a/b" {
		t.Errorf("got %v", got)
	}
	list := a.ok("GET", "/v1/routes?namePrefix=a/&match.path_prefix=/y&page_size=1", "")
	if at(list, "routes", 0, "route", "name") != "a/b" || at(list, "nextPageToken") != "" {
		t.Errorf("got %v", list)
	}
	a.ok("DELETE", "/v1/routes/a/b?wait=NODES", "")
	if w := a.send("GET", "/v1/routes/a/b", ""); w.Code != 404 {
		t.Errorf("got %d", w.Code)
	}
	if list := a.ok("GET", "/v1/routes", ""); !reflect.DeepEqual(at(list, "routes"), []any{}) {
		t.Errorf("the empty list is %v", list)
	}
}

func TestABodyNamesWhatThePathNames(t *testing.T) {
	a := start(t)
	const rest = `"match":{"pathPrefix":"/x"},"upstreams":[{"url":"http://h:1"}]}`
	for _, c := range []struct{ path, body string }{
		{"/v1/routes/a/b", `{"name":"a",` + rest}, {"/v1/routes/a%2Fb", `{"name":"a%2Fb",` + rest},
		{"/v1/listeners/a", `{"name":"b"}`}, {"/v1/nodes/a", `{"name":"b"}`},
	} {
		w := a.send("PUT", c.path, c.body)
		if w.Code != 400 || !strings.Contains(w.Body.String(), `"field":"name"`) {
			t.Errorf("PUT %s %s: got %d %s", c.path, c.body, w.Code, w.Body)
		}
	}
	if calls := a.cp.Calls(); len(calls) > 0 {
		t.Errorf("calls were made: %v", calls)
	}
	for _, body := range []string{`{` + rest, `{"name":"",` + rest, `{"name":"a/b",` + rest} {
		a.ok("PUT", "/v1/routes/a%2Fb", body)
		if got := a.ok("GET", "/v1/routes/a/b", ""); at(got, "route", "name") != "a/b" {
			t.Errorf("PUT %s: got %v", body, got)
		}
	}
}

func TestNamesOfRoutesAreDecodedOnce(t *testing.T) {
	a := start(t)
	for i, c := range []struct{ path, name string }{
		{"chp/user/ana%20b", "chp/user/ana b"}, {"a%2Fb", "a/b"}, {"a%252Fb", "a%2Fb"}, {"a//b", "a//b"},
		{"x/../y", "x/../y"}, {"%C3%A4", "ä"}, {"a:b", "a:b"}, {"q%3Fx", "q?x"}, {"plus+", "plus+"},
	} {
		body := fmt.Sprintf(`{"match":{"pathPrefix":"/%d"},"upstreams":[{"url":"http://h:1"}]}`, i)
		a.ok("PUT", "/v1/routes/"+c.path, body)
		if got := a.ok("GET", "/v1/routes/"+c.path, ""); at(got, "route", "name") != c.name {
			t.Errorf("%s: got %v, want %q", c.path, at(got, "route", "name"), c.name)
		}
		a.ok("DELETE", "/v1/routes/"+c.path, "")
	}
}

func TestWaitIsUnderstoodShortly(t *testing.T) {
	for _, c := range []struct {
		method, target, body string
		want                 signalboxv1.Wait
	}{
		{"POST", "/v1/routes", `{"route":` + route + `,"wait":"nodes"}`, signalboxv1.Wait_WAIT_NODES},
		{"POST", "/v1/routes", `{"wait" : "Nodes" , "route":` + route + `}`, signalboxv1.Wait_WAIT_NODES},
		{"POST", "/v1/routes", `{"route":` + route + `,"wait":"none"}`, signalboxv1.Wait_WAIT_NONE},
		{"POST", "/v1/routes", `{"route":` + route + `,"wait":"WAIT_NODES"}`, signalboxv1.Wait_WAIT_NODES},
		{"POST", "/v1/routes", `{"route":` + route + `,"wait":2}`, signalboxv1.Wait_WAIT_NODES},
		{"POST", "/v1/routes", `{"route":` + route + `}`, signalboxv1.Wait_WAIT_UNSPECIFIED},
		{"POST", "/v1/routes?wait=nodes", `{"route":` + route + `}`, signalboxv1.Wait_WAIT_NODES},
		{"PUT", "/v1/routes/a/b?wait=nodes", route, signalboxv1.Wait_WAIT_NODES},
		{"PUT", "/v1/routes/a/b?wait=wait_none", route, signalboxv1.Wait_WAIT_NONE},
	} {
		a := start(t)
		a.ok(c.method, c.target, c.body)
		calls := a.cp.Calls()
		if got := calls[len(calls)-1].Request.(*signalboxv1.PutRouteRequest).GetWait(); got != c.want {
			t.Errorf("%s %s: got %v, want %v", c.target, c.body, got, c.want)
		}
	}
}

func TestWhatIsNotUnderstoodIsRefusedByName(t *testing.T) {
	upstreams := `"upstreams":[{"url":"http://h:1"}]`
	for _, c := range []struct {
		name, method, target, body string
		field, reason              string
	}{
		{"an unknown field", "POST", "/v1/routes", `{"rout":{}}`, "rout", `unknown field`},
		{"an unknown field further in", "POST", "/v1/routes", "{\"route\":{\"name\":\"ä\",\n\"upstreams\":[{\"url\":\"a\"},{\"urll\":\"x\"}]}}", "route.upstreams[1].urll", `unknown field`},
		{"a value of another kind", "POST", "/v1/routes", `{"route":{"labels":{"a":1}}}`, "route.labels.a", `invalid value`},
		{"a field given twice", "POST", "/v1/routes", `{"route":{"name":"a","name":"b"}}`, "route.name", `duplicate field`},
		{"a bad duration in a body", "POST", "/v1/routes", `{"waitTimeout":"25h"}`, "waitTimeout", `as "90s"`},
		{"a number too big for any", "PUT", "/v1/routes/a?expected_revision=99999999999999999999", "{" + upstreams + "}", "expected_revision", "9223372036854775807"},
		{"an unknown value", "POST", "/v1/routes", `{"wait":"all"}`, "wait", `invalid value`},
		{"broken JSON", "POST", "/v1/routes", `{"route":`, "body", `ends in the middle`},
		{"two values", "POST", "/v1/routes", `{} {}`, "body", `unexpected`},
		{"a list", "POST", "/v1/routes", `[]`, "body", `unexpected`},
		{"text that is not UTF-8", "POST", "/v1/routes", "{\"route\":{\"name\":\"\xff\"}}", "body", "UTF-8"},
		{"an unknown parameter", "GET", "/v1/routes?pageSice=1", "", "pageSice", "not a parameter"},
		{"an unknown parameter of a write", "PUT", "/v1/routes/a?expected_revison=1", "{" + upstreams + "}", "expected_revison", "not a parameter"},
		{"a parameter of another kind", "GET", "/v1/routes?pageSize=many", "", "pageSize", "whole number"},
		{"a number too big", "GET", "/v1/routes?pageSize=99999999999", "", "pageSize", "to 2147483647"},
		{"a parameter given twice", "GET", "/v1/routes?pageSize=1&pageSize=2", "", "pageSize", "twice"},
		{"a parameter given in both spellings", "GET", "/v1/routes?pageSize=1&page_size=2", "", "page_size", "twice"},
		{"a parameter given in the path", "GET", "/v1/routes/a?name=b", "", "name", "path or the body"},
		{"a parameter given in the body", "PUT", "/v1/routes/a?route.data=x", "{" + upstreams + "}", "route.data", "path or the body"},
		{"a bad wait", "DELETE", "/v1/routes/a?wait=all", "", "wait", "none, nodes"},
		{"a bad time", "GET", "/v1/routes?inactiveSince=yesterday", "", "inactiveSince", "2026-01-31"},
		{"a bad duration", "DELETE", "/v1/routes/a?wait_timeout=5", "", "wait_timeout", `"90s"`},
		{"a bad switch", "DELETE", "/v1/routes/a?validate_only=perhaps", "", "validate_only", "true or false"},
		{"a parameter that is not UTF-8", "GET", "/v1/routes?namePrefix=%ff", "", "namePrefix", "UTF-8"},
		{"a query that is none", "GET", "/v1/routes?a=%zz", "", "query", "%zz"},
		{"a message as a parameter", "GET", "/v1/routes?match=x", "", "match", "body"},
		{"what the control plane refuses", "PUT", "/v1/routes/a", `{}`, "route.upstreams", "at least one"},
	} {
		t.Run(c.name, func(t *testing.T) {
			a := start(t)
			w := a.send(c.method, c.target, c.body)
			var got struct {
				Error struct {
					Code    int
					Status  string
					Message string
					Details []apierror.Violation
				}
			}
			if err := json.Unmarshal(w.Body.Bytes(), &got); err != nil {
				t.Fatalf("%v in %s", err, w.Body)
			}
			e := got.Error
			if w.Code != 400 || e.Code != 400 || e.Status != "INVALID_ARGUMENT" || len(e.Details) != 1 ||
				e.Details[0].Field != c.field || !strings.Contains(e.Details[0].Reason, c.reason) || e.Message == "" {
				t.Errorf("got %d %s, want field %q and reason %q", w.Code, w.Body, c.field, c.reason)
			}
			if a.cp.Version().GetRevision() != 100 {
				t.Error("something was written")
			}
		})
	}
}

func TestOtherRefusals(t *testing.T) {
	for _, c := range []struct {
		name, key, method, target, body string
		code                            int
		status                          string
		header, value                   string
	}{
		{"no key", "", "GET", "/v1/routes", "", 401, "UNAUTHENTICATED", "Www-Authenticate", `Bearer realm="signalbox"`},
		{"no key, and a body that is not read", "", "POST", "/v1/routes", strings.Repeat("x", 9999), 401, "UNAUTHENTICATED", "Www-Authenticate", `Bearer realm="signalbox"`},
		{"a wrong key", "wrong", "GET", "/v1/routes", "", 401, "UNAUTHENTICATED", "Www-Authenticate", `Bearer realm="signalbox"`},
		{"a key that may not", gatewaytest.Reader, "DELETE", "/v1/routes/a", "", 403, "PERMISSION_DENIED", "", ""},
		{"nothing there", gatewaytest.Admin, "GET", "/v1/nothing", "", 404, "NOT_FOUND", "", ""},
		{"a route that is not there", gatewaytest.Admin, "DELETE", "/v1/routes/a", "", 404, "NOT_FOUND", "", ""},
		{"a wrong method", gatewaytest.Admin, "PATCH", "/v1/routes/a", "", 405, "UNIMPLEMENTED", "Allow", "DELETE, GET, HEAD, PUT"},
		{"a wrong method on a list", gatewaytest.Admin, "PUT", "/v1/batch/routes/put", "", 405, "UNIMPLEMENTED", "Allow", "POST"},
		{"a method in a header", gatewaytest.Admin, "POST", "/v1/nodes/a", "", 405, "UNIMPLEMENTED", "Allow", "DELETE, GET, HEAD, PUT"},
		{"a body too long", gatewaytest.Admin, "POST", "/v1/routes", `{"route":{"data":"` + strings.Repeat("x", 4096) + `"}}`, 413, "INVALID_ARGUMENT", "", ""},
		{"a path that is not UTF-8", gatewaytest.Admin, "GET", "/v1/routes/%ff", "", 400, "INVALID_ARGUMENT", "", ""},
		{"a stale write", gatewaytest.Admin, "PUT", "/v1/routes/a?expected_revision=5", `{"upstreams":[{"url":"http://h"}]}`, 409, "ABORTED", "", ""},
		{"a service that is not there", gatewaytest.Admin, "GET", "/v1/nodes", "", 501, "UNIMPLEMENTED", "", ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			a := start(t)
			w := a.sendAs(c.key, c.method, c.target, c.body)
			var got map[string]any
			if err := json.Unmarshal(w.Body.Bytes(), &got); err != nil {
				t.Fatalf("%v in %s", err, w.Body)
			}
			if w.Code != c.code || at(got, "error", "status") != c.status || at(got, "error", "code") != float64(c.code) {
				t.Errorf("got %d %s", w.Code, w.Body)
			}
			if got := w.Header().Get(c.header); got != c.value {
				t.Errorf("%s is %q, want %q", c.header, got, c.value)
			}
		})
	}
}

func TestTroubleBehindUsHasItsStatus(t *testing.T) {
	a := start(t)
	for code, want := range map[codes.Code]int{
		codes.Unavailable: 503, codes.ResourceExhausted: 429, codes.AlreadyExists: 409, codes.FailedPrecondition: 400,
		codes.Internal: 500, codes.DeadlineExceeded: 504,
	} {
		a.cp.Before(func(string) error { return status.Error(code, "told to fail") })
		w := a.send("GET", "/v1/routes", "")
		if retry := w.Header().Get("Retry-After"); w.Code != want || (retry == "1") != (want == 503 || want == 429) {
			t.Errorf("%v: got %d, Retry-After %q", code, w.Code, retry)
		}
	}
}

func TestNothingOfAClientsHeadersGoesOn(t *testing.T) {
	a := start(t)
	r := httptest.NewRequest("GET", "http://evil.example/v1/routes", nil)
	for k, v := range map[string]string{
		"X-API-Key": gatewaytest.Admin, "X-Request-Id": "r1", "Grpc-Metadata-Authorization": "Bearer other",
		"Grpc-Timeout": "1n", "Cookie": "a=b", "X-Forwarded-For": "1.2.3.4", "X-Forwarded-Host": "evil",
		"X-Http-Method-Override": "DELETE", "Te": "trailers", "Accept": "text/html", "User-Agent": "ua",
	} {
		r.Header.Set(k, v)
	}
	w := httptest.NewRecorder()
	a.h.ServeHTTP(w, r)
	md := a.cp.Calls()[0].Metadata
	if w.Code != 200 || strings.Join(md.Get("authorization"), ",") != "Bearer "+gatewaytest.Admin || md.Get("x-request-id")[0] != "r1" {
		t.Errorf("got %d, %v", w.Code, md)
	}
	for k := range md {
		switch k {
		case "authorization", "x-request-id", ":authority", "content-type", "user-agent", "grpc-accept-encoding":
		default:
			t.Errorf("%s: %v was sent on", k, md.Get(k))
		}
	}
	if strings.Contains(strings.Join(md.Get("user-agent"), ""), "ua") || strings.Contains(md.Get(":authority")[0], "evil") {
		t.Errorf("got %v", md)
	}
}

func TestHeadIsGetWithoutABody(t *testing.T) {
	a := start(t)
	srv := httptest.NewServer(a.h)
	defer srv.Close()
	r, err := http.NewRequestWithContext(t.Context(), http.MethodHead, srv.URL+"/v1/routes", nil)
	if err != nil {
		t.Fatal(err)
	}
	r.Header.Set("X-API-Key", gatewaytest.Admin)
	res, err := srv.Client().Do(r)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = res.Body.Close() }()
	body, err := io.ReadAll(res.Body)
	if err != nil || res.StatusCode != 200 || len(body) != 0 || res.Header.Get("Content-Type") != "application/json" {
		t.Errorf("got %v %q %v", res, body, err)
	}
}

func TestAnswersSayWhatIsZero(t *testing.T) {
	a := start(t)
	a.cp.Nodes([]string{"n1", "n2", "n3"})
	put := a.ok("POST", "/v1/routes", `{"route":`+route+`}`)
	if got := at(put, "result", "nodesServing"); got != float64(0) {
		t.Errorf("nodesServing is %v", got)
	}
	if got := at(put, "result", "rejections"); !reflect.DeepEqual(got, []any{}) {
		t.Errorf("rejections is %v", got)
	}
	if r, _ := at(put, "route").(map[string]any); r["policy"] != nil {
		t.Errorf("an absent policy is %v", r["policy"])
	}
}
