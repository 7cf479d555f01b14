package tunnel_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"strings"
	"sync"
	"time"

	"signalbox/node/tunnel"
	"signalbox/node/tunnel/link"
	"signalbox/proto/tunnelurl"
)

// A fakeWire is a generation whose streams stay in the process; only its
// introduction goes over the tunnel's connection, and its loss is noticed
// there. It introduces itself as ours does.
type fakeWire struct {
	mu      sync.Mutex
	dialled map[string]*fakeSession // by the address a client dialled from
}

// wires are a table that has only this one.
func (f *fakeWire) wires() map[tunnelurl.Wire]tunnel.Wire {
	f.dialled = map[string]*fakeSession{}
	return map[tunnelurl.Wire]tunnel.Wire{tunnelurl.Signalbox: {Serve: f.serve, Dial: f.dial}}
}

func (f *fakeWire) serve(cfg link.Config) tunnel.Server {
	return &fakeServer{fakeWire: f, cfg: cfg, sessions: make(chan link.Session), closed: make(chan struct{})}
}

func (f *fakeWire) dial(ctx context.Context, cfg link.Config) (link.Session, error) {
	c, err := cfg.Dial(ctx)
	if err != nil {
		return nil, err
	}
	s := newFakeSession(c)
	f.mu.Lock()
	f.dialled[c.LocalAddr().String()] = s
	f.mu.Unlock()
	_, _ = fmt.Fprintf(c, "signalbox/1\n%s\n", cfg.Secret)
	line, err := readLine(c)
	if err == nil && line != "signalbox/1" {
		err = fmt.Errorf("it said %q", line)
	}
	if err == nil {
		line, err = readLine(c)
	}
	if err == nil && line == "no" {
		err = errors.New("the key is not the server's")
	}
	if err != nil {
		_ = c.Close()
		return nil, err
	}
	s.receives = tunnelurl.Role(line)
	s.begin()
	return s, nil
}

// A fakeServer is its server.
type fakeServer struct {
	*fakeWire
	cfg      link.Config
	sessions chan link.Session
	closed   chan struct{}
	once     sync.Once
}

func (s *fakeServer) Sessions() <-chan link.Session { return s.sessions }

func (s *fakeServer) Close() { s.once.Do(func() { close(s.closed) }) }

func (s *fakeServer) Handle(ctx context.Context, c *link.Conn) {
	defer context.AfterFunc(ctx, func() { _ = c.SetReadDeadline(time.Unix(1, 0)) })()
	hello, err := readLine(c)
	key, err2 := readLine(c)
	if err != nil || err2 != nil || hello != "signalbox/1" {
		_ = c.Close()
		return
	}
	if key != s.cfg.Secret {
		_, _ = io.WriteString(c, "signalbox/1\nno\n")
		_ = c.Close()
		return
	}
	own := newFakeSession(c)
	own.receives = s.cfg.Receives
	s.mu.Lock()
	own.peer = s.dialled[c.RemoteAddr().String()]
	own.peer.peer = own
	s.mu.Unlock()
	_, _ = fmt.Fprintf(c, "signalbox/1\n%s\n", s.cfg.Receives)
	own.begin()
	select {
	case s.sessions <- own:
	case <-s.closed:
		_ = own.Close()
	}
}

// readLine reads up to a line's end and no further.
func readLine(r io.Reader) (string, error) {
	var line strings.Builder
	for b := make([]byte, 1); ; line.Write(b) {
		if _, err := io.ReadFull(r, b); err != nil || b[0] == '\n' {
			return line.String(), err
		}
	}
}

// A fakeSession is one end.
type fakeSession struct {
	control  net.Conn
	receives tunnelurl.Role
	peer     *fakeSession
	requests chan *link.Request
	done     chan struct{}
	running  sync.WaitGroup

	mu      sync.Mutex
	streams []io.Closer
}

func newFakeSession(c net.Conn) *fakeSession {
	return &fakeSession{control: c, requests: make(chan *link.Request), done: make(chan struct{})}
}

// begin notices when the peer goes.
func (s *fakeSession) begin() {
	s.running.Go(func() {
		_, _ = io.Copy(io.Discard, s.control)
		s.mu.Lock()
		defer s.mu.Unlock()
		close(s.done)
		for _, c := range s.streams {
			_ = c.Close()
		}
	})
}

func (s *fakeSession) Wire() tunnelurl.Wire     { return tunnelurl.Signalbox }
func (s *fakeSession) Peer() net.Addr           { return s.control.RemoteAddr() }
func (s *fakeSession) Receives() tunnelurl.Role { return s.receives }
func (s *fakeSession) Stats() link.Stats        { return link.Stats{Ping: 3 * time.Millisecond, Pool: 7} }
func (s *fakeSession) Done() <-chan struct{}    { return s.done }
func (s *fakeSession) Err() error               { return nil }

func (s *fakeSession) Close() error {
	_ = s.control.Close()
	s.running.Wait()
	return nil
}

func (s *fakeSession) Open(ctx context.Context, kind link.Kind, user string) (link.Stream, error) {
	near, far, err := streams(kind)
	if err != nil {
		return nil, err
	}
	s.mu.Lock()
	s.streams = append(s.streams, near, far)
	s.mu.Unlock()
	answer := make(chan error, 1)
	select {
	case s.peer.requests <- &link.Request{Kind: kind, User: user, Stream: far, Answer: func(err error) { answer <- err }}:
	case <-s.done:
		return nil, fmt.Errorf("fake: %w", link.ErrEnded)
	case <-ctx.Done():
		return nil, context.Cause(ctx)
	}
	select {
	case err := <-answer:
		return near, err
	case <-s.done:
		return nil, fmt.Errorf("fake: %w", link.ErrEnded)
	case <-ctx.Done():
		return nil, context.Cause(ctx)
	}
}

func (s *fakeSession) Accept(ctx context.Context) (*link.Request, error) {
	select {
	case r := <-s.requests:
		return r, nil
	case <-s.done:
		return nil, fmt.Errorf("fake: %w", link.ErrEnded)
	case <-ctx.Done():
		return nil, context.Cause(ctx)
	}
}

// streams are the two ends of one: a TCP connection, or queues of datagrams.
func streams(kind link.Kind) (near, far link.Stream, err error) {
	if kind == link.UDP {
		one, other := make(chan []byte, 100), make(chan []byte, 100)
		closed := &closer{c: make(chan struct{})}
		return &datagrams{one, other, closed}, &datagrams{other, one, closed}, nil
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, nil, err
	}
	defer l.Close()
	a, err := net.Dial("tcp", l.Addr().String())
	if err != nil {
		return nil, nil, err
	}
	b, err := l.Accept()
	if err != nil {
		return nil, nil, err
	}
	return a.(*net.TCPConn), b.(*net.TCPConn), nil
}

// datagrams are one end of a UDP stream.
type datagrams struct {
	in, out chan []byte
	*closer
}

func (d *datagrams) Read(p []byte) (int, error) {
	select {
	case b := <-d.in:
		return copy(p, b), nil
	case <-d.c:
		return 0, io.EOF
	}
}

func (d *datagrams) Write(p []byte) (int, error) {
	select {
	case d.out <- bytes.Clone(p):
	case <-d.c:
		return 0, net.ErrClosed
	}
	return len(p), nil
}

func (*datagrams) CloseWrite() error { return nil }

// A closer is closed once.
type closer struct {
	c    chan struct{}
	once sync.Once
}

func (c *closer) Close() error {
	c.once.Do(func() { close(c.c) })
	return nil
}
