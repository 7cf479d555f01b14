package proxy_test

import (
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	"google.golang.org/protobuf/types/known/durationpb"

	"signalbox/node/listen"
	"signalbox/node/upstream"
	signalboxv1 "signalbox/proto/gen/signalbox/v1"
)

// active is when a route was last used, zero if it never was.
func (n *node) active(name string) time.Time {
	if at := n.counters(name).LastActivity; at != nil {
		return at.AsTime()
	}
	return time.Time{}
}

// moves checks that what do does is activity of the route "r".
func (n *node) moves(what string, do func()) {
	n.t.Helper()
	before := n.active("r")
	do()
	eventually(n.t, what+" counts", func() bool { return n.active("r").After(before) })
}

// over waits until nothing runs on the route "r".
func (n *node) over() {
	n.t.Helper()
	eventually(n.t, "the exchange is over", func() bool {
		got := n.counters("r")
		return got.Counters.Requests > 0 && got.OpenStreams == 0
	})
}

// later waits until a body that comes now would count for want of an answer.
func (n *node) later() {
	n.t.Helper()
	o := scripted(n.t)
	n.route("/later", o.url)
	c := n.dial()
	c.send("POST /later HTTP/1.1", "Host: h", "Content-Length: 1")
	c.raw("x")
	o.accept(n.t).head()
	eventually(n.t, "a body without an answer counts", func() bool { return !n.active("r.later").IsZero() })
}

// What counts as somebody using a route is what configurable-http-proxy 5
// counts, and what it misses: answers that are not over yet, bytes of a stream
// to the client, and 304. Only bodies that are refused do not.
func TestActivityIsWhatAUserDoes(t *testing.T) {
	for _, c := range []struct {
		name, method, body string
		statuses           []int
		counts             bool
	}{
		{"an answer", "GET", "", []int{200, 201, 204, 206, 299}, true},
		{"what the client has already", "GET", "", []int{304}, true},
		{"a redirect", "GET", "", []int{300, 301, 302, 303, 307, 308}, false},
		{"a redirect after a form", "POST", "x", []int{302, 303}, true},
		{"a refusal", "GET", "", []int{400, 401, 403, 404, 429}, false},
		{"a refusal of an empty body", "POST", "", []int{403}, false},
		{"a refused body", "POST", "x", []int{400, 401, 403, 413, 500, 503}, false},
		{"a failure", "GET", "", []int{500, 503}, false},
	} {
		for _, status := range c.statuses {
			t.Run(fmt.Sprint(c.name, " ", status), func(t *testing.T) {
				n := plain(t)
				o := scripted(t)
				n.route("/", o.url)
				down := n.dial()
				down.send(c.method+" / HTTP/1.1", "Host: h", fmt.Sprint("Content-Length: ", len(c.body)))
				down.raw(c.body)
				up := o.accept(t)
				up.head()
				up.exactly(len(c.body))
				length := "\r\nContent-Length: 0"
				if status == 204 || status == 304 {
					length = ""
				}
				up.raw(fmt.Sprintf("HTTP/1.1 %d S%s\r\n\r\n", status, length))
				down.head()
				n.over()
				if got := !n.active("r").IsZero(); got != c.counts {
					t.Errorf("counts: %v", got)
				}
			})
		}
	}
}

func TestAnAnswerThatRunsIsActivityWithEveryByte(t *testing.T) {
	for name, length := range map[string]string{"of unknown length": "", "of known length": "\r\nContent-Length: 100000"} {
		t.Run(name, func(t *testing.T) {
			n := plain(t)
			o := scripted(t)
			n.route("/", o.url)
			c, up := n.asked(o, "GET / HTTP/1.1")
			n.moves("the header", func() {
				up.raw("HTTP/1.1 200 OK" + length + "\r\n\r\n")
				c.head()
			})
			for range 3 {
				n.moves("a byte", func() { up.raw("x") })
			}
		})
	}
	t.Run("not with those of a refusal", func(t *testing.T) {
		n := plain(t)
		o := scripted(t)
		n.route("/", o.url)
		c, up := n.asked(o, "GET / HTTP/1.1")
		up.raw("HTTP/1.1 403 Forbidden\r\n\r\n")
		c.head()
		up.raw("x")
		c.exactly(len("1\r\nx\r\n"))
		_ = up.Close()
		n.over()
		if !n.active("r").IsZero() {
			t.Error("they count")
		}
	})
}

// configurable-http-proxy counts an answer when it is over, and so none of these.
func TestAnAnswerThatDoesNotEndWasActivity(t *testing.T) {
	for name, end := range map[string]func(c, up *client){
		"the upstream dies": func(_, up *client) { _ = up.Close() },
		"the client leaves": func(c, _ *client) { _ = c.Close() },
	} {
		t.Run(name, func(t *testing.T) {
			n := plain(t)
			o := scripted(t)
			n.route("/", o.url)
			c, up := n.asked(o, "GET / HTTP/1.1")
			n.moves("the answer", func() {
				up.raw("HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nx")
				c.head()
				c.exactly(1)
			})
			end(c, up)
			n.over()
		})
	}
}

func TestWhoGetsNoAnswerWasNotActive(t *testing.T) {
	t.Parallel()
	t.Run("the upstream is down", func(t *testing.T) {
		t.Parallel()
		n := plain(t)
		n.route("/", "http://127.0.0.1:1")
		n.get("/")
		c := n.dial()
		c.send("POST / HTTP/1.1", "Host: h", "Content-Length: 1")
		c.raw("x")
		c.answer()
		n.over()
		n.later()
		if !n.active("r").IsZero() {
			t.Error("it counts")
		}
	})
	for name, body := range map[string]string{"without a body": "", "with one": "x"} {
		t.Run("the upstream drops the connection, "+name, func(t *testing.T) {
			t.Parallel()
			n := plain(t)
			o := scripted(t)
			n.route("/", o.url)
			c := n.dial()
			c.send("POST / HTTP/1.1", "Host: h", fmt.Sprint("Content-Length: ", len(body)))
			c.raw(body)
			up := o.accept(t)
			up.head()
			up.exactly(len(body))
			_ = up.Close()
			c.answer()
			n.over()
			n.later()
			if !n.active("r").IsZero() {
				t.Error("it counts")
			}
		})
	}
}

// A body is activity once it is no longer to be expected that it is refused.
func TestABodyIsActivityUnlessItIsRefused(t *testing.T) {
	t.Parallel()
	// upload begins one of a length, of which two bytes have come.
	upload := func(t *testing.T, length int) (*node, *client, *client) {
		n := plain(t)
		o := scripted(t)
		n.route("/", o.url)
		c := n.dial()
		c.send("POST / HTTP/1.1", "Host: h", fmt.Sprint("Content-Length: ", length))
		c.raw("xx")
		up := o.accept(t)
		up.head()
		up.exactly(2)
		return n, c, up
	}
	t.Run("that waits for its answer", func(t *testing.T) {
		t.Parallel()
		began := time.Now()
		n, _, _ := upload(t, 2)
		came := time.Now()
		eventually(t, "it counts", func() bool { return !n.active("r").IsZero() })
		if at := n.active("r"); at.Before(began) || at.After(came) {
			t.Errorf("active at %v; the last byte came between %v and %v", at, began, came)
		}
	})
	t.Run("that goes on, with every byte", func(t *testing.T) {
		t.Parallel()
		n, c, _ := upload(t, 100)
		eventually(t, "it counts", func() bool { return !n.active("r").IsZero() })
		for range 3 {
			n.moves("a byte", func() { c.raw("x") })
		}
	})
	t.Run("that goes on after a good answer has begun", func(t *testing.T) {
		t.Parallel()
		n, c, up := upload(t, 100)
		n.moves("the answer", func() {
			up.raw("HTTP/1.1 200 OK\r\n\r\n")
			c.head()
		})
		n.moves("a byte", func() { c.raw("x") })
	})
	t.Run("that is refused while it goes on", func(t *testing.T) {
		t.Parallel()
		n, c, up := upload(t, 100)
		up.raw("HTTP/1.1 403 Forbidden\r\n\r\n")
		c.head()
		c.raw("x")
		up.exactly(1)
		n.later()
		c.raw("x")
		up.exactly(1)
		_ = up.Close()
		n.over()
		if !n.active("r").IsZero() {
			t.Error("it counts")
		}
	})
	t.Run("whose client leaves before the answer", func(t *testing.T) {
		t.Parallel()
		n, c, _ := upload(t, 2)
		_ = c.Close()
		n.over()
		if n.active("r").IsZero() {
			t.Error("it does not count")
		}
	})
	t.Run("that is broken off", func(t *testing.T) {
		t.Parallel()
		n, c, _ := upload(t, 100)
		_ = c.Close()
		n.over()
		if n.active("r").IsZero() {
			t.Error("it does not count")
		}
	})
	t.Run("that is malformed", func(t *testing.T) {
		t.Parallel()
		n := plain(t)
		o := scripted(t)
		n.route("/", o.url)
		c := n.dial()
		c.send("POST / HTTP/1.1", "Host: h", "Transfer-Encoding: chunked")
		c.raw("1\r\nx\r\n")
		up := o.accept(t)
		up.head()
		up.exactly(len("1\r\nx\r\n"))
		c.raw("zz\r\n")
		c.answer()
		n.over()
		n.later()
		if !n.active("r").IsZero() {
			t.Error("it counts")
		}
	})
}

func TestAWebSocketIsActivityWithEveryByte(t *testing.T) {
	n := plain(t)
	o := scripted(t)
	n.route("/", o.url)
	var c, up *client
	n.moves("opening it", func() { c, up = n.join(o, "/ws") })
	for _, name := range []string{"text", "ping", "pong"} {
		bytes := map[string]string{"text": "\x81\x81\x00\x00\x00\x00x", "ping": "\x89\x80\x00\x00\x00\x00", "pong": "\x8a\x80\x00\x00\x00\x00"}[name]
		n.moves("the client's "+name, func() { c.raw(bytes) })
		up.exactly(len(bytes))
	}
	for range 3 {
		n.moves("the server's message", func() { up.raw(frame(1)) })
		c.exactly(len(frame(1)))
	}
	n.moves("the client's close", func() { c.raw("\x88\x80\x00\x00\x00\x00") })
}

func TestAnUpgradeThatFailsIsNoActivity(t *testing.T) {
	for _, answer := range []string{
		"HTTP/1.1 403 Forbidden\r\nContent-Length: 0\r\n\r\n",
		"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n",
		"HTTP/1.1 101 S\r\nConnection: upgrade\r\nUpgrade: mqtt\r\n\r\n",
		"",
	} {
		n := plain(t)
		o := scripted(t)
		n.route("/", o.url)
		c := n.handshake("/")
		up := o.accept(t)
		up.head()
		up.raw(answer)
		_ = up.Close()
		c.answer()
		n.over()
		if !n.active("r").IsZero() {
			t.Errorf("%q: it counts", answer)
		}
	}
}

func TestAMessageAfterItsRoutesRemovalIsTheOldRoutes(t *testing.T) {
	n := plain(t)
	o := scripted(t)
	n.route("/", o.url)
	c, up := n.join(o, "/ws")
	n.remove("r")
	c.raw("x")
	up.exactly(1)
	if _, ok := n.handler.Table().Get("r"); ok {
		t.Error("the route is there again")
	}
	n.route("/", o.url)
	r := n.book.Reader()
	defer r.Close()
	eventually(t, "the byte is counted for the one that was removed", func() bool {
		for _, got := range r.Changed() {
			if got.CreatedRevision == 1 && got.Counters.BytesReceived == 1 && got.LastActivity != nil {
				return true
			}
			if got.CreatedRevision != 1 {
				t.Errorf("counted for the new one: %v", got)
			}
		}
		return false
	})
}

func TestCountersBelongToARoutesIncarnation(t *testing.T) {
	n := plain(t)
	rec := n.record("/", web(t, func(http.ResponseWriter, *http.Request) {}))
	n.put(rec)
	n.get("/")
	again := n.record("/", rec.Upstreams[0].Url)
	again.Meta.CreatedRevision = rec.Meta.CreatedRevision
	n.put(again)
	n.get("/")
	if got := n.counters("r"); got.Counters.Requests != 2 || got.CreatedRevision != rec.Meta.CreatedRevision {
		t.Errorf("written again: %v", got)
	}
	n.remove("r")
	n.put(n.record("/", rec.Upstreams[0].Url))
	n.get("/")
	r := n.book.Reader()
	defer r.Close()
	for _, got := range r.Changed() {
		if want := map[bool]uint64{true: 2, false: 1}[got.CreatedRevision == rec.Meta.CreatedRevision]; got.Counters.Requests != want {
			t.Errorf("made anew: %v", got)
		}
	}
}

func TestARouteWrittenAgainKeepsItsConnections(t *testing.T) {
	n := start(t, upstream.Config{Linger: -1}, listen.Config{})
	o := scripted(t)
	n.put(n.record("/", o.url), n.record("/other", "http://127.0.0.1:1"))
	c, up := n.asked(o, "GET /1 HTTP/1.1")
	up.raw("HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")
	c.answer()
	n.put(n.record("/", "http://127.0.0.1:1", o.url), n.record("/other", "http://127.0.0.1:2"))
	c.send("POST /2 HTTP/1.1", "Host: h", "Content-Length: 0")
	if got := up.head(); !strings.HasPrefix(got, "POST /2 ") {
		t.Errorf("got %s", got)
	}
	up.raw("HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")
	c.answer()
	n.remove("r")
	if got := up.rest(); got != "" { // and nobody else's are kept
		t.Errorf("got %q", got)
	}
}

func TestAnExchangeOnWhichNothingMovesIsEnded(t *testing.T) {
	idle := &signalboxv1.RoutePolicy{IdleTimeout: durationpb.New(50e6)}
	t.Run("with 504 before the answer", func(t *testing.T) {
		n := plain(t)
		rec := n.record("/", "http://"+silent(t))
		rec.Policy = idle
		n.put(rec)
		if res, body := n.get("/"); res.StatusCode != 504 || !strings.Contains(body, "(idle_timeout)") {
			t.Errorf("%d %s", res.StatusCode, body)
		}
		if got := n.counters("r").Counters.NodeFailures; got != 0 {
			t.Errorf("the policy's end is counted as %d failures", got)
		}
	})
	t.Run("abruptly after it has begun", func(t *testing.T) {
		n := plain(t)
		o := scripted(t)
		rec := n.record("/", o.url)
		rec.Policy = idle
		n.put(rec)
		c, up := n.asked(o, "GET / HTTP/1.1")
		up.raw("HTTP/1.1 200 OK\r\n\r\nx")
		c.head()
		if got := c.rest(); got != "1\r\nx\r\n" {
			t.Errorf("got %q", got)
		}
	})
}

func TestAClientThatDoesNotReadIsEndedToo(t *testing.T) {
	n := plain(t)
	rec := n.record("/", web(t, func(w http.ResponseWriter, r *http.Request) {
		chunk := make([]byte, 1<<20)
		for r.Context().Err() == nil {
			if _, err := w.Write(chunk); err != nil {
				return
			}
		}
	}))
	rec.Policy = &signalboxv1.RoutePolicy{IdleTimeout: durationpb.New(50e6)}
	n.put(rec)
	c := n.dial()
	c.send("GET / HTTP/1.1", "Host: h")
	eventually(t, "it is ended", func() bool { return strings.Contains(n.log.String(), "reason=idle_timeout side=policy") })
	_ = c.Close()
}

func TestAClientsIdleTimeIsItsListeners(t *testing.T) {
	t.Parallel()
	n := plain(t)
	n.route("/", web(t, func(http.ResponseWriter, *http.Request) {}))
	waiting := n.dial()
	waiting.send("GET / HTTP/1.1", "Host: h")
	waiting.answer()
	n.listener(&signalboxv1.Listener{IdleTimeout: durationpb.New(1e9)})
	c := n.dial()
	c.send("GET / HTTP/1.1", "Host: h")
	c.answer()
	for _, c := range []*client{waiting, c} {
		if got := c.rest(); got != "" {
			t.Errorf("got %q", got)
		}
	}
}

func TestListenersThatAreInvalidAreRejected(t *testing.T) {
	n := plain(t)
	n.listener(&signalboxv1.Listener{ErrorDetails: true})
	bad := n.handler.SetListeners(map[string]*signalboxv1.Listener{
		"public": {Name: "public", TrustedProxies: []string{"nonsense"}}, "other": {Name: "other"},
	})
	if len(bad) != 1 || bad["public"] == nil {
		t.Errorf("rejected %v", bad)
	}
	if res, _ := n.get("/"); res.Header.Get("Signalbox-Error") == "" {
		t.Error("the last good record is not in force")
	}
	n.handler.SetListeners(nil)
	if res, _ := n.get("/"); res.Header.Get("Signalbox-Error") != "" {
		t.Error("a record that is gone is in force")
	}
}
