package proxy_test

import (
	"fmt"
	"strings"
	"testing"
	"time"
)

func TestExchangesThatACloseEndsAreLoggedAsThat(t *testing.T) {
	n := plain(t)
	o := scripted(t)
	n.route("/", o.url)
	waiting, _ := n.asked(o, "GET /waiting HTTP/1.1")
	begun, up := n.asked(o, "GET /begun HTTP/1.1")
	up.raw("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n1\r\na\r\n")
	begun.head()
	begun.exactly(len("1\r\na\r\n"))
	sending := n.dial()
	sending.send("POST /sending HTTP/1.1", "Host: h", "Content-Length: 10")
	o.accept(t).head()

	n.handler.Close()
	for name, c := range map[string]*client{"one that waits": waiting, "one that sends": sending} {
		if got := c.rest(); !strings.HasPrefix(got, "HTTP/1.1 503 ") || !strings.Contains(got, "Connection: close\r\n") || !strings.Contains(got, "(shutting_down)") {
			t.Errorf("%s got %s", name, got)
		}
	}
	if got := begun.rest(); got != "" {
		t.Errorf("what had begun goes on with %q, which looks like an end", got)
	}
	for path, status := range map[string]int{"waiting": 503, "begun": 200, "sending": 503} {
		eventually(t, path+" is logged", func() bool {
			for line := range strings.Lines(n.log.String()) {
				if strings.Contains(line, " path=/"+path) {
					if !strings.Contains(line, fmt.Sprintf(" status=%d ", status)) || !strings.Contains(line, " reason=shutting_down side=node") {
						t.Errorf("logged is %s", line)
					}
					return true
				}
			}
			return false
		})
	}

	// Whoever comes still is told the same, and switches no protocol.
	for _, head := range []string{"GET / HTTP/1.1", "GET / HTTP/1.1\r\nConnection: Upgrade\r\nUpgrade: websocket"} {
		late := n.dial()
		late.send(head, "Host: h")
		if got := late.rest(); !strings.Contains(got, "(shutting_down)") {
			t.Errorf("a late one got %s", got)
		}
	}
}

func TestExchangesOverHTTP2AreToldOfACloseToo(t *testing.T) {
	n := plain(t)
	o := scripted(t)
	n.route("/", o.url)
	got := make(chan string, 1)
	go func() {
		res, err := browser(t, nil, h2c).Get("http://" + n.addr + "/")
		if err != nil {
			got <- err.Error()
			return
		}
		_ = res.Body.Close()
		got <- res.Status
	}()
	o.accept(t).head()
	n.handler.Close()
	if got := <-got; got != "503 Service Unavailable" {
		t.Errorf("got %s", got)
	}
}

func TestWhatRunsIsEndedAndWhatComesLaterIsServed(t *testing.T) {
	n := plain(t)
	o := scripted(t)
	n.put(n.record("/", o.url), n.record("/gone", o.url))
	socket, _ := n.join(o, "/ws")
	outliving, _ := n.join(o, "/gone/ws")
	n.remove("r.gone")
	waiting, _ := n.asked(o, "GET /waiting HTTP/1.1")
	if running, begun := n.handler.Running(), n.handler.Begun(); running != 3 || begun != 3 {
		t.Errorf("%d of %d run", running, begun)
	}

	n.handler.EndRunning(time.Now())
	for name, c := range map[string]*client{"a WebSocket": socket, "one of a removed route": outliving} {
		if got := c.rest(); got != "\x88\x02\x03\xe9" {
			t.Errorf("%s ended with % x", name, got)
		}
	}
	if got := waiting.rest(); !strings.HasPrefix(got, "HTTP/1.1 503 ") || !strings.Contains(got, "(shutting_down)") {
		t.Errorf("the exchange got %s", got)
	}
	eventually(t, "nothing runs", func() bool { return n.handler.Running() == 0 })

	late, up := n.asked(o, "GET /late HTTP/1.1")
	up.raw("HTTP/1.1 204 N\r\nConnection: close\r\n\r\n")
	if got := late.head(); !strings.HasPrefix(got, "HTTP/1.1 204 ") {
		t.Errorf("a late one got %s", got)
	}
	refused := n.handshake("/ws")
	if got := refused.head(); !strings.HasPrefix(got, "HTTP/1.1 503 ") {
		t.Errorf("a late upgrade got %s", got)
	}
	n.handler.Resume()
	n.join(o, "/ws")
	eventually(t, "removed routes are not kept", func() bool { return n.handler.Running() == 1 })
}
