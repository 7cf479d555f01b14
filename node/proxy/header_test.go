package proxy_test

import (
	"strings"
	"testing"

	signalboxv1 "signalbox/proto/gen/signalbox/v1"
)

// seen sends a request through the node and returns what the upstream got, in
// lower case.
func (n *node) seen(o *origin, request ...string) string {
	n.t.Helper()
	c := n.dial()
	c.send(request...)
	up := o.accept(n.t)
	head := up.head()
	up.raw("HTTP/1.1 204 No Content\r\nConnection: close\r\n\r\n")
	c.answer()
	_ = c.Close()
	_ = up.Close()
	return strings.ToLower(head)
}

func TestForwardingHeadersOfStrangersAreReplaced(t *testing.T) {
	n := plain(t)
	o := scripted(t)
	n.route("/", o.url)
	got := n.seen(o, "GET / HTTP/1.1", "Host: h",
		"X-Forwarded-For: 9.9.9.9", "X-Forwarded-Proto: https", "X-Forwarded-Host: evil", "X-Forwarded-Port: 1", "X-Forwarded-Prefix: /p",
		"X-Forwarded: evil", "Forwarded: for=9.9.9.9", "X-Real-IP: 9.9.9.9", "X-Client-IP: 9.9.9.9", "True-Client-IP: 9.9.9.9",
		"X-Original-URL: /admin", "X-Original-Forwarded-For: 9.9.9.9", "Proxy: http://evil", "X-Other: stays")
	want := "get / http/1.1\nhost: h\nx-forwarded-for: 127.0.0.1\nx-forwarded-host: h\nx-forwarded-port: 80\nx-forwarded-proto: http\nx-other: stays"
	if got := lines(got); got != want {
		t.Errorf("got\n%s\nwant\n%s", got, want)
	}
}

func TestForwardingHeadersOfTrustedProxiesAreContinued(t *testing.T) {
	n := plain(t)
	o := scripted(t)
	n.route("/", o.url)
	n.listener(&signalboxv1.Listener{TrustedProxies: []string{"127.0.0.0/8", "10.0.0.1"}})
	got := n.seen(o, "GET / HTTP/1.1", "Host: h", "X-Forwarded-For: 9.9.9.9, 1.1.1.1", "X-Forwarded-For: 10.0.0.1",
		"X-Forwarded-Proto: http, https", "X-Forwarded-Host: pub", "X-Real-IP: 1.1.1.1", "Forwarded: for=1.1.1.1")
	want := "get / http/1.1\nhost: h\nforwarded: for=1.1.1.1\nx-forwarded-for: 9.9.9.9, 1.1.1.1, 10.0.0.1, 127.0.0.1\n" +
		"x-forwarded-host: pub\nx-forwarded-port: 80\nx-forwarded-proto: https\nx-real-ip: 1.1.1.1"
	if got := lines(got); got != want {
		t.Errorf("got\n%s\nwant\n%s", got, want)
	}
	// from right to left, the first that is not trusted
	eventually(t, "the client is known", func() bool { return strings.Contains(n.log.String(), "client=1.1.1.1 ") })
}

func TestCookiesGoOnInOneLine(t *testing.T) {
	n := plain(t)
	o := scripted(t)
	n.route("/", o.url)
	got := n.seen(o, "GET / HTTP/1.1", "Host: h", "Cookie: a=1", "X-Dup: 1", "Cookie: b=2; c=3", "X-Dup: 2")
	if got := lines(got, "x-forwarded"); got != "get / http/1.1\nhost: h\ncookie: a=1; b=2; c=3\nx-dup: 1\nx-dup: 2" {
		t.Errorf("got\n%s", got)
	}
}

func TestWhatBelongsToOneConnectionStaysThere(t *testing.T) {
	n := plain(t)
	o := scripted(t)
	n.route("/", o.url)
	got := n.seen(o, "GET / HTTP/1.1", "Host: h", "Connection: keep-alive, X-Secret , x-forwarded-for", "X-Secret: 1", "Keep-Alive: timeout=5",
		"Proxy-Connection: keep-alive", "Proxy-Authorization: Basic x", "Proxy-Authenticate: x", "TE: gzip;q=0.5, trailers;q=0.1", "Alt-Svc: x", "Upgrade: h2c")
	want := "get / http/1.1\nhost: h\nte: trailers\nx-forwarded-for: 127.0.0.1\nx-forwarded-host: h\nx-forwarded-port: 80\nx-forwarded-proto: http"
	if got := lines(got); got != want {
		t.Errorf("got\n%s\nwant\n%s", got, want)
	}
}

func TestResponsesKeepOnlyWhatIsEndToEnd(t *testing.T) {
	n := plain(t)
	o := scripted(t)
	n.route("/", o.url)
	c := n.dial()
	c.send("GET / HTTP/1.1", "Host: h")
	up := o.accept(t)
	up.head()
	up.raw("HTTP/1.1 200 OK\r\nConnection: X-Secret\r\nX-Secret: 1\r\nKeep-Alive: timeout=5\r\nAlt-Svc: h3\r\nUpgrade: h2c\r\n" +
		"Proxy-Authenticate: x\r\nContent-Length: 2\r\nX-Other_name: stays\r\nEtag: \"e\"\r\nDate: d\r\n\r\nab")
	if got := lines(c.head()); got != "HTTP/1.1 200 OK\nContent-Length: 2\nDate: d\nEtag: \"e\"\nX-Other_name: stays" {
		t.Errorf("got\n%s", got)
	}
	if got := c.exactly(2); got != "ab" {
		t.Errorf("got %q", got)
	}
}

func TestTheUpstreamsConnectionCloseIsNotTheClients(t *testing.T) {
	n := plain(t)
	o := scripted(t)
	n.route("/", o.url)
	c := n.dial()
	for range 2 {
		c.send("GET / HTTP/1.1", "Host: h")
		up := o.accept(t)
		up.head()
		up.raw("HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 2\r\n\r\nab")
		if res, body := c.answer(); res.StatusCode != 200 || body != "ab" || res.Header.Get("Connection") != "" {
			t.Errorf("%v %s", res, body)
		}
		if got := up.rest(); got != "" {
			t.Errorf("after its close the upstream got %q", got)
		}
	}
}

func TestOddHeaderNamesAreDroppedUnlessAllowed(t *testing.T) {
	n := plain(t)
	o := scripted(t)
	n.route("/", o.url)
	odd := []string{"GET / HTTP/1.1", "Host: h", "X_Forwarded_For: 9.9.9.9", "x.dot: 1", "my_name: 1", "fine-name: 1"}
	if got := lines(n.seen(o, odd...), "x-forwarded"); got != "get / http/1.1\nhost: h\nfine-name: 1" {
		t.Errorf("got\n%s", got)
	}
	n.listener(&signalboxv1.Listener{AllowedHeaderNames: []string{"MY_name"}})
	if got := lines(n.seen(o, odd...), "x-forwarded"); got != "get / http/1.1\nhost: h\nfine-name: 1\nmy_name: 1" {
		t.Errorf("got\n%s", got)
	}
}

func TestATrustedProxyDoesNotVouchForOddHeaderNames(t *testing.T) {
	n := plain(t)
	o := scripted(t)
	n.route("/", o.url)
	n.listener(&signalboxv1.Listener{TrustedProxies: []string{"127.0.0.0/8"}})
	got := n.seen(o, "GET / HTTP/1.1", "Host: h", "X-Forwarded-For: 1.1.1.1", "X-Forwarded_For: 9.9.9.9", "X-Forwarded.Proto: gopher", "X-Original-U_R_L: /x")
	if strings.ContainsAny(strings.ReplaceAll(got, "127.0.0.1", ""), "_9") || strings.Contains(got, "gopher") || !strings.Contains(got, "1.1.1.1, 127.0.0.1") {
		t.Errorf("got\n%s", got)
	}
}

func TestTheHostIsTheClientsOrTheUpstreams(t *testing.T) {
	n := plain(t)
	o := scripted(t)
	rec := n.record("/up", o.url)
	rec.Policy = &signalboxv1.RoutePolicy{Host: signalboxv1.HostHeader_HOST_HEADER_UPSTREAM}
	n.put(n.record("/", o.url), rec)
	address := strings.TrimPrefix(o.url, "http://")
	for _, c := range []struct{ request, host, want string }{
		{"GET / HTTP/1.1", "Host: Pub.Example:80", "host: pub.example:80"},
		{"GET /up HTTP/1.1", "Host: pub", "host: " + address},
		{"GET http://Other:81/abs?q HTTP/1.1", "Host: pub", "host: other:81"}, // RFC 9112, section 3.2.2
		{"GET / HTTP/1.0", "X: y", "host: " + address},
	} {
		if got := n.seen(o, c.request, c.host); !strings.Contains(got, "\n"+c.want+"\r") {
			t.Errorf("%s: the upstream got %s", c.request, got)
		}
	}
}

func TestTheTargetIsSentAsItCame(t *testing.T) {
	n := plain(t)
	o := scripted(t)
	strip := n.record("/strip", o.url)
	yes := true
	strip.Policy = &signalboxv1.RoutePolicy{StripPrefix: &yes}
	n.put(n.record("/", o.url), n.record("/pre", o.url+"/base?k=v"), strip, n.record("/sp", o.url))
	for sent, want := range map[string]string{
		"/a%2Fb//c;d?x=1;y=%zz&z": "/a%2Fb//c;d?x=1;y=%zz&z",
		"/a?":                     "/a?",
		"//x/y":                   "//x/y",
		"/x{}^|`":                 "/x{}^|`",
		"http://h/abs%2F?q":       "/abs%2f?q",
		"http://h?q":              "/?q",
		"http://h":                "/",
		"/pre/x?q=1":              "/base/pre/x?k=v&q=1",
		"/strip/users":            "/users",
		"/strip":                  "/",
		"/strip/a%2Fb;c":          "/a%2fb;c",
		"/strip%2fa":              "/a",
		"/spam":                   "/spam",
		"/user/../%2e/b":          "/b",
	} {
		got, _, _ := strings.Cut(n.seen(o, "GET "+sent+" HTTP/1.1", "Host: h"), " http/1.1")
		if got != "get "+strings.ToLower(want) {
			t.Errorf("%s: the upstream got %q, want %q", sent, got, want)
		}
	}
	// bytes that no URL has, after two slashes, are the one exception
	if got := n.seen(o, "GET //x%2F{}^?{} HTTP/1.1", "Host: h"); !strings.HasPrefix(got, "get //x%2f%7b%7d%5e?{} ") {
		t.Errorf("the upstream got %s", got)
	}
	if got := n.seen(o, "OPTIONS * HTTP/1.1", "Host: h"); !strings.HasPrefix(got, "options * ") {
		t.Errorf("the upstream got %s", got)
	}
}

// What CDNs say of their clients is as good as who says it.
func TestAStrangersWordForItsAddressGoesNoFurther(t *testing.T) {
	n := plain(t)
	o := scripted(t)
	n.route("/", o.url)
	said := []string{"GET / HTTP/1.1", "Host: h", "Early-Data: 1"} // which no proxy may remove (RFC 8470, section 5.1)
	for _, name := range []string{"CF-Connecting-IP", "CF-Connecting-IPv6", "True-Client-IP", "Fastly-Client-IP", "Fly-Client-IP", "X-Azure-ClientIP",
		"X-Envoy-External-Address", "X-Real-IP", "X-Client-IP", "Client-IP", "X-Remote-Addr"} {
		said = append(said, name+": 9.9.9.9")
	}
	if got := n.seen(o, said...); strings.Contains(got, "9.9.9.9") || !strings.Contains(got, "early-data: 1") {
		t.Errorf("from a stranger, the upstream got %s", got)
	}
	n.listener(&signalboxv1.Listener{TrustedProxies: []string{"127.0.0.0/8"}})
	if got := n.seen(o, said...); strings.Count(got, "9.9.9.9") != len(said)-3 {
		t.Errorf("from a trusted proxy, the upstream got %s", got)
	}
}
