package nodepass

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/types/known/durationpb"

	"signalbox/gateway/gatewaytest"
	signalboxv1 "signalbox/proto/gen/signalbox/v1"
	"signalbox/proto/tunnelurl"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// master is a handler behind a real server, before a small control plane.
type master struct {
	t   testing.TB
	cp  *gatewaytest.ControlPlane
	h   *Handler
	srv *httptest.Server
}

func start(t testing.TB, cfg Config) *master {
	t.Helper()
	cp, conn := gatewaytest.Start(t)
	cp.Greet()
	h, err := New(conn, cfg)
	if err != nil {
		t.Fatal(err)
	}
	srv := httptest.NewUnstartedServer(h)
	// A client that reads nothing is to be felt soon.
	srv.Config.ConnContext = func(ctx context.Context, c net.Conn) context.Context {
		if tcp, ok := c.(*net.TCPConn); ok {
			_ = tcp.SetWriteBuffer(64 << 10) // or it is felt later
		}
		return ctx
	}
	srv.Start()
	t.Cleanup(func() {
		h.Close()
		srv.Close()
	})
	return &master{t: t, cp: cp, h: h, srv: srv}
}

// reply is an answer as it came.
type reply struct {
	code   int
	header http.Header // without Date and Content-Length
	length int64
	body   string
}

// send sends a request byte for byte as a client would, and reads the answer.
// What a header is not to have shows.
func (m *master) send(method, path, key, body string, header ...string) reply {
	m.t.Helper()
	conn := m.dial()
	defer func() { _ = conn.Close() }()
	var b strings.Builder
	fmt.Fprintf(&b, "%s %s HTTP/1.1\r\nHost: master\r\nConnection: keep-alive\r\nContent-Length: %d\r\n", method, path, len(body))
	if key != "" {
		fmt.Fprintf(&b, "X-API-Key: %s\r\n", key)
	}
	for i := 0; i < len(header); i += 2 {
		fmt.Fprintf(&b, "%s: %s\r\n", header[i], header[i+1])
	}
	if _, err := io.WriteString(conn, b.String()+"\r\n"+body); err != nil {
		m.t.Fatal(err)
	}
	res, err := http.ReadResponse(bufio.NewReader(conn), &http.Request{Method: method})
	if err != nil {
		m.t.Fatalf("%s %s: %v", method, path, err)
	}
	text, err := io.ReadAll(res.Body)
	if err != nil {
		m.t.Fatal(err)
	}
	res.Header.Del("Date")
	res.Header.Del("Content-Length")
	return reply{res.StatusCode, res.Header, res.ContentLength, string(text)}
}

// dial connects, for so long as a test may take.
func (m *master) dial() net.Conn {
	m.t.Helper()
	var d net.Dialer
	conn, err := d.DialContext(m.t.Context(), "tcp", m.srv.Listener.Addr().String())
	if err != nil {
		m.t.Fatal(err)
	}
	if err := conn.SetDeadline(time.Now().Add(time.Minute)); err != nil {
		m.t.Fatal(err)
	}
	return conn
}

// ask sends a request with the admin's key that has to have a status, and reads
// the answer into v.
func (m *master) ask(code int, method, path, body string, v any) {
	m.t.Helper()
	res := m.send(method, "/api/v1"+path, gatewaytest.Admin, body)
	if res.code != code {
		m.t.Fatalf("%s %s: got %d %s, want %d", method, path, res.code, res.body, code)
	}
	if v == nil {
		return
	}
	if err := json.Unmarshal([]byte(res.body), v); err != nil {
		m.t.Fatal(err)
	}
}

// put has an instance written, and observed to run.
func (m *master) put(i *signalboxv1.Instance) {
	m.t.Helper()
	if err := m.cp.PutInstances(i); err != nil {
		m.t.Fatal(err)
	}
}

// runs has an instance observed in a state.
func (m *master) runs(name string, s signalboxv1.InstanceState) {
	m.cp.Observe(name, func(o *signalboxv1.InstanceObserved) { o.State = s })
}

// States for short.
const (
	isRunning  = signalboxv1.InstanceState_INSTANCE_STATE_RUNNING
	isStarting = signalboxv1.InstanceState_INSTANCE_STATE_STARTING
	isStopped  = signalboxv1.InstanceState_INSTANCE_STATE_STOPPED
	isError    = signalboxv1.InstanceState_INSTANCE_STATE_ERROR
)

func TestPrefixes(t *testing.T) {
	for _, c := range []struct {
		prefixes []string
		path     string
		base     string // empty: another API's
	}{
		{nil, "/api/instances", "/api"},
		{nil, "/api/v1/instances", "/api/v1"},
		{nil, "/api/v1", "/api/v1"},
		{nil, "/api/v1/nosuch", "/api/v1"},
		{nil, "/api/docs/page.js", "/api"},
		{nil, "/api", ""},
		{nil, "/api/", ""},
		{nil, "/api/routes", ""},
		{nil, "/api/routes/info", ""},
		{nil, "/api/infos", ""},
		{nil, "/apix/info", ""},
		{nil, "/v1/instances", ""},
		{nil, "/v1/events", ""},
		{nil, "/events", ""},
		{[]string{"/"}, "/api/info", "/api"},
		{[]string{""}, "/api/v1/info", "/api/v1"},
		{[]string{"/admin/"}, "/admin/v1/info", "/admin/v1"},
		{[]string{"/admin"}, "/admin/info", "/admin"},
		{[]string{"/admin"}, "/admin", "/admin"},
		{[]string{"/admin"}, "/api/v1/info", ""},
		{[]string{"/a/b"}, "/a/b/v1/info", "/a/b/v1"},
		{[]string{"/a/b"}, "/a/info", ""},
		{[]string{"/api/v1"}, "/api/v1/v1/info", "/api/v1/v1"},
		{[]string{"/api", "/admin"}, "/admin/info", "/admin"},
		{[]string{"/api", "/admin"}, "/api/info", "/api"},
	} {
		h, err := New(nil, Config{Prefixes: c.prefixes})
		if err != nil {
			t.Fatal(err)
		}
		if base, _, ok := h.split(c.path); base != c.base || ok != (c.base != "") {
			t.Errorf("%q: %s is below %q, %v; want %q", c.prefixes, c.path, base, ok, c.base)
		}
	}
	for _, bad := range []string{"/v1", "/v1/x", "/docs", "/healthz", "/api/routes", "/api/routes/x", "api", "/a//b", "/a/../b", "/a?b", "/%61", "/openapi.json"} {
		if _, err := New(nil, Config{Prefixes: []string{bad}}); err == nil || !strings.Contains(err.Error(), bad) {
			t.Errorf("%q: %v", bad, err)
		}
	}
}

// whole is an instance of which everything is known.
func whole() *signalboxv1.Instance {
	return &signalboxv1.Instance{
		Name: "c03c5467", Alias: "web", Url: "server://k@127.0.0.1:19101/127.0.0.1:19102?log=info&tls=1", Restart: true,
		Tags: map[string]string{"b": "2", "a": "<1>"},
		Peer: &signalboxv1.InstancePeer{Sid: "s", Type: "t", Alias: "p"},
		Observed: &signalboxv1.InstanceObserved{
			State: isRunning,
			Runs: []*signalboxv1.InstanceRun{
				{Node: "n1", Mode: signalboxv1.InstanceMode_INSTANCE_MODE_CLIENT_RECEIVES, Ping: durationpb.New(7 * time.Millisecond), Pool: 3, TcpConnections: 2, UdpSessions: 1},
				{Node: "n2", Ping: durationpb.New(9 * time.Millisecond), Pool: 4},
			},
			Counters: &signalboxv1.InstanceCounters{TcpReceived: 1 << 63, TcpSent: 2, UdpReceived: 3, UdpSent: 4},
		},
	}
}

func TestAnInstanceIsShownAsBy1_14(t *testing.T) {
	const want = `{"id":"c03c5467","alias":"web","type":"server","status":"running",` +
		`"url":"server://k@127.0.0.1:19101/127.0.0.1:19102?log=info\u0026tls=1",` +
		`"config":"server://k@127.0.0.1:19101/127.0.0.1:19102?block=0\u0026dial=auto\u0026log=info\u0026max=8192\u0026mode=0\u0026notcp=0\u0026noudp=0\u0026proxy=0\u0026rate=0\u0026read=0\u0026slot=0\u0026tls=1\u0026type=0\u0026wire=auto",` +
		`"restart":true,"meta":{"peer":{"sid":"s","type":"t","alias":"p"},"tags":{"a":"\u003c1\u003e","b":"2"}},` +
		`"mode":2,"ping":9,"pool":7,"tcps":2,"udps":1,"tcprx":9223372036854775808,"tcptx":2,"udprx":3,"udptx":4}`
	got, err := json.Marshal(object(whole()))
	if err != nil || string(got) != want {
		t.Errorf("got\n%s, %v; want\n%s", got, err, want)
	}
}

// However little is known, every field is there, and meta is whole.
func TestEveryFieldIsAlwaysThere(t *testing.T) {
	fields := func(o instance) string {
		b, err := json.Marshal(o)
		if err != nil {
			t.Fatal(err)
		}
		var names []string
		dec := json.NewDecoder(bytes.NewReader(b))
		for {
			tok, err := dec.Token()
			if err == io.EOF {
				return strings.Join(names, " ")
			}
			names = append(names, fmt.Sprint(tok))
		}
	}
	for _, o := range []instance{object(nil), object(&signalboxv1.Instance{Name: "x"}), keyObject("k", "m")} {
		got := fields(o)
		for _, name := range strings.Fields("id alias type status url config restart meta peer sid tags mode ping pool tcps udps tcprx tcptx udprx udptx") {
			if !strings.Contains(" "+got+" ", " "+name+" ") {
				t.Errorf("%s has no %s", got, name)
			}
		}
	}
}

func TestStatusAndMode(t *testing.T) {
	for s, want := range map[signalboxv1.InstanceState]string{0: "stopped", isStopped: "stopped", isStarting: "running", isRunning: "running", isError: "error"} {
		if got := statusOf(s); got != want {
			t.Errorf("%v: %s, want %s", s, got, want)
		}
	}
	for _, c := range []struct {
		mode signalboxv1.InstanceMode
		role string
		want int
	}{
		{0, "server", 0},
		{signalboxv1.InstanceMode_INSTANCE_MODE_SINGLE, "client", 1},
		{signalboxv1.InstanceMode_INSTANCE_MODE_SERVER_RECEIVES, "server", 1},
		{signalboxv1.InstanceMode_INSTANCE_MODE_SERVER_RECEIVES, "client", 2},
		{signalboxv1.InstanceMode_INSTANCE_MODE_CLIENT_RECEIVES, "server", 2},
		{signalboxv1.InstanceMode_INSTANCE_MODE_CLIENT_RECEIVES, "client", 2},
	} {
		if got := modeOf(c.mode, c.role); got != c.want {
			t.Errorf("%v of a %s: %d, want %d", c.mode, c.role, got, c.want)
		}
	}
}

// What is written out means what was written.
func FuzzConfig(f *testing.F) {
	f.Add("server://k@0.0.0.0:10101/127.0.0.1:8080?tls=1&min=3&rate=8&read=30s&zz=1")
	f.Add("client://[::1]:22/db:22,x:1?min=0&max=x&block=12&dial=127.0.0.1&proxy=1&noudp=1&mode=2")
	f.Fuzz(func(t *testing.T, s string) {
		want, err := tunnelurl.Parse(s)
		got := configOf(s)
		if err != nil {
			if got != "" {
				t.Fatalf("%q cannot be read, and is written out as %q", s, got)
			}
			return
		}
		if len(got) > tunnelurl.MaxLength {
			return
		}
		if want.Block == "" {
			want.Block = "0" // the same: it names nothing
		}
		read, err := tunnelurl.Parse(got)
		if err != nil || fmt.Sprintf("%+v", read) != fmt.Sprintf("%+v", want) {
			t.Fatalf("%q: %+v\n%q: %+v, %v", s, want, got, read, err)
		}
	})
}

// bounded is a context for what must come.
func bounded(t testing.TB) context.Context {
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	t.Cleanup(cancel)
	return ctx
}

// unavailable is how a control plane fails that is going away.
func unavailable() error { return status.Error(codes.Unavailable, "going away") }
