package chp

import (
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"google.golang.org/protobuf/proto"

	signalboxv1 "signalbox/proto/gen/signalbox/v1"
)

const (
	putMethod    = signalboxv1.RouteService_PutRoute_FullMethodName
	deleteMethod = signalboxv1.RouteService_DeleteRoute_FullMethodName
	listMethod   = signalboxv1.RouteService_ListRoutes_FullMethodName
)

func TestAWriteWaitsForTheNodesAndNamesThoseThatAreLate(t *testing.T) {
	p := start(t, Config{WaitTimeout: 3 * time.Second})
	a := p.must(201, "POST", "/api/routes/x", good)
	if got := a.header.Get("signalbox-revision"); got != "101" || a.header["Signalbox-Lagging"] != nil {
		t.Errorf("got %v", a.header)
	}
	p.cp.Nodes([]string{"node-a", "node-b"},
		&signalboxv1.Rejection{Node: "node-c", Reason: "upstreams[0].url: sockets\nare not allowed"},
		&signalboxv1.Rejection{Node: "node-d", Reason: "nö"})
	for _, method := range []string{"POST", "DELETE"} {
		a := p.admin(method, "/api/routes/x", good)
		if a.code/100 != 2 || a.header.Get("signalbox-lagging") != "node-a,node-b" ||
			!slices.Equal(a.header["Signalbox-Rejected"], []string{"node-c: upstreams[0].url: sockets?are not allowed", "node-d: n?"}) {
			t.Errorf("%s: got %d %v", method, a.code, a.header)
		}
	}
	for _, call := range p.cp.Calls() {
		if w, ok := call.Request.(interface {
			GetWait() signalboxv1.Wait
		}); ok && w.GetWait() != signalboxv1.Wait_WAIT_NODES {
			t.Errorf("%s does not wait", call.Method)
		}
		if put, ok := call.Request.(*signalboxv1.PutRouteRequest); ok && put.GetWaitTimeout().AsDuration() != 3*time.Second {
			t.Errorf("it waits %v", put.GetWaitTimeout().AsDuration())
		}
	}
}

func TestARouteIsFoundByItsMatchWhateverItsName(t *testing.T) {
	p := start(t, Config{})
	theirs := route("made/by-hand", "", "/x", "http://old:1", "http://old:2")
	theirs.Policy = &signalboxv1.RoutePolicy{StripPrefix: proto.Bool(true)}
	theirs.Labels = map[string]string{"team": "red"}
	theirs.Data = `{"old":1}`
	p.put(theirs)

	p.must(201, "POST", "/api/routes/x", `{"target":"http://new:1","new":2}`)
	got := p.cp.Route("made/by-hand")
	if got.GetUpstreams()[0].GetUrl() != "http://new:1" || len(got.GetUpstreams()) != 1 || got.GetData() != `{"new":2}` {
		t.Errorf("it was not replaced: %v", got)
	}
	if !got.GetPolicy().GetStripPrefix() || got.GetLabels()["team"] != "red" {
		t.Errorf("what CHP cannot say was lost: %v", got)
	}
	if p.cp.Route("chp/x") != nil {
		t.Error("there is a second route")
	}
	p.must(204, "DELETE", "/api/routes/x", "")
	if p.cp.Route("made/by-hand") != nil {
		t.Error("it is still there")
	}
}

func TestANameThatIsTakenIsPassedBy(t *testing.T) {
	p := start(t, Config{})
	p.put(route("chp/x", "", "/elsewhere", "http://other:1"))
	p.put(route("chp/x%~1", "", "/elsewhere/too", "http://other:1"))
	p.must(201, "POST", "/api/routes/x", good)
	if got := p.cp.Route("chp/x"); got.GetMatch().GetPathPrefix() != "/elsewhere" {
		t.Errorf("the other route was overwritten: %v", got)
	}
	if p.cp.Route("chp/x%~2") == nil {
		t.Error("the route has another name")
	}
	p.must(200, "GET", "/api/routes/x", "")
	p.must(201, "POST", "/api/routes/x", good)
	p.must(204, "DELETE", "/api/routes/x", "")
	p.must(404, "GET", "/api/routes/x", "")
}

// between has f called once, before the first call of a method.
func (p *proxy) between(method string, f func()) {
	var once bool
	p.cp.Before(func(m string) error {
		if m == method && !once {
			once = true
			f()
		}
		return nil
	})
}

func TestWritersThatRaceAllSucceed(t *testing.T) {
	for _, c := range []struct {
		name   string
		method string
		call   string // before which another changes the route
		change func(*proxy)
		code   int
		target string
	}{
		{"written again", "POST", putMethod, func(p *proxy) { p.put(route("chp/x", "", "/x", "http://theirs:1")) }, 201, "http://127.0.0.1:1111"},
		{"removed", "POST", putMethod, func(p *proxy) { p.drop("chp/x") }, 201, "http://127.0.0.1:1111"},
		{"made under another name", "POST", putMethod, func(p *proxy) { p.drop("chp/x"); p.put(route("other", "", "/x", "http://theirs:1")) }, 201, "http://127.0.0.1:1111"},
		{"written before it is removed", "DELETE", deleteMethod, func(p *proxy) { p.put(route("chp/x", "", "/x", "http://theirs:1")) }, 204, ""},
		{"removed before it is removed", "DELETE", deleteMethod, func(p *proxy) { p.drop("chp/x") }, 404, ""},
		{"moved before it is removed", "DELETE", deleteMethod, func(p *proxy) { p.put(route("chp/x", "", "/y", "http://theirs:1")) }, 404, ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			p := start(t, Config{})
			p.must(201, "POST", "/api/routes/x", `{"target":"http://before:1"}`)
			p.between(c.call, func() { c.change(p) })
			p.must(c.code, c.method, "/api/routes/x", good)
			one := p.admin("GET", "/api/routes/x", "")
			if c.target == "" && one.code != 404 || c.target != "" && !strings.Contains(one.body, c.target) {
				t.Errorf("now it is %d %s", one.code, one.body)
			}
		})
	}
}

// drop removes a route as another client does.
func (p *proxy) drop(name string) {
	p.t.Helper()
	if _, err := p.cp.DeleteRoute(p.t.Context(), &signalboxv1.DeleteRouteRequest{Name: name}); err != nil {
		p.t.Fatal(err)
	}
}

func TestARaceThatNeverEndsIsWorthARepeat(t *testing.T) {
	p := start(t, Config{})
	p.must(201, "POST", "/api/routes/x", good)
	p.cp.Before(func(m string) error {
		if m == putMethod || m == deleteMethod {
			p.put(route("chp/x", "", "/x", "http://theirs:1"))
		}
		return nil
	})
	for _, method := range []string{"POST", "DELETE"} {
		if a := p.admin(method, "/api/routes/x", good); a.code != 503 || a.header.Get("Retry-After") == "" {
			t.Errorf("%s: got %d %v", method, a.code, a.header)
		}
	}
}

func TestHostRouting(t *testing.T) {
	p := start(t, Config{HostRouting: true})
	p.must(201, "POST", "/api/routes/", `{"target":"http://root:1","host":"kept"}`)
	p.must(201, "POST", "/api/routes/H.example/a", `{"host":"overwritten","target":"http://h:1","x":1}`)
	r := p.cp.Route("chp/H.example/a")
	if r.GetMatch().GetHost() != "h.example" || r.GetMatch().GetPathPrefix() != "/a" || r.GetData() != `{"host":"H.example","x":1}` {
		t.Errorf("got %v", r)
	}
	if data := p.cp.Route("chp").GetData(); data != `{"host":"kept"}` {
		t.Errorf("the root's data is %s", data)
	}
	if got := p.keys("/api/routes"); !slices.Equal(got, []string{"/", "/h.example/a"}) {
		t.Errorf("got %q", got)
	}
	p.must(201, "POST", "/api/routes/h.EXAMPLE/a", good) // the same host
	p.must(204, "DELETE", "/api/routes/H.example/a", "")
	if a := p.admin("POST", "/api/routes/%2Fa", good); a.code != 400 {
		t.Errorf("a key without a host: got %d", a.code)
	}
	for method, want := range map[string]int{"POST": 400, "GET": 404, "DELETE": 404} {
		if a := p.admin(method, "/api/routes/not%20a%20host/a", good); a.code != want {
			t.Errorf("%s of a host that is none: got %d %q", method, a.code, a.body)
		}
	}
}

func TestABodyTooLongIsRefused(t *testing.T) {
	p := start(t, Config{MaxBody: 100})
	a := p.admin("POST", "/api/routes/x", `{"target":"http://h:1","x":"`+strings.Repeat("x", 100)+`"}`)
	if a.code != http.StatusRequestEntityTooLarge || a.body != "Body longer than 100 bytes" {
		t.Errorf("got %d %q", a.code, a.body)
	}
}

// JupyterHub's conversation, byte for byte.
func TestJupyterHubsCalls(t *testing.T) {
	p := start(t, Config{})
	p.must(200, "GET", "/api/routes", "")
	for _, c := range []struct{ path, body string }{
		{"/", `{"hub": true, "target": "http://127.0.0.1:21088", "jupyterhub": true}`},
		{"/services/echo", `{"service": "echo", "target": "http://127.0.0.1:21089", "jupyterhub": true}`},
		{"/user/bob@example.com", `{"user": "bob@example.com", "server_name": "", "target": "http://127.0.0.1:54813", "jupyterhub": true}`},
		{"/user/%C3%BCn%C3%AF", `{"user": "ünï", "server_name": "", "target": "http://127.0.0.1:54814", "jupyterhub": true}`},
	} {
		if a := p.must(201, "POST", "/api/routes"+c.path, c.body); a.body != "" {
			t.Errorf("%s: got %q", c.path, a.body)
		}
	}
	if got := p.keys("/api/routes"); !slices.Equal(got, []string{"/", "/services/echo", "/user/bob@example.com", "/user/ünï"}) {
		t.Errorf("got %q", got)
	}
	p.must(204, "DELETE", "/api/routes/user/%C3%BCn%C3%AF", "")
	p.must(404, "DELETE", "/api/routes/user/%C3%BCn%C3%AF", "")
}
