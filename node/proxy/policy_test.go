package proxy_test

import (
	"net/http"
	"strings"
	"testing"

	"google.golang.org/protobuf/proto"

	signalboxv1 "signalbox/proto/gen/signalbox/v1"
)

func TestForwardingHeadersCanBeLeftAlone(t *testing.T) {
	n := plain(t)
	o := scripted(t)
	rec := n.record("/", o.url)
	rec.Policy = &signalboxv1.RoutePolicy{Forwarding: signalboxv1.Forwarding_FORWARDING_PASS}
	n.put(rec)
	got := lines(n.seen(o, "GET / HTTP/1.1", "Host: h", "X-Forwarded-For: 9.9.9.9", "X-Forwarded-Proto: https", "Connection: close, X-Mine", "X-Mine: 1"))
	if want := "get / http/1.1\nhost: h\nx-forwarded-for: 9.9.9.9\nx-forwarded-proto: https"; got != want {
		t.Errorf("got\n%s\nwant\n%s", got, want)
	}
}

func TestThePathOfTheUpstreamCanBeLeftOut(t *testing.T) {
	n := plain(t)
	o := scripted(t)
	drop, both := n.record("/drop", o.url+"/base?k=v"), n.record("/both", o.url+"/base?k=v")
	drop.Policy = &signalboxv1.RoutePolicy{DropUpstreamPath: proto.Bool(true)}
	both.Policy = &signalboxv1.RoutePolicy{DropUpstreamPath: proto.Bool(true), StripPrefix: proto.Bool(true)}
	n.put(drop, both)
	for sent, want := range map[string]string{"/drop/x?q=1": "/drop/x?q=1", "/both/x?q=1": "/x?q=1", "/both": "/"} {
		if got := n.seen(o, "GET "+sent+" HTTP/1.1", "Host: h"); !strings.HasPrefix(got, "get "+want+" ") {
			t.Errorf("%s: the upstream got %s", sent, got)
		}
	}
}

func TestRequestHeadersAreChangedLast(t *testing.T) {
	n := plain(t)
	o := scripted(t)
	rec := n.record("/", o.url)
	rec.Policy = &signalboxv1.RoutePolicy{
		Host: signalboxv1.HostHeader_HOST_HEADER_UPSTREAM,
		RequestHeaders: &signalboxv1.HeaderChanges{
			Set:    map[string]string{"x-forwarded-proto": "https", "X-Team": "red", "host": "inner.example"},
			Remove: []string{"cookie", "X-Forwarded-Port", "User-Agent"},
		},
	}
	n.put(rec)
	for range 2 { // what is shared is not changed by use
		got := lines(n.seen(o, "GET / HTTP/1.1", "Host: h", "Cookie: a=1", "X-Team: blue", "X-Team: green", "User-Agent: me"))
		want := "get / http/1.1\nhost: inner.example\nx-forwarded-for: 127.0.0.1\nx-forwarded-host: h\nx-forwarded-proto: https\nx-team: red"
		if got != want {
			t.Errorf("got\n%s\nwant\n%s", got, want)
		}
	}
}

func TestResponseHeadersAreChangedLast(t *testing.T) {
	n := plain(t)
	n.listener(&signalboxv1.Listener{RouteDefaults: &signalboxv1.RoutePolicy{ResponseHeaders: &signalboxv1.HeaderChanges{
		Set: map[string]string{"strict-transport-security": "max-age=1"}, Remove: []string{"Server", "x-powered-by"},
	}}})
	n.route("/", web(t, func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Server", "it")
		w.Header().Set("X-Powered-By", "it")
		w.Header().Set("X-Stays", "1")
	}))
	c := n.dial()
	for range 2 {
		c.send("GET / HTTP/1.1", "Host: h")
		a, _ := c.answer()
		if h := a.Header; h.Get("Server") != "" || h.Get("X-Powered-By") != "" || h.Get("X-Stays") != "1" || h.Get("Strict-Transport-Security") != "max-age=1" {
			t.Errorf("got %v", h)
		}
	}
}

// Redirections to the upstream lead back to the node, and no others.
func TestLocationsAreRewritten(t *testing.T) {
	n := plain(t)
	var status int
	var location string
	up := web(t, func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Location", location)
		w.WriteHeader(status)
	})
	address := strings.TrimPrefix(up, "http://")
	never, host, scheme, both := n.record("/never", up), n.record("/host", up), n.record("/scheme", up), n.record("/both", up)
	host.Policy = &signalboxv1.RoutePolicy{Location: &signalboxv1.LocationRewrite{Host: true}}
	scheme.Policy = &signalboxv1.RoutePolicy{Location: &signalboxv1.LocationRewrite{Scheme: "https"}}
	both.Policy = &signalboxv1.RoutePolicy{Location: &signalboxv1.LocationRewrite{Host: true, Scheme: "https"}}
	n.put(never, host, scheme, both)
	for _, c := range []struct {
		path     string
		status   int
		location string
		want     string
	}{
		{"/host", 302, up + "/w?q#f", "http://pub:81/w?q#f"},
		{"/host", 303, up + "?q", "http://pub:81/?q"},
		{"/host", 201, "https://" + address, "https://pub:81/"},
		{"/scheme", 302, up + "#f", "https://" + address + "/#f"},
		{"/never", 302, up, up},
		{"/host", 301, "HTTP://" + address + "/", "HTTP://pub:81/"},
		{"/scheme", 307, up + "/w", "https://" + address + "/w"},
		{"/both", 308, up + "/w", "https://pub:81/w"},
		{"/both", 302, "http://other/" + address, "http://other/" + address},
		{"/both", 302, up + "0/", up + "0/"}, // another port
		{"/both", 302, "//" + address + "/", "//" + address + "/"},
		{"/both", 302, "/relative?to=" + up, "/relative?to=" + up},
		{"/both", 302, "ftp://" + address + "/", "ftp://" + address + "/"},
		{"/both", 200, up + "/w", up + "/w"},
		{"/both", 304, up + "/w", up + "/w"},
		{"/never", 302, up + "/w", up + "/w"},
	} {
		status, location = c.status, c.location
		client := n.dial()
		client.send("GET "+c.path+" HTTP/1.1", "Host: pub:81")
		if a, _ := client.answer(); a.Header.Get("Location") != c.want {
			t.Errorf("%s %d %s: got %q, want %q", c.path, c.status, c.location, a.Header.Get("Location"), c.want)
		}
	}
}
