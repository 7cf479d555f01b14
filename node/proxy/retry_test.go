package proxy_test

import (
	"strings"
	"testing"
)

func TestARequestThatAStaleConnectionAteIsRepeatedOnce(t *testing.T) {
	n := plain(t)
	o := scripted(t)
	n.route("/", o.url)
	c, up := n.asked(o, "GET /1 HTTP/1.1")
	up.raw("HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")
	c.answer()
	c.send("GET /2 HTTP/1.1", "Host: h")
	up.head()
	_ = up.Close() // without a word
	again := o.accept(t)
	if got := again.head(); !strings.HasPrefix(got, "GET /2 ") {
		t.Errorf("got %s", got)
	}
	again.raw("HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")
	if res, _ := c.answer(); res.StatusCode != 200 {
		t.Errorf("status %d", res.StatusCode)
	}
	eventually(t, "both attempts are logged", func() bool { return strings.Contains(n.log.String(), "attempts=2") })

	c.send("POST /3 HTTP/1.1", "Host: h", "Content-Length: 0")
	again.head()
	_ = again.Close()
	if res, _ := c.answer(); res.StatusCode != 502 {
		t.Errorf("a POST was answered with %d", res.StatusCode)
	}
	select {
	case <-o.conns:
		t.Error("a POST was sent twice")
	default:
	}
}

func TestAnUpstreamThatCannotBeReachedIsPassedOver(t *testing.T) {
	n := plain(t)
	o := scripted(t)
	n.route("/", "http://127.0.0.1:1", o.url, "http://127.0.0.1:2")
	for range 4 {
		c := n.dial()
		c.send("POST / HTTP/1.1", "Host: h", "Content-Length: 100000")
		c.raw(sizef(100000))
		up := o.accept(t)
		up.head()
		if got := up.exactly(100000); got != sizef(100000) {
			t.Error("the body is not what was sent")
		}
		up.raw("HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 0\r\n\r\n")
		_ = up.Close()
		if res, _ := c.answer(); res.StatusCode != 200 {
			t.Errorf("status %d", res.StatusCode)
		}
	}
	if got := n.counters("r").Counters.NodeFailures; got != 0 {
		t.Errorf("%d failures are counted, though nobody saw one", got)
	}
}

func TestEachUpstreamIsTriedAtMostOnce(t *testing.T) {
	n := plain(t)
	n.route("/", "http://127.0.0.1:1", "http://127.0.0.1:2", "http://127.0.0.1:3")
	if res, body := n.get("/"); res.StatusCode != 502 || !strings.Contains(body, "(dial_refused)") {
		t.Errorf("%d %s", res.StatusCode, body)
	}
	eventually(t, "three attempts are logged", func() bool { return strings.Contains(n.log.String(), "attempts=3") })
}

func TestUpstreamsTakeTurns(t *testing.T) {
	n := plain(t)
	one, two := scripted(t), scripted(t)
	n.route("/", one.url, two.url)
	for range 5 {
		down := n.dial()
		down.send("GET / HTTP/1.1", "Host: h")
		first := one.either(t, two)
		first.head()
		first.raw("HTTP/1.1 204 N\r\nConnection: close\r\n\r\n")
		down.answer()
		down.send("GET / HTTP/1.1", "Host: h")
		second := one.either(t, two)
		second.head()
		second.raw("HTTP/1.1 204 N\r\nConnection: close\r\n\r\n")
		down.answer()
		if first.LocalAddr().String() == second.LocalAddr().String() {
			t.Error("one upstream had two turns in a row")
		}
	}
}

// either returns the next connection to one of two origins.
func (o *origin) either(t *testing.T, other *origin) *client {
	select {
	case c := <-o.conns:
		return c
	case c := <-other.conns:
		return c
	case <-t.Context().Done():
		return nil
	}
}
