package main

import (
	"bufio"
	"bytes"
	"context"
	"crypto/sha1" //nolint:gosec // RFC 6455 asks for it
	"encoding/base64"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"strconv"
	"strings"
	"sync"
)

// bodySize is how long the answer's body is.
const bodySize = 1 << 10

// beOrigin is the server behind all proxies, as cheap as Go can make it: it
// answers every request with the same bytes, and echoes WebSocket messages. It
// understands requests as proxies send them, and no others. Asked for
// "address", it answers that.
func beOrigin(ctx context.Context, _ []byte, serve func(func(string) (any, error)) error) error {
	ln, err := new(net.ListenConfig).Listen(ctx, "tcp", "127.0.0.1:0")
	if err != nil {
		return err
	}
	var all connections
	var accepting sync.WaitGroup
	accepting.Go(func() {
		for {
			c, err := ln.Accept()
			if err != nil {
				return
			}
			all.serve(c, answer)
		}
	})
	err = serve(func(question string) (any, error) {
		if question == "address" {
			return ln.Addr().String(), nil
		}
		return nil, fmt.Errorf("the origin has no answer to %q", question)
	})
	_ = ln.Close()
	accepting.Wait()
	all.close()
	return err
}

// connections are those being served. The zero value has none.
type connections struct {
	running sync.WaitGroup
	mu      sync.Mutex
	open    map[net.Conn]bool // guarded by mu
}

func (cs *connections) serve(c net.Conn, f func(net.Conn)) {
	cs.mu.Lock()
	if cs.open == nil {
		cs.open = map[net.Conn]bool{}
	}
	cs.open[c] = true
	cs.mu.Unlock()
	cs.running.Go(func() {
		f(c)
		_ = c.Close()
		cs.mu.Lock()
		delete(cs.open, c)
		cs.mu.Unlock()
	})
}

// close ends all. No other may begin.
func (cs *connections) close() {
	cs.mu.Lock()
	for c := range cs.open {
		_ = c.Close()
	}
	cs.mu.Unlock()
	cs.running.Wait()
}

// same is the answer to every request.
var same = []byte("HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nDate: Thu, 01 Jan 2026 00:00:00 GMT\r\nContent-Length: " +
	strconv.Itoa(bodySize) + "\r\n\r\n" + strings.Repeat("x", bodySize))

// answer answers requests until the other end has had enough.
func answer(c net.Conn) {
	r := bufio.NewReaderSize(c, 32<<10)
	for {
		h, err := readHead(r)
		if err != nil {
			return
		}
		if h.key != "" {
			sum := sha1.Sum([]byte(h.key + "258EAFA5-E914-47DA-95CA-C5AB0DC85B11")) //nolint:gosec // as above
			_, err := fmt.Fprintf(c, "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Accept: %s\r\n\r\n", base64.StdEncoding.EncodeToString(sum[:]))
			if err == nil {
				echo(c, r)
			}
			return
		}
		if _, err := r.Discard(h.length); err != nil {
			return
		}
		if _, err := c.Write(same); err != nil {
			return
		}
	}
}

// A head is what an answer depends on.
type head struct {
	length int    // of the body
	key    string // of a WebSocket handshake
}

func readHead(r *bufio.Reader) (h head, err error) {
	for {
		line, err := r.ReadSlice('\n')
		if err != nil {
			return h, err
		}
		line = bytes.TrimRight(line, "\r\n")
		if len(line) == 0 {
			return h, nil
		}
		if line[0] != 'c' && line[0] != 'C' && line[0] != 's' && line[0] != 'S' {
			continue
		}
		name, value, _ := bytes.Cut(line, []byte(":"))
		switch value = bytes.TrimSpace(value); {
		case bytes.EqualFold(name, []byte("Content-Length")):
			h.length, err = strconv.Atoi(string(value))
		case bytes.EqualFold(name, []byte("Sec-WebSocket-Key")):
			h.key = string(value)
		}
		if err != nil {
			return h, err
		}
	}
}

// mostPayload bounds a WebSocket message.
const mostPayload = 1 << 10

// echo sends every message back.
func echo(c net.Conn, r *bufio.Reader) {
	buf := make([]byte, 0, mostPayload+4)
	for {
		first, payload, err := readFrame(r, buf)
		if err != nil || first&0x0f == 8 {
			return
		}
		if _, err := c.Write(appendFrame(make([]byte, 0, mostPayload+8), first, payload, false)); err != nil {
			return
		}
	}
}

// readFrame reads a WebSocket frame (RFC 6455, section 5.2) into buf.
func readFrame(r *bufio.Reader, buf []byte) (first byte, payload []byte, err error) {
	var h [4]byte
	if _, err := io.ReadFull(r, h[:2]); err != nil {
		return 0, nil, err
	}
	first = h[0]
	masked, n := h[1]&0x80 != 0, int(h[1]&0x7f)
	if n == 126 {
		if _, err := io.ReadFull(r, h[2:4]); err != nil {
			return 0, nil, err
		}
		n = int(binary.BigEndian.Uint16(h[2:4]))
	}
	if n > mostPayload {
		return 0, nil, errors.New("a message is larger than any that is sent here")
	}
	var mask [4]byte
	if masked {
		if _, err := io.ReadFull(r, mask[:]); err != nil {
			return 0, nil, err
		}
	}
	payload = buf[:n]
	if _, err := io.ReadFull(r, payload); err != nil {
		return 0, nil, err
	}
	for i := range payload {
		payload[i] ^= mask[i&3]
	}
	return first, payload, nil
}

// appendFrame appends a frame. Its mask, if it has one, is zero.
func appendFrame(b []byte, first byte, payload []byte, masked bool) []byte {
	bit := byte(0)
	if masked {
		bit = 0x80
	}
	b = append(b, first)
	if len(payload) < 126 {
		b = append(b, bit|byte(len(payload)))
	} else {
		b = binary.BigEndian.AppendUint16(append(b, bit|126), uint16(len(payload)))
	}
	if masked {
		b = append(b, 0, 0, 0, 0)
	}
	return append(b, payload...)
}
