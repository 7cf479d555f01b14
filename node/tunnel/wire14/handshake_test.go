package wire14

import (
	"context"
	"io"
	"net"
	"strings"
	"testing"
	"time"

	"signalbox/node/tunnel/link"
	"signalbox/proto/tunnelurl"
)

// asking is what was captured of a client.
const asking = "GET / HTTP/1.1\r\nHost: none\r\nUser-Agent: Go-http-client/1.1\r\nAuthorization: Bearer " + bearer + "\r\nAccept-Encoding: gzip\r\n\r\n"

// told sends bytes and returns all that comes back.
func told(t *testing.T, addr, text string) string {
	t.Helper()
	c, err := net.Dial("tcp", addr)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = c.Close() }()
	_ = c.SetDeadline(time.Now().Add(within))
	if _, err := io.WriteString(c, text); err != nil {
		t.Fatal(err)
	}
	got, err := io.ReadAll(c)
	if err != nil {
		t.Error(err)
	}
	return string(got)
}

func TestTheServerAnswersAsCaptured(t *testing.T) {
	cfg := config(t, tunnelurl.Server, tunnelurl.Plain)
	cfg.Max = 8
	_, addr := serve(t, cfg)
	want := "HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Type: application/json\r\nContent-Length: 42\r\n\r\n" +
		`{"flow":"-","max":8,"tls":"0","type":"0"}` + "\n"
	if got := told(t, addr, asking); got != want {
		t.Errorf("%q, want %q", got, want)
	}
}

func TestWhoeverAsksForSomethingElseIsRefused(t *testing.T) {
	cfg, log := config(t, tunnelurl.Server, tunnelurl.Plain), newLines()
	cfg.Log = log.add
	s, addr := serve(t, cfg)
	replace := func(old, text string) string { return strings.Replace(asking, old, text, 1) }
	for name, c := range map[string]struct{ text, want string }{
		"another method":      {replace("GET", "POST"), "405 Method Not Allowed"},
		"another path":        {replace("/ ", "/x "), "404 Not Found"},
		"another key":         {replace("Bearer f", "Bearer e"), "401 Unauthorized"},
		"no key":              {"GET / HTTP/1.1\r\nHost: none\r\n\r\n", "401 Unauthorized"},
		"half a key":          {replace(bearer, bearer[:32]), "401 Unauthorized"},
		"two keys":            {replace("Accept-Encoding: gzip", "Authorization: Bearer x"), "401 Unauthorized"},
		"our own wire":        {"signalbox/1\n", "400 Bad Request"},
		"wire 1.4":            {"ucetcr\n", "400 Bad Request"},
		"TLS":                 {"\x16\x03\x01\x00\x05hello\n", "400 Bad Request"},
		"more than is read":   {"GET / HTTP/1.1\r\nX: " + strings.Repeat("x", maxHead) + "\r\n\r\n", "400 Bad Request"},
		"a method, of no use": {replace("GET / HTTP/1.1", "GET"), "400 Bad Request"},
	} {
		got := told(t, addr, c.text)
		if !strings.HasPrefix(got, "HTTP/1.1 "+c.want+"\r\nConnection: close\r\nContent-Type: text/plain") {
			t.Errorf("%s: %q", name, got)
		}
	}
	log.wait(t, "a connection from 127.0.0.1:")
	select {
	case s := <-s.Sessions():
		t.Errorf("a session with %s", s.Peer())
	default:
	}
}

// It has not introduced itself.
func TestAConnectionFromAnUnknownAddressGetsNoID(t *testing.T) {
	_, addr := serve(t, config(t, tunnelurl.Server, tunnelurl.Plain))
	f := foreignHandshake(t, addr, tunnelurl.Server, tunnelurl.Plain)
	c, err := dialFrom("127.0.0.2", addr)(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = c.Close() }()
	if id := f.open(addr); id != controlID {
		t.Errorf("the first connection has the id %s", id)
	}
	_ = c.(*net.TCPConn).CloseWrite()
	got, err := io.ReadAll(c)
	if err != nil || !strings.HasPrefix(string(got), "HTTP/1.1 400") {
		t.Errorf("%q, %v", got, err)
	}
}

// answering is a server that says something to whoever asks.
func answering(t *testing.T, text string) link.Config {
	ln := listen(t)
	done := make(chan struct{})
	go func() {
		defer close(done)
		c, err := ln.Accept()
		if err != nil {
			return
		}
		_, _ = io.ReadFull(c, make([]byte, len(asking)))
		_, _ = io.WriteString(c, text)
		_ = c.Close()
	}()
	t.Cleanup(func() {
		_ = ln.Close()
		<-done
	})
	cfg := config(t, "", 0)
	cfg.Dial = dialTo(ln.Addr().String())
	return cfg
}

func TestAClientSaysWhyAServerCannotBeUsed(t *testing.T) {
	for text, want := range map[string]string{
		"HTTP/1.1 401 Unauthorized\r\nContent-Length: 0\r\n\r\n":                                  "the server refused the key: it has another one",
		"HTTP/1.1 409 Conflict\r\nContent-Length: 0\r\n\r\n":                                      "the server has a client at this address",
		"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n":                                     "404 Not Found",
		"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello":                                       "NodePass 1.14 does not",
		"HTTP/1.1 200 OK\r\nContent-Length: 50\r\n\r\n{":                                          "reading the server's answer",
		"HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\nContent-Length: 1\r\n\r\n{":                 "Content-Encoding: gzip",
		"HTTP/1.1 200 OK\r\n\r\n" + `{"flow":"-","max":8,"tls":"1","type":"1"}`:                   "begin it with type=0",
		"HTTP/1.1 200 OK\r\nX: " + strings.Repeat("x", maxHead) + "\r\nContent-Length: 0\r\n\r\n": "without an answer",
		"\x00\x00\x00\x00": "the connection of a client that has asked before",
		"signalbox/1\n":    "perhaps it speaks another wire",
		"":                 "without an answer",
	} {
		if _, err := Dial(t.Context(), answering(t, text)); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%.60q: %v, want %q", text, err, want)
		}
	}
}

// NodePass closes its port after the handshake, and opens it again.
func TestAClientWaitsForAServerThatOpensItsPortAgain(t *testing.T) {
	ln := listen(t)
	addr := ln.Addr().String()
	cfg := config(t, "", 0)
	refused := make(chan struct{}, 1000)
	cfg.Dial = func(ctx context.Context) (net.Conn, error) {
		c, err := dialTo(addr)(ctx)
		if err != nil {
			refused <- struct{}{}
		}
		return c, err
	}
	made := make(chan *foreign, 1)
	go func() {
		defer close(made)
		asked, err := ln.Accept()
		if err != nil {
			t.Error(err)
			return
		}
		_ = ln.Close()
		_, _ = io.ReadFull(asked, make([]byte, len(asking)))
		_, _ = io.WriteString(asked, response(200, "application/json", `{"flow":"-","max":8,"tls":"0","type":"0"}`))
		_ = asked.Close()
		<-refused
		again, err := net.Listen("tcp", addr)
		if err != nil {
			t.Error(err)
			return
		}
		f := newForeign(t, tunnelurl.Plain)
		t.Cleanup(func() { _ = again.Close() })
		started := make(chan struct{})
		f.running.Go(func() { f.accept(again, started) })
		<-started
		made <- f
	}()
	exit(t, dialled(t, cfg))
	if f := <-made; f != nil {
		f.entry()
	}
}

func TestAClientWithoutTheRootsIsToldSo(t *testing.T) {
	cfg := config(t, tunnelurl.Server, tunnelurl.Verified)
	_, addr := serve(t, cfg)
	_, cfg.Roots = certificate(t)
	cfg.Dial = dialTo(addr)
	if _, err := Dial(t.Context(), cfg); err == nil || !strings.Contains(err.Error(), "certificate") {
		t.Error(err)
	}
}

func TestDialEndsWithItsContext(t *testing.T) {
	ln := listen(t) // takes connections and says nothing
	cfg := config(t, "", 0)
	ctx, cancel := context.WithCancelCause(t.Context())
	cfg.Dial = func(ctx context.Context) (net.Conn, error) {
		defer cancel(context.Canceled)
		return dialTo(ln.Addr().String())(ctx)
	}
	if _, err := Dial(ctx, cfg); err == nil {
		t.Error("no error")
	}
}

func FuzzRequest(f *testing.F) {
	f.Add([]byte(asking))
	f.Add([]byte(strings.Replace(asking, "GET", "POST", 1)))
	f.Fuzz(func(t *testing.T, b []byte) {
		err := readRequest(strings.NewReader(string(b)), "secret")
		if err == nil && (!strings.Contains(string(b), bearer) || !strings.HasPrefix(strings.TrimLeft(string(b), "\r\n"), "GET ")) {
			t.Errorf("%q is let in", b)
		}
		if err != nil && !strings.HasPrefix(answer(err), "HTTP/1.1 4") {
			t.Errorf("%q is answered %q", b, answer(err))
		}
	})
}

// Somebody else at the client's address was faster.
func TestAClientThatIsNotTheFirstSaysSo(t *testing.T) {
	ln := listen(t)
	cfg := config(t, "", 0)
	cfg.Dial = dialTo(ln.Addr().String())
	done := make(chan struct{})
	go func() {
		defer close(done)
		for _, text := range []string{response(200, "application/json", `{"flow":"-","max":8,"tls":"0","type":"0"}`), "\x00\x00\x00\x01"} {
			c, err := ln.Accept()
			if err != nil {
				t.Error(err)
				return
			}
			_, _ = io.WriteString(c, text)
			_, _ = io.ReadAll(c)
			_ = c.Close()
		}
	}()
	_, err := Dial(t.Context(), cfg)
	if err == nil || !strings.Contains(err.Error(), "another connection from this address") {
		t.Error(err)
	}
	<-done
}
