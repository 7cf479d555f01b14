package e2e

import (
	"bufio"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"strings"
	"sync"
	"testing"
	"time"
)

// An upstream is a server to route to. It answers with its own name, and
// remembers what it was asked last. WebSockets it echoes, but at a path that
// ends in /sink it only reads, and at one in /push it says what push says.
type upstream struct {
	name string
	url  string
	addr string
	push chan string
	// hold, when a request has the query "hold", is what it waits for after
	// half of its answer.
	hold chan struct{}

	mu      sync.Mutex
	last    *http.Request   // without its body
	clients map[string]bool // addresses that requests came from
}

func newUpstream(t testing.TB, name string) *upstream {
	t.Helper()
	u := &upstream{name: name, clients: map[string]bool{}, push: make(chan string), hold: make(chan struct{})}
	server := httptest.NewServer(u)
	u.url, u.addr = server.URL, server.Listener.Addr().String()
	t.Cleanup(func() {
		close(u.push)
		server.Close()
	})
	return u
}

func (u *upstream) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	u.mu.Lock()
	u.last, u.clients[r.RemoteAddr] = r, true
	u.mu.Unlock()
	if r.Header.Get("Upgrade") == "websocket" {
		u.upgrade(w, r)
		return
	}
	n, err := io.Copy(io.Discard, r.Body)
	if err != nil {
		return
	}
	w.Header().Set("Content-Type", "text/plain")
	if r.URL.RawQuery == "hold" {
		_, _ = io.WriteString(w, "held, ")
		_ = http.NewResponseController(w).Flush()
		<-u.hold
	}
	_, _ = fmt.Fprintf(w, "%s took %d\n", u.name, n)
}

// echoOnly is the variable that makes this test binary an upstream in a process
// of its own, with as many open files as a process may have.
const echoOnly = "SIGNALBOX_E2E_ECHO"

// echo is such an upstream. It prints its URL, and ends when it is killed.
func echo() {
	server := httptest.NewServer(&upstream{name: "echo", clients: map[string]bool{}})
	_, _ = fmt.Fprintln(os.Stdout, server.URL)
	select {}
}

// asked is the last request, nil before the first.
func (u *upstream) asked() *http.Request {
	u.mu.Lock()
	defer u.mu.Unlock()
	return u.last
}

// connections counts those that requests came over.
func (u *upstream) connections() int {
	u.mu.Lock()
	defer u.mu.Unlock()
	return len(u.clients)
}

// upgrade switches protocols, and goes on until one end goes away.
func (u *upstream) upgrade(w http.ResponseWriter, r *http.Request) {
	w.Header().Set("Connection", "Upgrade")
	w.Header().Set("Upgrade", "websocket")
	w.Header().Set("Sec-WebSocket-Accept", "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=")
	w.WriteHeader(http.StatusSwitchingProtocols)
	conn, buf, err := http.NewResponseController(w).Hijack()
	if err != nil {
		return
	}
	defer func() { _ = conn.Close() }()
	if strings.HasSuffix(r.URL.Path, "/push") {
		for message := range u.push {
			if _, err := conn.Write(frame(message, false)); err != nil {
				return
			}
		}
		return
	}
	for {
		message, closed, err := readFrame(buf.Reader)
		if err != nil || closed {
			return
		}
		if strings.HasSuffix(r.URL.Path, "/sink") {
			continue
		}
		if _, err := conn.Write(frame(message, false)); err != nil {
			return
		}
	}
}

// frame is a short text message (RFC 6455, section 5.2); a client's is masked,
// here with zeros.
func frame(message string, masked bool) []byte {
	b := []byte{0x81, byte(len(message))}
	if masked {
		b[1] |= 0x80
		b = append(b, 0, 0, 0, 0)
	}
	return append(b, message...)
}

// readFrame reads a frame of at most 64 KiB, unless it is one that closes.
func readFrame(in *bufio.Reader) (message string, closed bool, err error) {
	var head [2]byte
	if _, err := io.ReadFull(in, head[:]); err != nil {
		return "", false, err
	}
	size := int(head[1] & 0x7f)
	if size == 126 {
		var long [2]byte
		if _, err := io.ReadFull(in, long[:]); err != nil {
			return "", false, err
		}
		size = int(binary.BigEndian.Uint16(long[:]))
	}
	if head[1]&0x80 != 0 {
		size += 4
	}
	body := make([]byte, size)
	if _, err := io.ReadFull(in, body); err != nil {
		return "", false, err
	}
	if head[1]&0x80 != 0 {
		body = body[4:] // masked with zeros
	}
	return string(body), head[0]&0x0f == 0x8, nil
}

// A socket is a client's end of a WebSocket.
type socket struct {
	conn net.Conn
	in   *bufio.Reader
}

// openSocket opens a WebSocket at a node.
func openSocket(node, path string) (*socket, error) {
	conn, err := net.DialTimeout("tcp", node, patience)
	if err != nil {
		return nil, err
	}
	s := &socket{conn: conn, in: bufio.NewReaderSize(conn, 512)}
	if err := s.open(path); err != nil {
		_ = conn.Close()
		return nil, err
	}
	return s, nil
}

func (s *socket) open(path string) error {
	_ = s.conn.SetDeadline(time.Now().Add(patience))
	_, err := fmt.Fprintf(s.conn, "GET %s HTTP/1.1\r\nHost: e2e\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"+
		"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n", path)
	if err != nil {
		return err
	}
	res, err := http.ReadResponse(s.in, nil)
	if err != nil {
		return err
	}
	defer func() { _ = res.Body.Close() }() // of an upgrade there is none
	if res.StatusCode != http.StatusSwitchingProtocols {
		return fmt.Errorf("asked for a WebSocket, got %s", res.Status)
	}
	return nil
}

// echoes sends a message and reads it back.
func (s *socket) echoes(message string) error {
	_ = s.conn.SetDeadline(time.Now().Add(patience))
	if _, err := s.conn.Write(frame(message, true)); err != nil {
		return err
	}
	got, _, err := readFrame(s.in)
	if err == nil && got != message {
		err = fmt.Errorf("echo of %q is %q", message, got)
	}
	return err
}

// ended waits until the other end closes.
func (s *socket) ended() error {
	_ = s.conn.SetDeadline(time.Now().Add(patience))
	for {
		_, closed, err := readFrame(s.in)
		if closed || errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return err
		}
	}
}

func (s *socket) close() { _ = s.conn.Close() }
