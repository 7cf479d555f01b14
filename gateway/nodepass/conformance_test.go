package nodepass

import (
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"net/http"
	"regexp"
	"slices"
	"strings"
	"testing"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"

	"signalbox/gateway/gatewaytest"
	signalboxv1 "signalbox/proto/gen/signalbox/v1"
	"signalbox/proto/tunnelurl"
)

// The headers that every answer of a path there is has, and of an answer with
// JSON in it.
var (
	corsOnly = http.Header{
		"Access-Control-Allow-Headers": {"Content-Type, Authorization, X-API-Key, Cache-Control"},
		"Access-Control-Allow-Methods": {"GET, PATCH, POST, PUT, DELETE, OPTIONS"},
		"Access-Control-Allow-Origin":  {"*"},
	}
	corsJSON = func() http.Header {
		h := corsOnly.Clone()
		h.Set("Content-Type", "application/json")
		return h
	}()
	notFound = http.Header{"Content-Type": {"text/plain; charset=utf-8"}, "X-Content-Type-Options": {"nosniff"}}
)

const (
	required = `{"error":"Unauthorized: API key required"}` + "\n"
	unknown  = `{"error":"Unauthorized: Invalid API key"}` + "\n"
	method   = `{"error":"Method not allowed"}` + "\n"
	missing  = `{"error":"Instance not found"}` + "\n"
	badBody  = `{"error":"Invalid request body"}` + "\n"
	badURL   = `{"error":"Invalid URL format"}` + "\n"
	badRole  = `{"error":"Invalid URL scheme"}` + "\n"
	theKey   = `{"error":"Forbidden: API Key"}` + "\n"
)

// shown is what is added to 1.4.4's object since.
func shown(id, alias, status, url string, restart bool) string {
	o := object(&signalboxv1.Instance{Name: id, Alias: alias, Url: url, Restart: restart})
	o.Status = status
	b, err := json.Marshal(o)
	if err != nil {
		panic(err)
	}
	return string(b) + "\n"
}

// A row is a request and what real masters answer to it, 1.4.4 where it is not
// said otherwise. Rows are played in order to one master, whose first instance
// will be 00000001.
type row struct {
	name, method, path, key, body string

	code   int
	header http.Header
	want   string // the body, byte for byte
}

const one, oneURL = "00000001", "server://127.0.0.1:19101/127.0.0.1:19102"

var rows144 = func() []row {
	const a = gatewaytest.Admin
	started := shown(one, "combo", "running", oneURL+"?log=info&tls=1", true)
	return []row{
		{"no key", "GET", "/instances", "", "", 401, corsJSON, required},
		{"a wrong key", "GET", "/instances", "wrong", "", 401, corsJSON, unknown},
		{"no key, and not a method", "DELETE", "/instances", "", "", 401, corsJSON, required},
		{"a wrong key, and nothing to find", "GET", "/instances/none", "wrong", "", 401, corsJSON, unknown},
		{"a wrong key, and no id", "GET", "/instances/", "wrong", "", 401, corsJSON, unknown},
		{"a wrong key for the key", "PUT", "/instances/********", "wrong", "", 401, corsJSON, unknown},
		{"a wrong key for events", "GET", "/events", "wrong", "", 401, corsJSON, unknown},
		{"a wrong key for a post", "POST", "/instances", "wrong", "{", 401, corsJSON, unknown},
		{"options without a key", "OPTIONS", "/instances", "", "", 200, corsOnly, ""},
		{"options of one", "OPTIONS", "/instances/x", "", "", 200, corsOnly, ""},
		{"options of events", "OPTIONS", "/events", "", "", 200, corsOnly, ""},
		{"options of the docs", "OPTIONS", "/docs", "", "", 200, corsOnly, ""},
		{"options of nothing", "OPTIONS", "/nosuch", "", "", 404, notFound, "404 page not found\n"},
		{"nothing", "GET", "/nosuch", a, "", 404, notFound, "404 page not found\n"},
		{"the base alone", "GET", "", a, "", 404, notFound, "404 page not found\n"},
		{"a slash behind info", "GET", "/info/", a, "", 404, notFound, "404 page not found\n"},
		{"a slash behind docs", "GET", "/docs/", a, "", 404, notFound, "404 page not found\n"},
		{"a slash behind events", "GET", "/events/", a, "", 404, notFound, "404 page not found\n"},
		{"head", "HEAD", "/instances", a, "", 405, corsJSON, ""},
		{"head of events", "HEAD", "/events", a, "", 405, corsJSON, ""},
		{"head of info", "HEAD", "/info", a, "", 405, corsJSON, ""},
		{"delete of all", "DELETE", "/instances", a, "", 405, corsJSON, method},
		{"put of all", "PUT", "/instances", a, "", 405, corsJSON, method},
		{"post of one", "POST", "/instances/x", a, "", 405, corsJSON, method},
		{"post of events", "POST", "/events", a, "", 405, corsJSON, method},
		{"put of info", "PUT", "/info", a, "", 405, corsJSON, method},
		{"no id", "GET", "/instances/", a, "", 400, corsJSON, `{"error":"Instance ID is required"}` + "\n"},
		{"not there", "GET", "/instances/none", a, "", 404, corsJSON, missing},
		{"an id that is none", "GET", "/instances/%FF%2F", a, "", 404, corsJSON, missing},
		{"patch of nothing", "PATCH", "/instances/none", a, `{"action":"stop"}`, 404, corsJSON, missing},
		{"put of nothing", "PUT", "/instances/none", a, `{}`, 404, corsJSON, missing},
		{"delete of nothing", "DELETE", "/instances/none", a, "", 404, corsJSON, missing},
		{"put of the key, before the body", "PUT", "/instances/********", a, "{", 403, corsJSON, theKey},
		{"delete of the key", "DELETE", "/instances/********", a, "", 403, corsJSON, theKey},

		{"post without JSON", "POST", "/instances", a, "x", 400, corsJSON, badBody},
		{"post of nothing", "POST", "/instances", a, "", 400, corsJSON, badBody},
		{"post without a URL", "POST", "/instances", a, "{}", 400, corsJSON, badBody},
		{"post of an empty URL", "POST", "/instances", a, `{"url":""}`, 400, corsJSON, badBody},
		{"post of a number", "POST", "/instances", a, `{"url":1}`, 400, corsJSON, badBody},
		{"post of no URL", "POST", "/instances", a, `{"url":"server://a:b/%zz"}`, 400, corsJSON, badURL},
		{"post of another scheme", "POST", "/instances", a, `{"url":"http://a:1/b:2"}`, 400, corsJSON, badRole},
		{"post without a scheme", "POST", "/instances", a, `{"url":"a"}`, 400, corsJSON, badRole},
		{
			"post", "POST", "/instances", a, `{"URL":"SERVER://127.0.0.1:19101/127.0.0.1:19102","zz":1,"restart":true} and more`,
			201, corsJSON, shown(one, "", "stopped", oneURL+"?log=info&tls=1", false),
		},
		{
			"post of the same", "POST", "/instances", a, `{"url":"` + oneURL + `?tls=0&zz=1&min=3"}`,
			201, corsJSON, shown("00000002", "", "stopped", oneURL+"?log=info&min=3&tls=0&zz=1", false),
		},
		{
			"post of a client, with 1.13's alias", "POST", "/instances", a, `{"url":"client://h:1/h:2","alias":"x"}`,
			201, corsJSON, shown("00000003", "x", "stopped", "client://h:1/h:2?log=info", false),
		},
		{"get, before it runs", "GET", "/instances/" + one, a, "", 200, corsJSON, shown(one, "", "stopped", oneURL+"?log=info&tls=1", false)},
		{"run", "", one, "", "", 0, nil, ""},
		{"get", "GET", "/instances/" + one, a, "", 200, corsJSON, shown(one, "", "running", oneURL+"?log=info&tls=1", false)},
		{"get by an escaped id", "GET", "/instances/%30000000%31", a, "", 200, corsJSON, shown(one, "", "running", oneURL+"?log=info&tls=1", false)},
		{
			"patch of all", "PATCH", "/instances/" + one, a, `{"alias":"combo","action":"stop","restart":true}`,
			200, corsJSON, started,
		},
		{"patch in upper case", "PATCH", "/instances/" + one, a, `{"ACTION":"start"} x`, 200, corsJSON, started},
		{"patch of nothing new", "PATCH", "/instances/" + one, a, `{"restart":true}`, 200, corsJSON, started},
		{"patch of an empty alias", "PATCH", "/instances/" + one, a, `{"alias":""}`, 200, corsJSON, started},
		{"patch with garbage", "PATCH", "/instances/" + one, a, `garbage`, 200, corsJSON, started},
		{"patch without a body", "PATCH", "/instances/" + one, a, ``, 200, corsJSON, started},
		{"patch with another type", "PATCH", "/instances/" + one, a, `{"restart":"yes","alias":"no"}`, 200, corsJSON, started},
		{"patch of an unknown action, as 1.14", "PATCH", "/instances/" + one, a, `{"alias":"no","action":"explode"}`, 400, corsJSON, `{"error":"Invalid action: explode"}` + "\n"},
		{"restart", "PATCH", "/instances/" + one, a, `{"action":"restart"}`, 200, corsJSON, started},
		{"reset", "PATCH", "/instances/" + one, a, `{"action":"reset"}`, 200, corsJSON, started},
		{"put without JSON", "PUT", "/instances/" + one, a, `x`, 400, corsJSON, badBody},
		{"put of no URL", "PUT", "/instances/" + one, a, `{"url":"server://a:b/c"}`, 400, corsJSON, badURL},
		{"put of another scheme", "PUT", "/instances/" + one, a, `{"url":"tcp://a"}`, 400, corsJSON, badRole},
		{"put of its own", "PUT", "/instances/" + one, a, `{"url":"Server://127.0.0.1:19101/127.0.0.1:19102"}`, 409, corsJSON, `{"error":"Instance URL conflict"}` + "\n"},
		{"put", "PUT", "/instances/" + one, a, `{"url":"` + oneURL + `?tls=0"}`, 200, corsJSON, shown(one, "combo", "stopped", oneURL+"?log=info&tls=0", true)},
		{"delete", "DELETE", "/instances/" + one, a, "", 204, corsOnly, ""},
		{"delete again", "DELETE", "/instances/" + one, a, "", 404, corsJSON, missing},
	}
}()

func TestAnswersAreThoseOfRealMasters(t *testing.T) {
	for _, base := range []string{"/api", "/api/v1"} {
		t.Run(base, func(t *testing.T) {
			m := start(t, Config{Defaults: tunnelurl.Defaults{Log: "info", TLS: "1"}})
			for _, r := range rows144 {
				if r.method == "" { // not a request
					m.runs(r.path, isRunning)
					continue
				}
				if base+r.path == "/api" {
					continue // CHP's
				}
				got := m.send(r.method, base+r.path, r.key, r.body)
				length := int64(len(r.want))
				if r.method == "HEAD" {
					length, got.length = 0, 0
				}
				if got.code != r.code || !maps.EqualFunc(got.header, r.header, slices.Equal[[]string]) || got.body != r.want {
					t.Errorf("%s: got %d %v\n%s; want %d %v\n%s", r.name, got.code, got.header, got.body, r.code, r.header, r.want)
				}
				if got.length != length {
					t.Errorf("%s: the length is %d, want %d", r.name, got.length, length)
				}
			}
		})
	}
}

// 1.4.4's answers, byte for byte, are within ours: fields that came later stand
// between its own, which keep their order.
func TestFieldsOf1_4_4KeepTheirOrder(t *testing.T) {
	m := start(t, Config{})
	m.ask(201, "POST", "/instances", `{"url":"`+oneURL+`?log=info"}`, nil)
	m.runs(one, isRunning)
	got := m.send("GET", "/api/v1/instances/"+one, gatewaytest.Admin, "").body
	for _, later := range []string{`"config":"[^"]*",`, `"meta":\{"peer":\{"sid":"","type":"","alias":""\},"tags":\{\}\},"mode":0,"ping":0,"pool":0,"tcps":0,"udps":0,`} {
		if without := regexp.MustCompile(later).ReplaceAllString(got, ""); without != got {
			got = without
		} else {
			t.Errorf("%s is not in %s", later, got)
		}
	}
	const want = `{"id":"00000001","alias":"","type":"server","status":"running","url":"server://127.0.0.1:19101/127.0.0.1:19102?log=info","restart":false,"tcprx":0,"tcptx":0,"udprx":0,"udptx":0}` + "\n"
	if got != want {
		t.Errorf("got %s, want %s", got, want)
	}
}

func TestTheKeyIsTheFirstInstance(t *testing.T) {
	m := start(t, Config{})
	m.ask(201, "POST", "/instances", `{"url":"client://secret@h:1/h:2"}`, nil)
	for _, key := range []string{gatewaytest.Admin, gatewaytest.Reader} {
		res := m.send("GET", "/api/v1/instances", key, "")
		var all []instance
		if err := json.Unmarshal([]byte(res.body), &all); err != nil || len(all) != 2 {
			t.Fatalf("%v: %s", err, res.body)
		}
		first := all[0]
		if first.ID != "********" || first.Type != "" || first.Status != "" || first.URL != key || !regexp.MustCompile(`^[0-9a-f]{16}$`).MatchString(first.Config) {
			t.Errorf("got %+v", first)
		}
		if hidden := !strings.Contains(res.body, "secret@"); hidden != (key == gatewaytest.Reader) {
			t.Errorf("shown to %s: %s", key, res.body)
		}
		for _, path := range []string{"/instances/********", "/instances/%2A%2A%2A%2A%2A%2A%2A%2A"} {
			var alone instance
			if err := json.Unmarshal([]byte(m.send("GET", "/api/v1"+path, key, "").body), &alone); err != nil || fmt.Sprint(alone) != fmt.Sprint(first) {
				t.Errorf("alone it is %+v", alone)
			}
		}
	}
}

func TestTheKeyIsMadeAnewByRestartAlone(t *testing.T) {
	m := start(t, Config{})
	for _, body := range []string{``, `x`, `{}`, `{"action":"stop"}`, `{"action":"explode"}`, `{"alias":"a"}`, `{"action":1}`} {
		var o instance
		m.ask(200, "PATCH", "/instances/********", body, &o)
		if o.URL != gatewaytest.Admin {
			t.Fatalf("%s: %+v", body, o)
		}
	}
	var o instance
	m.ask(200, "PATCH", "/instances/********", `{"action":"restart"}`, &o)
	if o.ID != "********" || o.URL == gatewaytest.Admin || o.URL == "" {
		t.Fatalf("got %+v", o)
	}
	if res := m.send("GET", "/api/v1/info", gatewaytest.Admin, ""); res.code != 401 || res.body != unknown {
		t.Errorf("the old key: %d %s", res.code, res.body)
	}
	if res := m.send("GET", "/api/v1/info", o.URL, ""); res.code != 200 {
		t.Errorf("the new key: %d %s", res.code, res.body)
	}
	if res := m.send("GET", "/api/v1/info", gatewaytest.Reader, ""); res.code != 200 {
		t.Errorf("another's key: %d %s", res.code, res.body)
	}
}

func TestOnlyTheOneHeaderIsAKey(t *testing.T) {
	m := start(t, Config{})
	for _, c := range []struct {
		path, name, value string
		code              int
	}{
		{"/info", "Authorization", "Bearer " + gatewaytest.Admin, 401},
		{"/info?key=" + gatewaytest.Admin, "X", "y", 401},
		{"/info", "x-api-key", gatewaytest.Admin, 200},
		{"/info", "X-API-Key", "\xff", 401},
	} {
		if res := m.send("GET", "/api/v1"+c.path, "", "", c.name, c.value); res.code != c.code {
			t.Errorf("%s: %s: %d %s", c.name, c.value, res.code, res.body)
		}
	}
	res := m.send("GET", "/api/v1/info", gatewaytest.Admin, "", "Authorization", "Basic eDp5")
	if res.code != 200 {
		t.Errorf("beside another's header: %d %s", res.code, res.body)
	}
}

// The answer to a PATCH is from before what is asked for has an effect, however
// soon that is.
func TestAnswersToPatchesAreFromBefore(t *testing.T) {
	m := start(t, Config{})
	m.ask(201, "POST", "/instances", `{"url":"`+oneURL+`"}`, nil)
	m.cp.Carry(one, &signalboxv1.InstanceCounters{TcpSent: 7})
	m.runs(one, isRunning)
	m.cp.Before(func(method string) error {
		if method == signalboxv1.InstanceService_UpdateInstance_FullMethodName {
			m.runs(one, isStopped)
		}
		return nil
	})
	var o instance
	m.ask(200, "PATCH", "/instances/"+one, `{"action":"stop","alias":"x"}`, &o)
	if o.Status != "running" || o.Alias != "x" || o.TCPTx != 7 {
		t.Errorf("got %+v", o)
	}
	m.ask(200, "PATCH", "/instances/"+one, `{"action":"reset"}`, &o)
	if o.Status != "stopped" || o.TCPTx != 0 {
		t.Errorf("got %+v", o)
	}
}

// What others write meanwhile is kept by a PUT, and it is written all the same.
func TestAPutAmongOthersWrites(t *testing.T) {
	m := start(t, Config{})
	m.ask(201, "POST", "/instances", `{"url":"`+oneURL+`"}`, nil)
	races := 3
	m.cp.Before(func(method string) error {
		if method == signalboxv1.InstanceService_PutInstance_FullMethodName && races > 0 {
			races--
			_, err := m.cp.UpdateInstance(context.Background(), &signalboxv1.UpdateInstanceRequest{Name: one, Alias: proto.String(fmt.Sprint(races))})
			return err
		}
		return nil
	})
	var o instance
	m.ask(200, "PUT", "/instances/"+one, `{"url":"client://h:1/h:2"}`, &o)
	if i := m.cp.Instance(one); o.Alias != "0" || i.GetAlias() != "0" || i.GetUrl() != "client://h:1/h:2" {
		t.Errorf("got %+v, and %v is stored", o, i)
	}
}

func TestUncleanPathsAreRedirected(t *testing.T) {
	m := start(t, Config{})
	for path, to := range map[string]string{
		"/api/v1/instances//":       "/api/v1/instances/",
		"/api/v1//instances":        "/api/v1/instances",
		"/api/v1/./info?x=1":        "/api/v1/info?x=1",
		"/api/v1/instances/../info": "/api/v1/info",
		"/api/instances//%2A":       "/api/instances/%2A",
	} {
		for _, method := range []string{"GET", "PATCH"} {
			res := m.send(method, path, "", "")
			if res.code != 307 || res.header.Get("Location") != to || res.header.Get("Access-Control-Allow-Origin") != "" {
				t.Errorf("%s: got %d %v", path, res.code, res.header)
			}
		}
	}
}

// 1.4.4 takes URLs that nothing could run, and then fails for ever.
func TestURLsThatNothingCouldRunAreRefusedWithTheReason(t *testing.T) {
	m := start(t, Config{})
	for url, reason := range map[string]string{
		"server:///":                  "needs a port",
		"server://a:1":                "target address",
		"server://a:1/b:1?tls=2":      "crt and key",
		"client://secret@a:1/b:99999": "1 to 65535",
	} {
		var e struct{ Error string }
		m.ask(400, "POST", "/instances", `{"url":"`+url+`"}`, &e)
		if !strings.HasPrefix(e.Error, "Invalid URL format: ") || !strings.Contains(e.Error, reason) || strings.Contains(e.Error, "secret") {
			t.Errorf("%s: %s", url, e.Error)
		}
	}
}

func TestWhoMayOnlyReadIsForbiddenTheRest(t *testing.T) {
	m := start(t, Config{})
	m.ask(201, "POST", "/instances", `{"url":"`+oneURL+`"}`, nil)
	for _, c := range []struct{ method, path, body string }{
		{"POST", "/instances", `{"url":"` + oneURL + `"}`},
		{"PATCH", "/instances/" + one, `{"action":"stop"}`},
		{"PUT", "/instances/" + one, `{"url":"client://a:1/b:2"}`},
		{"DELETE", "/instances/" + one, ""},
		{"POST", "/info", `{"alias":"x"}`},
		{"GET", "/tcping?target=127.0.0.1:1", ""},
	} {
		res := m.send(c.method, "/api/v1"+c.path, gatewaytest.Reader, c.body)
		if res.code != 403 || !strings.HasPrefix(res.body, `{"error":"Forbidden: `) || !strings.Contains(res.body, "instances:write") {
			t.Errorf("%s %s: got %d %s", c.method, c.path, res.code, res.body)
		}
	}
	if i := m.cp.Instance(one); i.GetMeta().GetRevision() != i.GetMeta().GetCreatedRevision() {
		t.Errorf("it was changed: %v", i)
	}
}

func TestLongBodiesAreRefused(t *testing.T) {
	m := start(t, Config{MaxBody: 100})
	m.ask(201, "POST", "/instances", `{"url":"`+oneURL+`"}`, nil)
	long := `{"alias":"` + strings.Repeat("x", 100) + `"}`
	for _, c := range []struct{ method, path string }{
		{"POST", "/instances"}, {"PUT", "/instances/" + one}, {"PATCH", "/instances/" + one}, {"PATCH", "/instances/********"}, {"POST", "/info"},
	} {
		if res := m.send(c.method, "/api/v1"+c.path, gatewaytest.Admin, long); res.code != 413 || !strings.HasPrefix(res.body, `{"error":"`) {
			t.Errorf("%s %s: got %d %s", c.method, c.path, res.code, res.body)
		}
	}
}

func TestWhatTheControlPlaneCannotDoIsSaid(t *testing.T) {
	m := start(t, Config{})
	for code, want := range map[codes.Code]int{
		codes.Unavailable: 503, codes.DeadlineExceeded: 503, codes.ResourceExhausted: 503, codes.Internal: 500,
		codes.Unauthenticated: 401, codes.PermissionDenied: 403, codes.Unimplemented: 500,
	} {
		m.cp.Before(func(string) error { return status.Error(code, "dial tcp 10.0.0.1: refused") })
		for _, path := range []string{"/instances", "/instances/x", "/info", "/events", "/instances/********"} {
			res := m.send("GET", "/api/v1"+path, gatewaytest.Admin, "")
			if res.code != want || !strings.HasPrefix(res.body, `{"error":"`) || res.header.Get("Access-Control-Allow-Origin") != "*" {
				t.Errorf("%v, %s: got %d %v %s", code, path, res.code, res.header, res.body)
			}
			if code == codes.Unavailable && (res.header.Get("Retry-After") == "" || strings.Contains(res.body, "10.0.0.1")) {
				t.Errorf("%s: got %v %s", path, res.header, res.body)
			}
		}
	}
}
