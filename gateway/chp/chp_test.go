package chp

import (
	"bufio"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"regexp"
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

// proxy is a handler behind a real server, before a small control plane.
type proxy struct {
	t    *testing.T
	cp   *gatewaytest.ControlPlane
	addr string
}

func start(t *testing.T, cfg Config) *proxy {
	t.Helper()
	cp, conn := gatewaytest.Start(t)
	srv := httptest.NewServer(New(conn, cfg))
	t.Cleanup(srv.Close)
	return &proxy{t: t, cp: cp, addr: srv.Listener.Addr().String()}
}

// answer is a whole answer.
type answer struct {
	code   int
	header http.Header
	body   string
}

// send sends a request whose target and headers go out as they are written.
func (p *proxy) send(method, target, token, body string) answer {
	p.t.Helper()
	conn, err := net.Dial("tcp", p.addr)
	if err != nil {
		p.t.Fatal(err)
	}
	defer func() { _ = conn.Close() }()
	auth := ""
	if token != "" {
		auth = "Authorization: " + token + "\r\n"
	}
	// JupyterHub's content type, which means nothing.
	_, err = fmt.Fprintf(conn, "%s %s HTTP/1.1\r\nHost: x\r\nConnection: close\r\n%s"+
		"Content-Type: application/x-www-form-urlencoded\r\nContent-Length: %d\r\n\r\n%s", method, target, auth, len(body), body)
	if err != nil {
		p.t.Fatal(err)
	}
	res, err := http.ReadResponse(bufio.NewReader(conn), &http.Request{Method: method})
	if err != nil {
		p.t.Fatalf("%s %s: %v", method, target, err)
	}
	defer func() { _ = res.Body.Close() }()
	text, err := io.ReadAll(res.Body)
	if err != nil {
		p.t.Fatal(err)
	}
	return answer{res.StatusCode, res.Header, string(text)}
}

// admin sends a request with the token that may do everything.
func (p *proxy) admin(method, target, body string) answer {
	p.t.Helper()
	return p.send(method, target, "token "+gatewaytest.Admin, body)
}

// must sends a request that has to have a status.
func (p *proxy) must(code int, method, target, body string) answer {
	p.t.Helper()
	a := p.admin(method, target, body)
	if a.code != code {
		p.t.Fatalf("%s %s: got %d %q, want %d", method, target, a.code, a.body, code)
	}
	return a
}

// put writes a route as an operator does.
func (p *proxy) put(r *signalboxv1.Route) *signalboxv1.Route {
	p.t.Helper()
	stored, err := p.cp.Put(r)
	if err != nil {
		p.t.Fatal(err)
	}
	return stored
}

// keys lists the table's keys in its order.
func (p *proxy) keys(target string) []string {
	p.t.Helper()
	o, err := parseObject([]byte(p.must(http.StatusOK, "GET", target, "").body))
	if err != nil {
		p.t.Fatal(err)
	}
	all := []string{}
	for _, m := range o {
		all = append(all, m.name)
	}
	return all
}

const good = `{"target":"http://127.0.0.1:1111"}`

// Every row of CHP's behaviour, with a token and without.
func TestStatusesAndBodiesAreCHPs(t *testing.T) {
	const tooYoung = `Must specify 'target' as string`
	for _, c := range []struct {
		method, path, body string
		code               int
		answer             string // a regular expression for the whole body
		stranger           int    // without a token; the body is empty but for 404 and 405
	}{
		{"GET", "/", "", 404, "Not Found", 404},
		{"GET", "/foo", "", 404, "Not Found", 404},
		{"GET", "/api/routesX", "", 404, "Not Found", 404},
		{"GET", "/api", "", 200, `{.*"version":"v9".*}`, 403}, // on purpose
		{"GET", "/api/", "", 200, `{.*"version":"v9".*}`, 403},
		{"GET", "/api/routes", "", 200, `{"/one":{"target":"http://127.0.0.1:1111","last_activity":"` + stamp + `"}}`, 403},
		{"GET", "/api/routes/", "", 200, `{"/one":{.*}}`, 403},
		{"GET", "/api/routes?foo=bar", "", 200, `{"/one":{.*}}`, 403},
		{"GET", "/api/routes/one", "", 200, `{"target":"http://127.0.0.1:1111","last_activity":"` + stamp + `"}`, 403},
		{"GET", "/api/routes/one/", "", 200, `{"target":.*}`, 403},
		{"GET", "/api/routes/one/sub", "", 404, ``, 403},
		{"GET", "/api/routes/%2F", "", 404, ``, 403},
		{"POST", "/api/routes/two", good, 201, ``, 403},
		{"POST", "/api/routes/one", good, 201, ``, 403},
		{"POST", "/api/routes", good, 201, ``, 403},
		{"POST", "/api/routes/two", `{"target":`, 400, `Body not valid JSON: SyntaxError: .+`, 403}, // 400 in CHP
		{"POST", "/api/routes/two", ``, 400, `Body not valid JSON: SyntaxError: .+`, 403},
		{"POST", "/api/routes/two", good + "x", 400, `Body not valid JSON: SyntaxError: .+`, 403},
		{"POST", "/api/routes/two", "{\"target\":\"\xff\"}", 400, `Body not valid JSON: SyntaxError: .+`, 403},
		{"POST", "/api/routes/two", `{}`, 400, tooYoung, 403},
		{"POST", "/api/routes/two", `null`, 400, tooYoung, 403},
		{"POST", "/api/routes/two", `[]`, 400, tooYoung, 403},
		{"POST", "/api/routes/two", `"str"`, 400, tooYoung, 403},
		{"POST", "/api/routes/two", `5`, 400, tooYoung, 403},
		{"POST", "/api/routes/two", `{"target":5}`, 400, tooYoung, 403},
		{"POST", "/api/routes/two", `{"target":null}`, 400, tooYoung, 403},
		{"POST", "/api/routes/two", `{"target":["http://127.0.0.1"]}`, 400, tooYoung, 403},
		{"POST", "/api/routes/two", `{"target":""}`, 400, `'target' .+`, 403}, // 201 in CHP, then 500
		{"POST", "/api/routes/two", `{"target":"not a url"}`, 400, `'target' .+`, 403},
		{"POST", "/api/routes/two", `{"target":"ftp://x/"}`, 400, `'target' .+`, 403},
		{"DELETE", "/api/routes/one", "ignored", 204, ``, 403},
		{"DELETE", "/api/routes/two", "", 404, ``, 403},
		{"DELETE", "/api/routes/", "", 404, ``, 403},
		{"DELETE", "/api/routes", "", 404, ``, 403}, // no answer from CHP
		{"PUT", "/api/routes/one", good, 405, `Method not supported`, 405},
		{"PATCH", "/api/routes/one", good, 405, `Method not supported`, 405},
		{"HEAD", "/api/routes", "", 405, ``, 405},
		{"OPTIONS", "/api/routes", "", 405, `Method not supported`, 405},
		{"TRACE", "/api/routes/one", "", 405, `Method not supported`, 405},
		{"PROPFIND", "/api/routes/one", "", 405, `Method not supported`, 405},
		{"POST", "/api/routes/two", `true`, 400, tooYoung, 403},
		{"POST", "/api/routes/two", `{"target":{"a":1}}`, 400, tooYoung, 403},
		{"POST", "/api/routes/two", "\ufeff" + good, 400, `Body not valid JSON: SyntaxError: .+`, 403},
		{"POST", "/api/routes/two?x=%zz", good, 201, ``, 403},
		{"GET", "/api/routes/one?inactive_since=bad", "", 200, `{"target":.*}`, 403},
		{"DELETE", "/api/routes/one/", "", 204, ``, 403},
		{"GET", "/api/routes/\xc3\xbc", "", 400, `.+UTF-8.+`, 400},
		{"POST", "/api/routes/\xff", good, 400, `.+UTF-8.+`, 400},
		{"GET", "http://other/api/routes/one", "", 200, `{"target":.*}`, 403},
		{"GET", "/api/routes/bad%E4", "", 400, `.+UTF-8.+`, 400}, // no answer from CHP
		{"GET", "/api/routes/bad%zz", "", 400, `.+`, 400},        // net/http's answer
	} {
		t.Run(c.method+" "+c.path+" "+c.body, func(t *testing.T) {
			p := start(t, Config{Version: "v9"})
			p.must(201, "POST", "/api/routes/one", good)
			before := p.cp.Version().GetRevision()

			for _, token := range []string{"", "token wrong"} {
				a := p.send(c.method, c.path, token, c.body)
				if a.code != c.stranger || a.code == 403 && a.body != "" {
					t.Errorf("with token %q: got %d %q, want %d", token, a.code, a.body, c.stranger)
				}
			}
			if p.cp.Version().GetRevision() != before {
				t.Fatal("a stranger changed something")
			}

			a := p.admin(c.method, c.path, c.body)
			if a.code != c.code || !regexp.MustCompile("^(?:"+c.answer+")$").MatchString(a.body) {
				t.Errorf("got %d %q, want %d %q", a.code, a.body, c.code, c.answer)
			}
			if isJSON := a.header.Get("Content-Type") == "application/json"; isJSON != (c.code == 200) {
				t.Errorf("got content type %q with %d", a.header.Get("Content-Type"), a.code)
			}
			if c.code >= 400 && p.cp.Version().GetRevision() != before {
				t.Error("a refused request changed something")
			}
		})
	}
}

// What CHP's server makes of requests that are odd on the wire, ours does too.
func TestOddRequestsAreAnsweredAsByCHP(t *testing.T) {
	p := start(t, Config{})
	p.must(201, "POST", "/api/routes/one", good)
	const auth = "Authorization: token " + gatewaytest.Admin + "\r\n"
	for name, c := range map[string]struct{ request, status string }{
		"HTTP/1.0":              {"GET /api/routes/one HTTP/1.0\r\n" + auth + "\r\n", "HTTP/1.0 200"},
		"HTTP/1.1 without Host": {"GET /api/routes/one HTTP/1.1\r\n" + auth + "\r\n", "HTTP/1.1 400"},
		"no HTTP":               {"garbage\r\n\r\n", "HTTP/1.1 400"},
		"a raw space":           {"GET /api/routes/a b HTTP/1.1\r\nHost: x\r\n" + auth + "\r\n", "HTTP/1.1 400"},
		"an upgrade is a plain request": {"GET /api/routes/one HTTP/1.1\r\nHost: x\r\n" + auth +
			"Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: eA==\r\n\r\n", "HTTP/1.1 200"},
		"a body with DELETE": {"DELETE /api/routes/none HTTP/1.1\r\nHost: x\r\n" + auth + "Content-Length: 2\r\n\r\n{}", "HTTP/1.1 404"},
		"chunks":             {"POST /api/routes/c HTTP/1.1\r\nHost: x\r\n" + auth + "Transfer-Encoding: chunked\r\n\r\n" + fmt.Sprintf("%x\r\n%s\r\n0\r\n\r\n", len(good), good), "HTTP/1.1 201"},
	} {
		t.Run(name, func(t *testing.T) {
			conn, err := net.Dial("tcp", p.addr)
			if err != nil {
				t.Fatal(err)
			}
			defer func() { _ = conn.Close() }()
			if _, err := io.WriteString(conn, c.request); err != nil {
				t.Fatal(err)
			}
			line, err := bufio.NewReader(conn).ReadString('\n')
			if err != nil || !strings.HasPrefix(line, c.status) {
				t.Errorf("got %q, %v, want %s", line, err, c.status)
			}
		})
	}
}

// A write moves the last activity, as in CHP; a read does not.
func TestAWriteIsActivity(t *testing.T) {
	p := start(t, Config{})
	at := func() time.Time {
		t.Helper()
		var o struct {
			At time.Time `json:"last_activity"`
		}
		if err := json.Unmarshal([]byte(p.must(200, "GET", "/api/routes/one", "").body), &o); err != nil {
			t.Fatal(err)
		}
		return o.At
	}
	begin := time.Now().Truncate(time.Millisecond)
	p.must(201, "POST", "/api/routes/one", good)
	first := at()
	if first.Before(begin) || at() != first {
		t.Errorf("written at %v, active at %v and then %v", begin, first, at())
	}
	again := time.Now().Truncate(time.Millisecond)
	p.must(201, "POST", "/api/routes/one", good)
	if second := at(); second.Before(again) {
		t.Errorf("written again at %v, active at %v", again, second)
	}
}

// stamp is a regular expression for a time as JavaScript writes it.
const stamp = `\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z`

func TestATokenIsFoundAsCHPFindsIt(t *testing.T) {
	p := start(t, Config{})
	for header, want := range map[string]int{
		"token " + gatewaytest.Admin:              200,
		"token  " + gatewaytest.Admin:             200,
		"foo token " + gatewaytest.Admin + " bar": 200,
		"Bearer " + gatewaytest.Admin:             200, // ours
		"Token " + gatewaytest.Admin:              403,
		"token" + gatewaytest.Admin:               403,
		"token wrong token " + gatewaytest.Admin:  403,
	} {
		if a := p.send("GET", "/api/routes", header, ""); a.code != want {
			t.Errorf("%s: got %d, want %d", header, a.code, want)
		}
	}
	if a := p.send("GET", "/api/routes?token="+gatewaytest.Admin, "", ""); a.code != 403 {
		t.Errorf("a token in the query: got %d", a.code)
	}
}

func TestAReaderCannotWrite(t *testing.T) {
	p := start(t, Config{})
	p.must(201, "POST", "/api/routes/one", good)
	for _, method := range []string{"POST", "DELETE"} {
		if a := p.send(method, "/api/routes/one", "token "+gatewaytest.Reader, good); a.code != 403 || a.body != "" {
			t.Errorf("%s: got %d %q", method, a.code, a.body)
		}
	}
	if a := p.send("GET", "/api/routes/one", "token "+gatewaytest.Reader, ""); a.code != 200 {
		t.Errorf("GET: got %d", a.code)
	}
}

// JupyterHub sends a token also to a proxy that has none.
func TestAnOpenAPIHasOneKeyForAllWhateverTheyBring(t *testing.T) {
	p := start(t, Config{AnonymousKey: gatewaytest.Admin})
	for _, token := range []string{"", "token anything", "Bearer anything", "Basic Zm9v"} {
		if a := p.send("POST", "/api/routes/one", token, good); a.code != 201 {
			t.Errorf("with %q: got %d", token, a.code)
		}
	}
}

func TestPostedPathsBecomeCHPsKeys(t *testing.T) {
	long := "/" + strings.Repeat("n", 2000)
	for path, want := range map[string]string{
		"": "/", "/": "/", "//": "/", "/tr/": "/tr", "/tr2//": "/tr2", "/a//b": "/a//b",
		"/user/foo%40bar": "/user/foo@bar", "/user/b%20c": "/user/b c", "/user/%2Fslash": "/user//slash",
		"/user%2Fjoined": "/user/joined", "/user/up%41case": "/user/upAcase", "/UPPER": "/UPPER",
		"/user/%E4%BD%A0%E5%A5%BD": "/user/你好", "/user/q%3Fx": "/user/q?x", "/user/h%23x": "/user/h#x",
		"/user/q?x=1": "/user/q", "/user/plus+sign": "/user/plus+sign", "/pct/%25": "/pct/%", "/pct/%252F": "/pct/%2F",
		"/dots/../up": "/up", "/dots/%2e%2e/up2": "/up2", "/nul%00x": "/nul\x00x", "/bs%5Cx": `/bs\x`, `/bs\x`: "/bs/x",
		"/semi;v=1": "/semi;v=1", "/del%7Fx%C2%85": "/del\x7fx\u0085", "/end%2F": "/end", "/constructor": "/constructor",
		long: long,
	} {
		t.Run(path, func(t *testing.T) {
			p := start(t, Config{})
			p.must(201, "POST", "/api/routes"+path, good)
			if got := p.keys("/api/routes"); len(got) != 1 || got[0] != want {
				t.Fatalf("got keys %q, want %q", got, want)
			}
			if p.cp.Route(routeName(want)) == nil {
				t.Errorf("there is no route named %q", routeName(want))
			}
			p.must(201, "POST", "/api/routes"+path, good)
			if strings.Trim(path, "/") != "" {
				p.must(200, "GET", "/api/routes"+path, "")
			}
			p.must(204, "DELETE", "/api/routes"+path, "")
			if got := p.keys("/api/routes"); len(got) != 0 {
				t.Errorf("left over: %q", got)
			}
		})
	}
}

func TestTheRootRouteAloneHasTwoSpellings(t *testing.T) {
	p := start(t, Config{})
	p.must(201, "POST", "/api/routes/", good)
	for _, path := range []string{"/api/routes/%2F", "/api/routes//"} {
		if a := p.must(200, "GET", path, ""); !strings.HasPrefix(a.body, `{"target":`) {
			t.Errorf("%s: got %s", path, a.body)
		}
	}
}

func TestExtraFieldsComeBackByteForByte(t *testing.T) {
	for _, c := range []struct{ name, posted, want string }{
		{"nothing", `{"target":"http://h:1"}`, ``},
		{"what JupyterHub sends", `{"user": "alice", "server_name": "", "target": "http://h:1", "jupyterhub": true}`,
			`"user":"alice","server_name":"","jupyterhub":true,`},
		{"nested values keep their spacing and numbers", `{"target":"http://h:1","n":1.50e3,"big":12345678901234567890,"o":{ "a" : [1, 2 ,{}] }}`,
			`"n":1.50e3,"big":12345678901234567890,"o":{ "a" : [1, 2 ,{}] },`},
		{"last_activity is ours", `{"last_activity":"2000-01-01T00:00:00.000Z","target":"http://h:1"}`, ``},
		{"of two fields with one name the last counts", `{"a":1,"target":"ftp://x","b":2,"a":3,"target":"http://h:1"}`, `"a":3,"b":2,`},
		{"escapes stay as written", `{"\u00e4<&>":"\u0041\/","target":"http://h:1"}`, `"\u00e4<&>":"\u0041\/",`},
		{"an escaped name is the name", `{"t\u0061rget":"http://h:1","x":"\ud800"}`, `"x":"\ud800",`},
		{"names of JavaScript", `{"__proto__":{"x":1},"constructor":2,"target":"http://h:1"}`, `"__proto__":{"x":1},"constructor":2,`},
		{"white space around", " \r\n{ \"a\" : true ,\n\t\"target\" : \"http://h:1\" } \n", `"a":true,`},
		{"without host routing a host is a field", `{"host":"h","target":"http://h:1"}`, `"host":"h",`},
	} {
		t.Run(c.name, func(t *testing.T) {
			p := start(t, Config{})
			p.must(201, "POST", "/api/routes/x", `{"old":true,"target":"http://h:2"}`)
			p.must(201, "POST", "/api/routes/x", c.posted)
			one := p.must(200, "GET", "/api/routes/x", "").body
			want := regexp.MustCompile(`^` + regexp.QuoteMeta(`{"target":"http://h:1",`+c.want+`"last_activity":"`) + stamp + `"}$`)
			if !want.MatchString(one) {
				t.Errorf("got %s, want extras %s", one, c.want)
			}
			if all := p.must(200, "GET", "/api/routes", "").body; all != `{"/x":`+one+`}` {
				t.Errorf("the table has %s", all)
			}
			if data := p.cp.Route("chp/x").GetData(); data != "" && !json.Valid([]byte(data)) {
				t.Errorf("stored data is %s", data)
			}
		})
	}
}

func TestTargetsComeBackByteForByte(t *testing.T) {
	p := start(t, Config{})
	for _, target := range []string{"http://127.0.0.1:1", "http://h/", "HTTP://H:80/a//b?x=<1>&y", "http+unix://%2Frun%2Fa.sock/x", "http://h.example/ä"} {
		p.must(201, "POST", "/api/routes/x", string(mustJSON(t, map[string]string{"target": target})))
		var got struct{ Target string }
		if err := json.Unmarshal([]byte(p.must(200, "GET", "/api/routes/x", "").body), &got); err != nil || got.Target != target {
			t.Errorf("got %q, %v, want %q", got.Target, err, target)
		}
	}
}

func mustJSON(t *testing.T, v any) []byte {
	t.Helper()
	b, err := json.Marshal(v)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func TestTroubleBehindUsIsWorthARepeat(t *testing.T) {
	for code, want := range map[codes.Code]int{
		codes.Unavailable: 503, codes.DeadlineExceeded: 503, codes.ResourceExhausted: 503,
		codes.Internal: 500, codes.Unknown: 500, codes.PermissionDenied: 403, codes.Unauthenticated: 403,
	} {
		p := start(t, Config{})
		p.must(201, "POST", "/api/routes/one", good)
		p.cp.Before(func(string) error { return status.Error(code, "told to fail") })
		for _, call := range []string{"GET /api/routes", "GET /api/routes/one", "POST /api/routes/one", "DELETE /api/routes/one", "GET /api"} {
			method, path, _ := strings.Cut(call, " ")
			if a := p.admin(method, path, good); a.code != want {
				t.Errorf("%s on %v: got %d, want %d", call, code, a.code, want)
			}
		}
	}
}
