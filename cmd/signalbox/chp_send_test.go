package main

import (
	"bufio"
	"crypto/tls"
	"errors"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"
)

// An answered is what came back. Status 0 is no answer: the connection was
// closed, or nothing came in time.
type answered struct {
	status int
	header http.Header
	body   string
	end    string // what then becomes of the connection, where that was asked for
}

// What can become of a connection after an answer, or without one.
const (
	isClosed = "is closed"
	goesOn   = "goes on" // the next request on it is answered
	isLeft   = "is left" // it is open, and nothing comes
)

// send sends a request as it stands and reads the answer, for at most limit.
func (s *chpSystem) send(t *testing.T, addr, request string, limit time.Duration) answered {
	t.Helper()
	a, conn, _ := s.sendOn(t, addr, request, limit)
	_ = conn.Close()
	return a
}

// sendAndSee is send, and then sees what becomes of the connection.
func (s *chpSystem) sendAndSee(t *testing.T, addr, request string, limit time.Duration) answered {
	t.Helper()
	a, conn, in := s.sendOn(t, addr, request, limit)
	defer func() { _ = conn.Close() }()
	if a.status == http.StatusSwitchingProtocols {
		return a
	}
	_ = conn.SetDeadline(time.Now().Add(time.Second))
	_, _ = io.WriteString(conn, "GET "+chpHealth+" HTTP/1.1\r\nHost: x\r\n\r\n")
	_, err := http.ReadResponse(in, nil)
	var slow net.Error
	switch {
	case err == nil:
		a.end = goesOn
	case errors.As(err, &slow) && slow.Timeout():
		a.end = isLeft
	default:
		a.end = isClosed
	}
	return a
}

// sendOn is send that leaves the connection, and what was read from it, to the
// caller.
func (s *chpSystem) sendOn(t *testing.T, addr, request string, limit time.Duration) (answered, net.Conn, *bufio.Reader) {
	t.Helper()
	conn, err := net.Dial("tcp", addr)
	if err != nil {
		t.Fatal(err)
	}
	if s.secure != nil {
		conn = tls.Client(conn, s.secure)
	}
	_ = conn.SetDeadline(time.Now().Add(limit))
	in := bufio.NewReader(conn)
	if _, err := io.WriteString(conn, request); err != nil {
		return answered{}, conn, in
	}
	method, _, _ := strings.Cut(strings.TrimLeft(request, "\r\n"), " ")
	res, err := http.ReadResponse(in, &http.Request{Method: method})
	if err != nil {
		return answered{}, conn, in
	}
	defer func() { _ = res.Body.Close() }()
	a := answered{status: res.StatusCode, header: res.Header}
	_, phrase, _ := strings.Cut(res.Status, " ")
	a.header[":reason"] = []string{phrase}
	if res.StatusCode == http.StatusSwitchingProtocols {
		return a, conn, in
	}
	if res.Close { // ReadResponse takes the header away
		a.header.Set("Connection", "close")
	}
	body, err := io.ReadAll(res.Body)
	a.body = string(body)
	if err != nil {
		a.body += "…"
	}
	return a, conn, in
}
