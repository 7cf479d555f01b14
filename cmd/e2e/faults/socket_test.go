//go:build e2e

package faults

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"time"
)

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

// readFrame reads a short frame, unless it is one that closes.
func readFrame(in *bufio.Reader) (string, error) {
	var head [2]byte
	if _, err := io.ReadFull(in, head[:]); err != nil {
		return "", err
	}
	if head[0]&0x0f == 0x8 {
		return "", errors.New("the other end closes")
	}
	size := int(head[1] & 0x7f)
	if head[1]&0x80 != 0 {
		size += 4
	}
	body := make([]byte, size)
	if _, err := io.ReadFull(in, body); err != nil {
		return "", err
	}
	if head[1]&0x80 != 0 {
		body = body[4:]
	}
	return string(body), nil
}

// A socket is a client's end of a WebSocket.
type socket struct {
	conn net.Conn
	in   *bufio.Reader
}

// openSocket opens a WebSocket at a node.
func (l *lab) openSocket(ctx context.Context, n *part, path string) (*socket, error) {
	conn, err := l.connect(ctx, "tcp", n.name+":"+publicPort)
	if err != nil {
		return nil, err
	}
	s := &socket{conn: conn, in: bufio.NewReader(conn)}
	_ = conn.SetDeadline(time.Now().Add(requestPatience))
	_, err = fmt.Fprintf(conn, "GET %s HTTP/1.1\r\nHost: e2e\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"+
		"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n", path)
	if err == nil {
		err = s.opened()
	}
	if err != nil {
		_ = conn.Close()
		return nil, err
	}
	return s, nil
}

func (s *socket) opened() error {
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
	_ = s.conn.SetDeadline(time.Now().Add(requestPatience))
	if _, err := s.conn.Write(frame(message, true)); err != nil {
		return err
	}
	got, err := readFrame(s.in)
	if err == nil && got != message {
		err = fmt.Errorf("echo of %q is %q", message, got)
	}
	return err
}
