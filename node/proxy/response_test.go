package proxy_test

import (
	"io"
	"net/http"
	"strconv"
	"strings"
	"testing"
)

// asked sends one request through the node and returns both ends.
func (n *node) asked(o *origin, request string) (c, up *client) {
	c = n.dial()
	c.send(request, "Host: h")
	up = o.accept(n.t)
	up.head()
	return c, up
}

func TestNothingThatHasArrivedWaitsForWhatHasNot(t *testing.T) {
	n := plain(t)
	o := scripted(t)
	n.route("/", o.url)
	t.Run("events", func(t *testing.T) {
		c, up := n.asked(o, "GET / HTTP/1.1")
		up.raw("HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n")
		c.head() // before there is any body
		for range 3 {
			up.raw("9\r\ndata: 1\n\n\r\n")
			c.exactly(len("9\r\ndata: 1\n\n\r\n"))
		}
		_ = up.Close()
	})
	t.Run("a body of known length", func(t *testing.T) {
		c, up := n.asked(o, "GET / HTTP/1.1")
		up.raw("HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\n")
		c.head()
		for range 3 {
			up.raw("x")
			c.exactly(1)
		}
		_ = up.Close()
	})
	t.Run("a body that ends with its connection", func(t *testing.T) {
		c, up := n.asked(o, "GET / HTTP/1.1")
		up.raw("HTTP/1.1 200 OK\r\n\r\nab")
		c.head()
		c.exactly(len("2\r\nab\r\n"))
		_ = up.Close()
		if got := c.exactly(5); got != "0\r\n\r\n" {
			t.Errorf("got %q", got)
		}
	})
	t.Run("a body for HTTP/1.0", func(t *testing.T) {
		c, up := n.asked(o, "GET / HTTP/1.0")
		up.raw("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nTrailer: X-A\r\n\r\n2\r\nab\r\n")
		if got := c.head(); strings.Contains(got, "X-A") || strings.Contains(got, "chunked") {
			t.Errorf("the head is %s", got)
		}
		c.exactly(2)
		up.raw("0\r\nX-A: 1\r\nX-B: 1\r\n\r\n")
		if got := c.rest(); got != "" {
			t.Errorf("got %q", got)
		}
	})
}

func TestAnUpstreamThatDiesInTheMiddle(t *testing.T) {
	for _, c := range []struct{ name, sent, then string }{
		{"of a known length leaves an incomplete answer", "HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\n", "abc"},
		{"of chunks leaves no last one", "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n", "3\r\nabc\r\n"},
	} {
		t.Run(c.name, func(t *testing.T) {
			n := plain(t)
			o := scripted(t)
			n.route("/", o.url)
			down, up := n.asked(o, "GET / HTTP/1.1")
			up.raw(c.sent)
			down.head()
			up.raw(c.then)
			down.exactly(len(c.then))
			_ = up.Close()
			if got := down.rest(); got != "" {
				t.Errorf("then %q", got)
			}
			eventually(t, "the failure is counted", func() bool { return n.counters("r").Counters.NodeFailures == 1 })
			eventually(t, "and logged", func() bool { return strings.Contains(n.log.String(), "reason=body_truncated side=upstream") })
		})
	}
	for _, begin := range []string{"", "abc"} {
		t.Run("before anything was sent on is a clean 502, after "+strconv.Quote(begin), func(t *testing.T) {
			n := plain(t)
			o := scripted(t)
			n.route("/", o.url)
			eventually(t, "its end is seen before the header had to be sent", func() bool {
				down, up := n.asked(o, "GET / HTTP/1.1")
				up.raw("HTTP/1.1 200 OK\r\nContent-Length: 10\r\nSet-Cookie: a\r\n\r\n" + begin)
				_ = up.Close()
				res, err := http.ReadResponse(down.r, nil)
				if err != nil {
					return false
				}
				defer func() { _ = res.Body.Close() }()
				if res.StatusCode != 502 {
					return false
				}
				body, _ := io.ReadAll(res.Body)
				if !strings.Contains(string(body), "(body_truncated)") || res.Header.Get("Set-Cookie") != "" {
					t.Errorf("%v %s", res, body)
				}
				return true
			})
		})
	}
	t.Run("after some of it was sent is incomplete, however it came", func(t *testing.T) {
		n := plain(t)
		o := scripted(t)
		n.route("/", o.url)
		down, up := n.asked(o, "GET / HTTP/1.1")
		up.raw("HTTP/1.1 200 OK\r\nContent-Length: 100000\r\n\r\n")
		for i := range 9 { // some held, some late, some beyond the buffer
			up.raw(strings.Repeat(strconv.Itoa(i), 10000))
			if i%3 == 2 {
				if i == 2 {
					down.head()
				}
				for j := i - 2; j <= i; j++ {
					if got := down.exactly(10000); got != strings.Repeat(strconv.Itoa(j), 10000) {
						t.Fatalf("piece %d is %.20q", j, got)
					}
				}
			}
		}
		_ = up.Close()
		if got := down.rest(); got != "" {
			t.Errorf("then %q", got)
		}
	})
}

func TestResponseTrailersAreForwarded(t *testing.T) {
	for name, announce := range map[string]string{"announced": "Trailer: X-Sum\r\n", "not announced": ""} {
		t.Run(name, func(t *testing.T) {
			n := plain(t)
			o := scripted(t)
			n.route("/", o.url)
			c, up := n.asked(o, "GET / HTTP/1.1")
			up.raw("HTTP/1.1 200 OK\r\n" + announce + "Transfer-Encoding: chunked\r\n\r\n2\r\nab\r\n0\r\nX-Sum: 42\r\n\r\n")
			res, body := c.answer()
			if body != "ab" || res.Trailer.Get("X-Sum") != "42" {
				t.Errorf("%q, trailer %v", body, res.Trailer)
			}
		})
	}
}

func TestAnAnswerIsNotEmbellished(t *testing.T) {
	n := plain(t)
	o := scripted(t)
	n.route("/", o.url)
	for _, c := range []struct{ request, sent, want, body string }{
		{"GET / HTTP/1.1", "200 OK\r\nContent-Length: 6\r\n\r\n<html>", "HTTP/1.1 200 OK\nContent-Length: 6", "<html>"},
		{"HEAD / HTTP/1.1", "200 OK\r\nContent-Length: 6\r\n\r\n", "HTTP/1.1 200 OK\nContent-Length: 6", ""},
		{"HEAD / HTTP/1.1", "200 OK\r\nTransfer-Encoding: chunked\r\n\r\n", "HTTP/1.1 200 OK", ""},
		{"GET / HTTP/1.1", "304 Not Modified\r\nEtag: e\r\n\r\n", "HTTP/1.1 304 Not Modified\nEtag: e", ""},
		{"GET / HTTP/1.1", "204 No Content\r\n\r\n", "HTTP/1.1 204 No Content", ""},
		{"GET / HTTP/1.1", "599 Whatever\r\nContent-Length: 0\r\n\r\n", "HTTP/1.1 599 Whatever\nContent-Length: 0", ""},
		{"GET / HTTP/1.1", "200 OK\r\nContent-Encoding: gzip\r\nContent-Length: 2\r\n\r\nzz", "HTTP/1.1 200 OK\nContent-Encoding: gzip\nContent-Length: 2", "zz"},
	} {
		down, up := n.asked(o, c.request)
		up.raw("HTTP/1.1 " + c.sent)
		if got := lines(down.head(), "date"); got != c.want {
			t.Errorf("%s: got\n%s\nwant\n%s", c.sent, got, c.want)
		}
		if got := down.exactly(len(c.body)); got != c.body {
			t.Errorf("%s: body %q", c.sent, got)
		}
		_ = up.Close()
		_ = down.Close()
	}
}

func TestAStatusThatCannotBeFinalIsA502(t *testing.T) {
	n := plain(t)
	o := scripted(t)
	n.route("/", o.url)
	for _, status := range []string{"099", "000"} {
		down, up := n.asked(o, "GET / HTTP/1.1")
		up.raw("HTTP/1.1 " + status + " X\r\nContent-Length: 0\r\n\r\n")
		if res, body := down.answer(); res.StatusCode != 502 {
			t.Errorf("%s: %d %s", status, res.StatusCode, body)
		}
		_ = up.Close()
	}
}

func TestALargeBodyArrivesWhole(t *testing.T) {
	big := strings.Repeat("0123456789abcdef", 1<<16)
	n := plain(t)
	n.route("/", web(t, func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("X-Length", r.Header.Get("Content-Length"))
		all, _ := io.ReadAll(r.Body)
		_, _ = w.Write(all)
	}))
	c := n.dial()
	c.send("POST / HTTP/1.1", "Host: h", "Transfer-Encoding: chunked")
	go func() {
		for i := 0; i < len(big); i += 1 << 16 {
			c.raw("10000\r\n" + big[i:i+1<<16] + "\r\n")
		}
		c.raw("0\r\n\r\n")
	}()
	if _, body := c.answer(); body != big {
		t.Errorf("%d bytes of %d came back, or others", len(body), len(big))
	}
}

func TestTheUpstreamsReasonPhraseGoesOn(t *testing.T) {
	n := plain(t)
	o := scripted(t)
	n.route("/", o.url)
	c := n.dial()
	var up *client
	for _, x := range [][2]string{
		{"HTTP/1.1 599 Custom Reason", "HTTP/1.1 599 Custom Reason"}, {"HTTP/1.1 200 Fine", "HTTP/1.1 200 Fine"},
		{"HTTP/1.1 404 ", "HTTP/1.1 404 Not Found"}, {"HTTP/1.1 200 OK", "HTTP/1.1 200 OK"},
	} {
		c.send("GET / HTTP/1.1", "Host: h")
		if up == nil {
			up = o.accept(t)
		}
		up.head()
		up.raw(x[0] + "\r\nContent-Length: 2\r\n\r\nok")
		if got, _, _ := strings.Cut(c.head(), "\r\n"); got != x[1] {
			t.Errorf("%q became %q", x[0], got)
		}
		c.exactly(2)
	}
	_ = up.Close()
	c.send("GET / HTTP/1.1", "Host: h")
	up = o.accept(t)
	up.head()
	up.raw("HTTP/1.1 200 Fine\r\nContent-Length: 2\r\n\r\n")
	_ = up.Close() // before anything of the answer was sent on
	if got, _, _ := strings.Cut(c.head(), "\r\n"); got != "HTTP/1.1 502 Bad Gateway" {
		t.Errorf("the node's own answer is %q", got)
	}
}
