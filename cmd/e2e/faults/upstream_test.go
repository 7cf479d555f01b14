//go:build e2e

package faults

import (
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"
)

// An upstream is where all routes lead, in this process: no fault reaches it,
// so what fails has failed before it. It answers with the path it was asked
// for; below /stream with a line every streamEvery until it is left, below
// /slow after slowly, and WebSockets it echoes.
type upstream struct{ addr string }

const (
	streamEvery = 100 * time.Millisecond
	slowly      = time.Second
)

func newUpstream(t testing.TB, host string) *upstream {
	t.Helper()
	ln, err := net.Listen("tcp", host+":0")
	if err != nil {
		t.Fatal(err)
	}
	u := &upstream{addr: ln.Addr().String()}
	server := httptest.NewUnstartedServer(u)
	_ = server.Listener.Close()
	server.Listener = ln
	server.Start()
	t.Cleanup(func() {
		server.CloseClientConnections()
		server.Close()
	})
	return u
}

// url is one that puts a word before the path of what is asked.
func (u *upstream) url(word string) string { return "http://" + u.addr + "/" + word }

func (u *upstream) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	switch {
	case r.Header.Get("Upgrade") == "websocket":
		u.echo(w)
	case strings.Contains(r.URL.Path, "/stream"):
		u.stream(w, r)
	case strings.Contains(r.URL.Path, "/slow"):
		pause(r.Context(), slowly)
		fallthrough
	default:
		_, _ = io.WriteString(w, r.URL.Path)
	}
}

// stream sends numbered lines.
func (u *upstream) stream(w http.ResponseWriter, r *http.Request) {
	for i := 0; ; i++ {
		if _, err := fmt.Fprintln(w, i); err != nil {
			return
		}
		if http.NewResponseController(w).Flush() != nil || !pause(r.Context(), streamEvery) {
			return
		}
	}
}

// echo switches protocols and sends back every frame.
func (u *upstream) echo(w http.ResponseWriter) {
	w.Header().Set("Connection", "Upgrade")
	w.Header().Set("Upgrade", "websocket")
	w.Header().Set("Sec-WebSocket-Accept", "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=")
	w.WriteHeader(http.StatusSwitchingProtocols)
	conn, buf, err := http.NewResponseController(w).Hijack()
	if err != nil {
		return
	}
	defer func() { _ = conn.Close() }()
	for {
		message, err := readFrame(buf.Reader)
		if err != nil {
			return
		}
		if _, err := conn.Write(frame(message, false)); err != nil {
			return
		}
	}
}
