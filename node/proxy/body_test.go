package proxy_test

import (
	"net/http"
	"strings"
	"testing"
	"time"
)

func TestAnEarlyAnswerDoesNotWaitForTheBody(t *testing.T) {
	n := plain(t)
	o := scripted(t)
	n.route("/", o.url)
	c := n.dial()
	c.send("POST / HTTP/1.1", "Host: h", "Content-Length: 100000")
	c.raw("0123456789")
	up := o.accept(t)
	up.head()
	up.exactly(10)
	up.raw("HTTP/1.1 413 Too Large\r\nContent-Length: 3\r\n\r\nbig")
	if res, body := c.answer(); res.StatusCode != 413 || body != "big" || res.Header.Get("Connection") != "close" && !res.Close {
		t.Errorf("%v %q", res, body)
	}
	if got := c.rest(); got != "" {
		t.Errorf("then %q", got)
	}
}

func TestBodiesStreamInBothDirectionsAtOnce(t *testing.T) {
	n := plain(t)
	o := scripted(t)
	n.route("/", o.url)
	c := n.dial()
	c.send("POST / HTTP/1.1", "Host: h", "Transfer-Encoding: chunked")
	up := o.accept(t)
	if got := up.head(); !strings.Contains(got, "Transfer-Encoding: chunked\r") {
		t.Errorf("the upstream got %s", got)
	}
	up.raw("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")
	c.head()
	for range 3 {
		c.raw("4\r\nping\r\n")
		up.exactly(len("4\r\nping\r\n"))
		up.raw("4\r\npong\r\n")
		c.exactly(len("4\r\npong\r\n"))
	}
	c.raw("0\r\n\r\n")
	up.exactly(5)
	up.raw("0\r\n\r\n")
	c.exactly(5)
	if got := n.counters("r"); got.Counters.BytesReceived != 12 || got.Counters.BytesSent != 12 {
		t.Errorf("counted %v", got)
	}
}

func TestABodyKeepsItsFraming(t *testing.T) {
	n := plain(t)
	o := scripted(t)
	n.route("/", o.url)
	for _, c := range []struct{ head, body, want, wantBody string }{
		{"POST / HTTP/1.1\r\nContent-Length: 3", "abc", "\r\nContent-Length: 3\r\n", "abc"},
		{"GET / HTTP/1.1\r\nContent-Length: 3", "abc", "\r\nContent-Length: 3\r\n", "abc"},
		{"PUT / HTTP/1.1\r\nTransfer-Encoding: chunked", "3;ext=1\r\nabc\r\n0\r\n\r\n", "\r\nTransfer-Encoding: chunked\r\n", "3\r\nabc\r\n0\r\n\r\n"},
		{"POST / HTTP/1.0\r\nContent-Length: 3", "abc", "\r\nContent-Length: 3\r\n", "abc"},
		{"POST / HTTP/1.1\r\nContent-Length: 0", "", "\r\nContent-Length: 0\r\n", ""},
	} {
		down := n.dial()
		down.send(c.head, "Host: h")
		down.raw(c.body)
		up := o.accept(t)
		if got := up.head(); !strings.Contains(got, c.want) || !strings.HasPrefix(got[strings.Index(got, " /"):], " / HTTP/1.1\r\n") {
			t.Errorf("%s: the upstream got %s", c.head, got)
		}
		if got := up.exactly(len(c.wantBody)); got != c.wantBody {
			t.Errorf("%s: body %q", c.head, got)
		}
		up.raw("HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 0\r\n\r\n")
		down.answer()
		_ = up.Close()
		_ = down.Close()
	}
}

func TestAClientsBrokenBodyIsItsOwnFault(t *testing.T) {
	n := plain(t)
	o := scripted(t)
	n.route("/", o.url)
	c := n.dial()
	c.send("POST / HTTP/1.1", "Host: h", "Transfer-Encoding: chunked")
	c.raw("3\r\nabc\r\nzz\r\n")
	if res, body := c.answer(); res.StatusCode != 400 || !strings.Contains(body, "(bad_chunk_size)") {
		t.Errorf("%d %s", res.StatusCode, body)
	}
	c = n.dial()
	c.send("GET / HTTP/1.1", "Host: h")
	_ = o.accept(t).Close // of the broken request
	up := o.accept(t)
	up.head()
	up.raw("HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")
	if res, _ := c.answer(); res.StatusCode != 200 {
		t.Errorf("the next request: %d", res.StatusCode)
	}
	if got := n.counters("r").Counters; got.NodeFailures != 0 || got.Statuses[3] != 1 || got.Statuses[1] != 1 {
		t.Errorf("counted %v", got)
	}
	eventually(t, "the side is logged", func() bool { return strings.Contains(n.log.String(), "reason=bad_chunk_size side=client") })
}

func TestRequestTrailersArriveWithTheirValues(t *testing.T) {
	for name, announced := range map[string]string{"announced": "Trailer: X-Sum, X-Forwarded-For, My_Odd", "not announced": "X-None: 1"} {
		t.Run(name, func(t *testing.T) {
			n := plain(t)
			o := scripted(t)
			n.route("/", o.url)
			c := n.dial()
			c.send("POST / HTTP/1.1", "Host: h", "Transfer-Encoding: chunked", announced)
			c.raw("1\r\na\r\n0\r\nX-Sum: 42\r\nX-Forwarded-For: 9.9.9.9\r\nMy_Odd: 1\r\n\r\n")
			up := o.accept(t)
			head := up.head()
			if got := strings.Contains(head, "\r\nTrailer: X-Sum\r\n"); got != (name == "announced") {
				t.Errorf("the upstream got %s", head)
			}
			want := "1\r\na\r\n0\r\nX-Sum: 42\r\n\r\n"
			if got := up.exactly(len(want)); got != want {
				t.Errorf("the upstream got %q", got)
			}
			up.raw("HTTP/1.1 204 N\r\n\r\n")
			c.answer()
		})
	}
}

func TestExpectIsBetweenTheEnds(t *testing.T) {
	expect := []string{"POST / HTTP/1.1", "Host: h", "Content-Length: 3", "Expect: 100-continue"}
	t.Run("the client is told to go on when the upstream says so", func(t *testing.T) {
		n := plain(t)
		o := scripted(t)
		n.route("/", o.url)
		c := n.dial()
		c.send(expect...)
		up := o.accept(t)
		if got := up.head(); !strings.Contains(got, "Expect: 100-continue") {
			t.Errorf("the upstream got %s", got)
		}
		up.raw("HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\nHTTP/1.1 100 Continue\r\n\r\n")
		if got := c.head() + c.head(); got != "HTTP/1.1 103 Early Hints\r\nLink: </a>\r\nHTTP/1.1 100 Continue\r\n" {
			t.Errorf("got %q", got)
		}
		c.raw("abc")
		up.exactly(3)
		up.raw("HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")
		if got := c.head(); !strings.HasPrefix(got, "HTTP/1.1 200 ") {
			t.Errorf("got %s", got)
		}
	})
	t.Run("a refusal comes without a 100", func(t *testing.T) {
		n := plain(t)
		o := scripted(t)
		n.route("/", o.url)
		c := n.dial()
		c.send(expect...)
		up := o.accept(t)
		up.head()
		up.raw("HTTP/1.1 413 Too Large\r\nContent-Length: 0\r\n\r\n")
		if got := c.head(); !strings.HasPrefix(got, "HTTP/1.1 413 ") {
			t.Errorf("got %s", got)
		}
		if got := c.rest(); got != "" {
			t.Errorf("then %q", got)
		}
	})
	t.Run("an upstream that says nothing is not waited for", func(t *testing.T) {
		n := plain(t)
		n.route("/", web(t, func(w http.ResponseWriter, r *http.Request) {
			buf := make([]byte, 3)
			_, _ = r.Body.Read(buf)
			_, _ = w.Write(buf)
		}))
		c := n.dial()
		c.send(expect...)
		c.raw("abc") // without waiting
		if got := c.head(); !strings.HasPrefix(got, "HTTP/1.1 100 ") && !strings.HasPrefix(got, "HTTP/1.1 200 ") {
			t.Errorf("got %s", got)
		}
	})
}

func TestInformationalResponsesComeAtOnce(t *testing.T) {
	n := plain(t)
	o := scripted(t)
	n.route("/", o.url)
	c := n.dial()
	c.send("GET / HTTP/1.1", "Host: h")
	up := o.accept(t)
	up.head()
	up.raw("HTTP/1.1 103 Early Hints\r\nLink: </a>\r\nConnection: x\r\n\r\n")
	if got := c.head(); got != "HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n" {
		t.Errorf("got %q", got)
	}
	up.raw("HTTP/1.1 100 Continue\r\n\r\n") // which nobody waits for
	up.raw("HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")
	if got := lines(c.head(), "date"); got != "HTTP/1.1 200 OK\nContent-Length: 0" {
		t.Errorf("got %s", got)
	}

	old := n.dial()
	old.send("GET / HTTP/1.0", "Host: h") // a version that knows none
	up.head()
	up.raw("HTTP/1.1 103 Early Hints\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")
	if got := old.head(); !strings.HasPrefix(got, "HTTP/1.1 200 ") && !strings.HasPrefix(got, "HTTP/1.0 200 ") {
		t.Errorf("got %s", got)
	}

	c.send("GET / HTTP/1.1", "Host: h")
	up.head()
	up.raw(strings.Repeat("HTTP/1.1 103 Early Hints\r\n\r\n", 50))
	for range 16 {
		c.head()
	}
	if got := c.head(); !strings.HasPrefix(got, "HTTP/1.1 502 ") {
		t.Errorf("after too many: %s", got)
	}
}

func TestAClientThatLeavesIsNobodysFailure(t *testing.T) {
	n := plain(t)
	o := scripted(t)
	n.route("/", o.url)
	c := n.dial()
	c.send("GET / HTTP/1.1", "Host: h")
	up := o.accept(t)
	up.head()
	_ = c.Close()
	if got := up.rest(); got != "" { // the upstream is told by its connection's end
		t.Errorf("the upstream got %q", got)
	}
	eventually(t, "a 499 is logged", func() bool { return strings.Contains(n.log.String(), "status=499") })
	if got := n.counters("r"); got.Counters.NodeFailures != 0 || got.OpenStreams != 0 {
		t.Errorf("counted %v", got)
	}
	if !strings.Contains(n.log.String(), "reason=client_gone side=client") {
		t.Errorf("logged %s", n.log)
	}
}

func TestASlowClientAfterAnAnswerIsNotWaitedForLong(t *testing.T) {
	n := plain(t)
	n.route("/", "http://127.0.0.1:1")
	c := n.dial()
	begun := time.Now()
	c.send("POST / HTTP/1.1", "Host: h", "Content-Length: 10")
	if got := c.rest(); !strings.Contains(got, " 502 ") || !strings.Contains(got, "Connection: close") {
		t.Errorf("got %q", got)
	}
	if took := time.Since(begun); took > patience/2 {
		t.Errorf("the connection was held for %v", took)
	}
}
