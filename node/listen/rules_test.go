package listen_test

import (
	"strings"
	"testing"

	"signalbox/node/listen"
)

func TestBadHeads(t *testing.T) {
	s := serve(t, listen.Config{}, nil)
	for _, tt := range listen.BadHeads {
		t.Run(tt.Name+" is refused and the connection closed", func(t *testing.T) {
			t.Parallel()
			c := dial(t, s, nil)
			c.send(tt.Head + next)
			a := c.answer("GET")
			if a.status != tt.Status || a.reason != string(tt.Reason) {
				t.Errorf("got %d %s (%s), want %d %s", a.status, a.reason, a.body, tt.Status, tt.Reason)
			}
			if a.body == "" {
				t.Error("there is no sentence for people")
			}
			c.closed()
		})
		t.Run(tt.Name+" after good requests is answered in its turn", func(t *testing.T) {
			t.Parallel()
			c := dial(t, s, nil)
			post := lines("POST /b HTTP/1.1", "Host: a", "Content-Length: 2") + "hi"
			chunks := lines("PUT /c HTTP/1.1", "Host: a", "Transfer-Encoding: chunked") + "2\r\nho\r\n0\r\n\r\n"
			c.send(get("/a") + post + chunks + tt.Head + next)
			for _, want := range []string{`GET /a ""`, `POST /b "hi"`, `PUT /c "ho"`} {
				if a := c.answer("GET"); a.status != 200 || a.body != want {
					t.Errorf("got %d %s, want 200 %s", a.status, a.body, want)
				}
			}
			if a := c.answer("GET"); a.status != tt.Status || a.reason != string(tt.Reason) {
				t.Errorf("got %d %s (%s), want %d %s", a.status, a.reason, a.body, tt.Status, tt.Reason)
			}
			c.closed()
		})
	}
	t.Cleanup(func() {
		for _, r := range s.requests() {
			if strings.Contains(r, "smuggled") {
				t.Error("a request after a refused head was served")
			}
		}
	})
}

func TestGoodHeads(t *testing.T) {
	s := serve(t, listen.Config{}, nil)
	for _, tt := range listen.GoodHeads {
		t.Run(tt.Name+" is served and the connection goes on", func(t *testing.T) {
			t.Parallel()
			c := dial(t, s, nil)
			c.send(tt.Head + tt.Head + get("/last"))
			for i, want := range []string{tt.Want, tt.Want, `GET /last ""`} {
				if a := c.answer("GET"); a.status != 200 || a.body != want {
					t.Fatalf("answer %d: got %d %s %s, want 200 %s", i, a.status, a.reason, a.body, want)
				}
			}
		})
	}
	t.Run("OPTIONS * is accepted", func(t *testing.T) {
		c := dial(t, s, nil)
		c.send(lines("OPTIONS * HTTP/1.1", "Host: a") + get("/last"))
		if a := c.answer("OPTIONS"); a.status != 200 {
			t.Errorf("got %d, want 200", a.status)
		}
		c.answer("GET")
	})
	t.Run("HTTP/1.0 needs no Host", func(t *testing.T) {
		c := dial(t, s, nil)
		c.send("GET /a HTTP/1.0\r\n\r\n")
		if a := c.answer("GET"); a.body != `GET /a ""` {
			t.Errorf("got %d %s", a.status, a.body)
		}
		c.closed()
	})
	t.Run("a body sent after 100 Continue is read", func(t *testing.T) {
		c := dial(t, s, nil)
		c.send(lines("POST / HTTP/1.1", "Host: a", "Expect: 100-continue", "Content-Length: 2"))
		if a := c.answer("POST"); a.status != 100 {
			t.Fatalf("got %d, want 100", a.status)
		}
		c.send("hi" + get("/last"))
		for _, want := range []string{`POST / "hi"`, `GET /last ""`} {
			if a := c.answer("GET"); a.body != want {
				t.Errorf("got %d %s, want %s", a.status, a.body, want)
			}
		}
	})
	t.Run("the answer to a refused HEAD has no body", func(t *testing.T) {
		c := dial(t, s, nil)
		c.send(lines("HEAD / HTTP/1.1", "Host: a", "X-A : b"))
		if a := c.answer("HEAD"); a.status != 400 || a.reason != string(listen.ReasonSpaceBeforeColon) {
			t.Errorf("got %d %s, want 400", a.status, a.reason)
		}
		c.closed()
	})
	t.Run("what a client sent is quoted shortly and harmlessly", func(t *testing.T) {
		c := dial(t, s, nil)
		c.send(lines("GET / HTTP/1.1", "Host: a", "X-\x1b["+strings.Repeat("b", 5000)+": c"))
		if a := c.answer("GET"); len(a.body) > 120 || !strings.Contains(a.body, `"X-\x1b[bbb`) {
			t.Errorf("got %s", a.body)
		}
	})
	t.Run("the limit is exact", func(t *testing.T) {
		s := serve(t, listen.Config{MaxHeaderBytes: 100}, nil)
		for extra, want := range map[int]int{0: 200, 1: 431} {
			head := lines("GET / HTTP/1.1", "Host: a", "X-A: "+strings.Repeat("b", 66+extra))
			if len(head) != 100+extra {
				t.Fatal(len(head))
			}
			c := dial(t, s, nil)
			c.send(head)
			if a := c.answer("GET"); a.status != want {
				t.Errorf("%d bytes: got %d, want %d", len(head), a.status, want)
			}
		}
	})
}
