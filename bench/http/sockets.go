package main

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"time"
)

// A crowd is the configuration of the part "sockets".
type crowd struct{ Connections int }

// message is what is sent over and over.
const message = 64

// counted is the answer to "run".
type counted struct {
	Messages int64
	Took     time.Duration
}

// beSockets has WebSockets on each of which a message is sent, and the next
// when it has come back. Asked to "connect ADDRESS", it opens them, to "run
// DURATION", it sends, and to "close", it closes them.
func beSockets(ctx context.Context, config []byte, serve func(func(string) (any, error)) error) error {
	var c crowd
	if err := json.Unmarshal(config, &c); err != nil {
		return err
	}
	var open []*socket
	closeAll := func() {
		for _, s := range open {
			_ = s.conn.Close()
		}
		open = nil
	}
	defer closeAll()
	return serve(func(question string) (any, error) {
		verb, object, _ := strings.Cut(question, " ")
		switch verb {
		case "connect":
			for range c.Connections {
				s, err := dial(ctx, object)
				if err != nil {
					return nil, err
				}
				open = append(open, s)
			}
			return len(open), nil
		case "run":
			d, err := time.ParseDuration(object)
			if err != nil {
				return nil, err
			}
			return exchange(open, d)
		case "close":
			closeAll()
			return 0, nil
		}
		return nil, fmt.Errorf("sockets have no answer to %q", question)
	})
}

// A socket is one WebSocket.
type socket struct {
	conn net.Conn
	r    *bufio.Reader
}

// socketPatience bounds opening a WebSocket.
const socketPatience = 10 * time.Second

func dial(ctx context.Context, addr string) (*socket, error) {
	c, err := (&net.Dialer{Timeout: socketPatience}).DialContext(ctx, "tcp", addr)
	if err != nil {
		return nil, err
	}
	s := &socket{conn: c, r: bufio.NewReader(c)}
	_ = c.SetDeadline(time.Now().Add(socketPatience))
	_, err = fmt.Fprintf(c, "GET %s HTTP/1.1\r\nHost: bench\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n", requestPath)
	if err == nil {
		var res *http.Response
		if res, err = http.ReadResponse(s.r, nil); err == nil {
			_ = res.Body.Close()
			if res.StatusCode != http.StatusSwitchingProtocols {
				err = fmt.Errorf("the answer to a WebSocket handshake is %s", res.Status)
			}
		}
	}
	if err != nil {
		return nil, errors.Join(err, c.Close())
	}
	_ = c.SetDeadline(time.Time{})
	return s, nil
}

// exchange sends on all sockets for a while, on each at least once.
func exchange(all []*socket, d time.Duration) (counted, error) {
	var over atomic.Bool
	var messages atomic.Int64
	errs := make([]error, len(all))
	frame := appendFrame(nil, 0x82, make([]byte, message), true)
	begun := time.Now()
	timer := time.AfterFunc(d, func() { over.Store(true) })
	defer timer.Stop()
	var running sync.WaitGroup
	for i, s := range all {
		_ = s.conn.SetDeadline(begun.Add(d + socketPatience))
		running.Go(func() {
			n := int64(0)
			buf := make([]byte, 0, mostPayload)
			for n == 0 || !over.Load() && errs[i] == nil {
				errs[i] = s.roundTrip(frame, buf)
				n++
			}
			messages.Add(n)
		})
	}
	running.Wait()
	return counted{Messages: messages.Load(), Took: time.Since(begun)}, errors.Join(errs...)
}

func (s *socket) roundTrip(frame, buf []byte) error {
	if _, err := s.conn.Write(frame); err != nil {
		return err
	}
	_, back, err := readFrame(s.r, buf)
	if err == nil && len(back) != message {
		err = fmt.Errorf("%d bytes came back: %w", len(back), io.ErrUnexpectedEOF)
	}
	return err
}
