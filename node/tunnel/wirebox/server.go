package wirebox

import (
	"bytes"
	"context"
	"crypto/tls"
	"errors"
	"log/slog"
	"sync"

	"signalbox/node/tunnel/link"
	"signalbox/proto/tunnelurl"
)

// A Server makes sessions of connections.
type Server struct {
	config   link.Config
	sessions chan link.Session

	mu     sync.Mutex
	closed bool
	open   map[*session]struct{}
	done   chan struct{}
}

// NewServer returns a server that waits for Handle.
func NewServer(c link.Config) *Server {
	return &Server{config: c, sessions: make(chan link.Session), open: map[*session]struct{}{}, done: make(chan struct{})}
}

// Sessions are those of clients that have the key, as they come.
func (s *Server) Sessions() <-chan link.Session { return s.sessions }

// Handle takes a connection over whose client says Line first. It returns when
// its session has ended, or ctx has.
func (s *Server) Handle(ctx context.Context, conn *link.Conn) {
	defer conn.Close()
	peer := conn.RemoteAddr().String()
	secure, err := s.shake(ctx, conn)
	if err != nil {
		if ctx.Err() == nil {
			s.config.Log(slog.LevelWarn, "Client refused: "+peer+": "+err.Error())
		}
		return
	}
	defer secure.Close()
	conn.Known()
	x, err := newSession(secure, tunnelurl.Server, s.config.Receives)
	if err != nil {
		s.config.Log(slog.LevelError, "Client lost: "+peer+": "+err.Error())
		return
	}
	defer x.Close()
	if !s.add(x) {
		return
	}
	defer s.remove(x)
	select {
	case s.sessions <- x:
	case <-s.done:
		return
	case <-x.Done():
		return
	case <-ctx.Done():
		return
	}
	select {
	case <-x.Done():
	case <-s.done:
	case <-ctx.Done():
	}
}

// shake reads the client's line and does the rest of the handshake.
func (s *Server) shake(ctx context.Context, conn *link.Conn) (*tls.Conn, error) {
	err := within(ctx, conn, func() error {
		line := make([]byte, len(Line)+1)
		first, err := conn.Peek(len(line))
		if err != nil {
			return err
		}
		if !bytes.Equal(first, []byte(Line+"\n")) {
			_, _ = conn.Write([]byte(Line + "\n")) // this is what is spoken here
			return errors.New("it speaks another version")
		}
		_, err = conn.Read(line)
		return err
	})
	if err != nil {
		return nil, err
	}
	return asServer(ctx, conn, &s.config)
}

func (s *Server) add(x *session) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if !s.closed {
		s.open[x] = struct{}{}
	}
	return !s.closed
}

func (s *Server) remove(x *session) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.open, x)
}

// Close ends all sessions; Handle returns for each.
func (s *Server) Close() {
	s.mu.Lock()
	open := s.open
	if !s.closed {
		s.closed = true
		close(s.done)
	}
	var all []*session
	for x := range open {
		all = append(all, x)
	}
	s.mu.Unlock()
	for _, x := range all {
		_ = x.Close()
	}
}
