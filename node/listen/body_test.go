package listen_test

import (
	"io"
	"net/http"
	"strings"
	"testing"

	"signalbox/node/listen"
)

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
	for _, tt := range listen.BadBodies {
		for kind, s := range map[string]*server{"": s, " in full duplex": duplex} {
			t.Run(tt.Name+" fails the body"+kind, func(t *testing.T) {
				t.Parallel()
				c := dial(t, s, nil)
				c.send(get("/first") + head + tt.Body + next)
				if a := c.answer("GET"); a.status != 200 {
					t.Errorf("the request before it: got %d", a.status)
				}
				if a := c.answer("POST"); a.status != 400 || a.reason != string(tt.Reason) {
					t.Errorf("got %d %s, want 400 %s", a.status, a.reason, tt.Reason)
				}
				c.closed()
			})
		}
		t.Run(tt.Name+" that nobody reads closes the connection", func(t *testing.T) {
			t.Parallel()
			c := dial(t, lazy, nil)
			c.send(head + tt.Body + next)
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
