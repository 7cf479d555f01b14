package listen_test

import (
	"io"
	"net/http"
	"strings"
	"testing"

	"signalbox/node/listen"
)

// Each chunked body here makes reading it fail.
var badBodies = []struct {
	name, body string
	reason     listen.Reason
}{
	{"bare LF after a chunk size", "3\nabc\r\n0\r\n\r\n", listen.ReasonBareLF},
	{"bare LF after an extension", "3;a\nabc\r\n0\r\n\r\n", listen.ReasonBareLF},
	{"bare LF after chunk data", "3\r\nabc\n0\r\n\r\n", listen.ReasonBadChunkEnd},
	{"bare LF after the last chunk", "3\r\nabc\r\n0\n\r\n", listen.ReasonBareLF},
	{"bare LF as the end", "3\r\nabc\r\n0\r\n\n", listen.ReasonBareLF},
	{"0x5", "0x5\r\nabcde\r\n0\r\n\r\n", listen.ReasonBadChunkSize},
	{"no size", "\r\nabc\r\n0\r\n\r\n", listen.ReasonBadChunkSize},
	{"a signed size", "+3\r\nabc\r\n0\r\n\r\n", listen.ReasonBadChunkSize},
	{"a size with underscore", "1_0\r\n0123456789abcdef\r\n0\r\n\r\n", listen.ReasonBadChunkSize},
	{"a space before the size", " 3\r\nabc\r\n0\r\n\r\n", listen.ReasonBadChunkSize},
	{"a space after the size", "3 \r\nabc\r\n0\r\n\r\n", listen.ReasonBadChunkSize},
	{"a size of 16 digits", "0000000000000003\r\nabc\r\n0\r\n\r\n", listen.ReasonBadChunkSize},
	{"a size of 2^64", "10000000000000000\r\nabc\r\n0\r\n\r\n", listen.ReasonBadChunkSize},
	{"a bare CR in the size line", "3\r;a\r\nabc\r\n0\r\n\r\n", listen.ReasonBareCR},
	{"a bare CR in an extension", "3;a\rb\r\nabc\r\n0\r\n\r\n", listen.ReasonBareCR},
	{"a control character in an extension", "3;a\x00\r\nabc\r\n0\r\n\r\n", listen.ReasonBadChunkExt},
	{"an endless extension", "3;" + strings.Repeat("a", 2000) + "\r\nabc\r\n0\r\n\r\n", listen.ReasonChunkLineTooLong},
	{"a chunk longer than its size", "3\r\nabcd\r\n0\r\n\r\n", listen.ReasonBadChunkEnd},
	{"a chunk shorter than its size", "4\r\nabc\r\n0\r\n\r\n", listen.ReasonBadChunkEnd},
	{"a folded trailer", "0\r\nA: b\r\n c\r\n\r\n", listen.ReasonObsFold},
	{"a trailer with a space before its colon", "0\r\nA : b\r\n\r\n", listen.ReasonSpaceBeforeColon},
	{"a trailer with a bare CR", "0\r\nA: b\rc\r\n\r\n", listen.ReasonBareCR},
	{"a trailer with a bare LF", "0\r\nA: b\nC: d\r\n\r\n", listen.ReasonBareLF},
	{"a framing trailer", "0\r\nContent-Length: 3\r\n\r\n", listen.ReasonBadTrailer},
	{"a routing trailer", "0\r\nhost: b\r\n\r\n", listen.ReasonBadTrailer},
	{"a trailer section over the limit", "0\r\nA: " + strings.Repeat("b", 5000) + "\r\n\r\n", listen.ReasonTrailerTooLarge},
}

func TestBadBodies(t *testing.T) {
	head := lines("POST /a HTTP/1.1", "Host: a", "Transfer-Encoding: chunked")
	s := serve(t, listen.Config{}, echo)
	duplex := serve(t, listen.Config{}, func(w http.ResponseWriter, r *http.Request) {
		if err := http.NewResponseController(w).EnableFullDuplex(); err != nil {
			t.Error(err)
		}
		echo(w, r)
	})
	lazy := serve(t, listen.Config{}, func(http.ResponseWriter, *http.Request) {})
	for _, tt := range badBodies {
		for kind, s := range map[string]*server{"": s, " in full duplex": duplex} {
			t.Run(tt.name+" fails the body"+kind, func(t *testing.T) {
				t.Parallel()
				c := dial(t, s, nil)
				c.send(get("/first") + head + tt.body + next)
				if a := c.answer("GET"); a.status != 200 {
					t.Errorf("the request before it: got %d", a.status)
				}
				if a := c.answer("POST"); a.status != 400 || a.reason != string(tt.reason) {
					t.Errorf("got %d %s, want 400 %s", a.status, a.reason, tt.reason)
				}
				c.closed()
			})
		}
		t.Run(tt.name+" that nobody reads closes the connection", func(t *testing.T) {
			t.Parallel()
			c := dial(t, lazy, nil)
			c.send(head + tt.body + next)
			c.answer("POST")
			c.closed()
		})
	}
	t.Cleanup(func() {
		for _, s := range []*server{s, duplex, lazy} {
			for _, r := range s.requests() {
				if strings.Contains(r, "smuggled") {
					t.Error("a request after a refused body was served")
				}
			}
		}
	})
}

func TestBodies(t *testing.T) {
	t.Run("what came before the bad chunk is delivered", func(t *testing.T) {
		got := make(chan string, 1)
		s := serve(t, listen.Config{}, func(w http.ResponseWriter, r *http.Request) {
			b, err := io.ReadAll(r.Body)
			if err == nil {
				t.Error("the body ended well")
			}
			got <- string(b)
		})
		c := dial(t, s, nil)
		c.send(lines("POST / HTTP/1.1", "Host: a", "Transfer-Encoding: chunked") + "3\r\nabc\r\nz\r\n")
		if b := <-got; b != "abc" {
			t.Errorf("got %q, want abc", b)
		}
	})
	t.Run("large bodies pass, and the next request is found", func(t *testing.T) {
		s := serve(t, listen.Config{}, func(w http.ResponseWriter, r *http.Request) {
			n, err := io.Copy(io.Discard, r.Body)
			if err != nil {
				t.Error(err)
			}
			_, _ = io.WriteString(w, r.Method+strings.Repeat("+", int(n>>18)))
		})
		c := dial(t, s, nil)
		big := strings.Repeat("0123456\n", 1<<17)
		go func() {
			_, _ = io.WriteString(c, lines("POST / HTTP/1.1", "Host: a", "Content-Length: 1048576")+big+
				lines("PUT / HTTP/1.1", "Host: a", "Transfer-Encoding: chunked")+"80000\r\n"+big[:1<<19]+"\r\n80000;a=b\r\n"+big[:1<<19]+"\r\n0\r\n\r\n"+
				get("/")+"GET / HTTP/1.1\n\n")
		}()
		for _, want := range []string{"POST++++", "PUT++++", "GET"} {
			if a := c.answer("GET"); a.body != want {
				t.Errorf("got %d %s, want %s", a.status, a.body, want)
			}
		}
		if a := c.answer("GET"); a.reason != string(listen.ReasonBareLF) {
			t.Errorf("got %d %s, want bare_lf", a.status, a.reason)
		}
		c.closed()
	})
}
