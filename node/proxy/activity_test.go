package proxy_test

import (
	"net/http"
	"strings"
	"testing"

	"google.golang.org/protobuf/types/known/durationpb"

	"signalbox/node/listen"
	"signalbox/node/upstream"
	signalboxv1 "signalbox/proto/gen/signalbox/v1"
)

// What counts as somebody using a route is what configurable-http-proxy 5
// counts, and what it misses: answers that are not over yet, bytes of a stream
// to the client, and 304.
func TestActivityIsWhatAUserDoes(t *testing.T) {
	for _, c := range []struct {
		name, head, body, answer string
		counts                   bool
	}{
		{"an answer", "GET / HTTP/1.1", "", "200 OK\r\nContent-Length: 0", true},
		{"an answer without a body", "GET / HTTP/1.1", "", "204 No Content", true},
		{"what the client has already", "GET / HTTP/1.1", "", "304 Not Modified", true},
		{"a redirect", "GET / HTTP/1.1", "", "302 Found\r\nContent-Length: 0", false},
		{"a redirect after a form", "POST / HTTP/1.1\r\nContent-Length: 1", "x", "303 See Other\r\nContent-Length: 0", true},
		{"a refusal", "GET / HTTP/1.1", "", "403 Forbidden\r\nContent-Length: 0", false},
		{"a refused body", "POST / HTTP/1.1\r\nContent-Length: 1", "x", "403 Forbidden\r\nContent-Length: 0", false},
		{"a failure", "GET / HTTP/1.1", "", "500 Internal\r\nContent-Length: 0", false},
	} {
		t.Run(c.name, func(t *testing.T) {
			n := plain(t)
			o := scripted(t)
			n.route("/", o.url)
			down := n.dial()
			down.send(c.head, "Host: h")
			down.raw(c.body)
			up := o.accept(t)
			up.head()
			up.exactly(len(c.body))
			up.raw("HTTP/1.1 " + c.answer + "\r\n\r\n")
			down.head()
			eventually(t, "the exchange is over", func() bool { return n.counters("r").OpenStreams == 0 })
			if got := n.counters("r").LastActivity != nil; got != c.counts {
				t.Errorf("counts: %v", got)
			}
		})
	}
	t.Run("an answer that is not over", func(t *testing.T) {
		n := plain(t)
		o := scripted(t)
		n.route("/", o.url)
		c, up := n.asked(o, "GET / HTTP/1.1")
		up.raw("HTTP/1.1 200 OK\r\n\r\nx")
		c.head()
		eventually(t, "it counts", func() bool {
			got := n.counters("r")
			return got.OpenStreams == 1 && got.LastActivity != nil && got.Counters.BytesSent == 1
		})
	})
	t.Run("an upstream that is down", func(t *testing.T) {
		n := plain(t)
		n.route("/", "http://127.0.0.1:1")
		n.get("/")
		if n.counters("r").LastActivity != nil {
			t.Error("it counts")
		}
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
	n := plain(t)
	n.route("/", web(t, func(http.ResponseWriter, *http.Request) {}))
	n.listener(&signalboxv1.Listener{IdleTimeout: durationpb.New(1e9)})
	c := n.dial()
	c.send("GET / HTTP/1.1", "Host: h")
	c.answer()
	if got := c.rest(); got != "" {
		t.Errorf("got %q", got)
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
