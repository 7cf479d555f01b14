package wire4

import (
	"bufio"
	"context"
	"crypto/rand"
	"crypto/subtle"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"maps"
	"net"
	"net/netip"
	"os"
	"slices"
	"sync"
	"time"

	"signalbox/node/tunnel/link"
	"signalbox/node/tunnel/pool"
	"signalbox/proto/tunnelurl"
)

const (
	// look is how long a client's new connection may say nothing until it is
	// taken for a pool connection. A key comes with the first packet.
	look = 30 * time.Millisecond
	// fewest is how many unused connections a server takes whatever its Max. A
	// client of this wire does not learn that, and would dial for ever.
	fewest = 1024
)

// A Server serves the clients of one instance. Handle gives it connections.
type Server struct {
	cfg   link.Config
	terms terms
	tls   *tls.Config
	err   error
	log   *pool.Log

	sessions chan link.Session
	visits   pool.Visits

	mu      sync.Mutex
	closed  bool
	clients map[netip.Addr]*session // those that have not ended
}

// NewServer returns a server that has no clients.
func NewServer(cfg link.Config) *Server {
	t := terms{receives: cfg.Receives, tls: cfg.TLS}
	return &Server{
		cfg: cfg, terms: t,
		tls:      serverTLS(cfg),
		err:      usable(cfg.Secret, t.needs()),
		log:      &pool.Log{Lines: cfg.Log},
		sessions: make(chan link.Session),
		clients:  map[netip.Addr]*session{},
	}
}

// serverTLS is how a server secures pool connections, nil where it does not.
func serverTLS(cfg link.Config) *tls.Config {
	if cfg.TLS == tunnelurl.Plain {
		return nil
	}
	return pool.ServerTLS(func() (*tls.Certificate, error) {
		if cfg.Certificate == nil {
			return nil, errors.New("the server has no certificate")
		}
		return cfg.Certificate()
	})
}

// Err says why no client can be served, for people; nil where they can. It does
// not change. Every connection is closed then.
func (s *Server) Err() error { return s.err }

// Expects tells whether a client has shown the key from an IP address, so that
// connections of it come that begin with silence or with TLS.
func (s *Server) Expects(ip netip.Addr) bool { return s.client(ip.Unmap().WithZone("")) != nil }

// Sessions are those of new clients. Whoever takes one closes it. It is closed
// when the server is.
func (s *Server) Sessions() <-chan link.Session { return s.sessions }

// Close ends all sessions and closes all connections, and waits until every
// Handle has returned.
func (s *Server) Close() {
	if !s.visits.Cancel() {
		return
	}
	s.mu.Lock()
	s.closed = true
	live := slices.Collect(maps.Values(s.clients))
	s.mu.Unlock()
	for _, c := range live {
		_ = c.Close()
	}
	s.visits.Wait()
	close(s.sessions)
}

// Handle takes over a connection to the tunnel's address, until it is closed or
// belongs to a session. Where it comes to a new session, that waits for whoever
// takes it from Sessions. ctx ends what waits for the peer.
func (s *Server) Handle(ctx context.Context, conn *link.Conn) {
	s.visits.Attend(ctx, conn, func(ctx context.Context) {
		pool.KeepAlive(conn.Conn)
		if err := s.handle(ctx, conn); err != nil {
			_ = conn.Close()
			if ctx.Err() == nil {
				s.log.Warn(fmt.Sprintf("a connection from %v was closed: %v", conn.RemoteAddr(), err))
			}
		}
	})
}

// handle finds out what a connection is. With an error it belongs to nobody.
func (s *Server) handle(ctx context.Context, conn *link.Conn) error {
	if s.err != nil {
		return s.err
	}
	addr := address(conn.RemoteAddr())
	_ = conn.SetDeadline(time.Now().Add(handshake))
	client := s.client(addr)
	if client != nil && s.unused(conn) {
		return s.join(ctx, client, conn)
	}
	if err := s.hasKey(conn); err != nil {
		return err
	}
	conn.Known()
	return s.welcome(ctx, addr, conn)
}

// unused tells whether a connection from a client's address is a pool
// connection: it begins TLS, or waits for its id in silence.
func (s *Server) unused(conn *link.Conn) bool {
	if s.tls != nil {
		// A message of TLS: a handshake, of which version is said elsewhere.
		if first, err := conn.Peek(1); err != nil || first[0] != 0x16 {
			return false
		}
		head, err := conn.Peek(3)
		return err == nil && head[1] == 3 && head[2] <= 3
	}
	if conn.Buffered() > 0 {
		return false
	}
	// Somebody else may have waited before. What has come is found all the same.
	wait := max(look-conn.Age(), time.Millisecond)
	_ = conn.SetReadDeadline(time.Now().Add(wait))
	_, err := conn.Peek(1)
	_ = conn.SetReadDeadline(time.Now().Add(handshake))
	return errors.Is(err, os.ErrDeadlineExceeded)
}

// What is wrong with a stranger.
var (
	errSilent = errors.New("it did not say the key")
	errKey    = errors.New("its key is another one")
)

// hasKey reads the key, all of it, so that the time it takes says nothing.
func (s *Server) hasKey(conn *link.Conn) error {
	want := maskOf(s.cfg.Secret).line(s.cfg.Secret)
	got := make([]byte, 0, len(want))
	_, _ = conn.Peek(1) // takes all that has come: closing with more of it unread would be a reset
	for len(got) < len(want) {
		var b [1]byte // what follows the key is the session's
		if _, err := io.ReadFull(conn, b[:]); err != nil {
			return errSilent
		}
		got = append(got, b[0])
		if b[0] == '\n' {
			break
		}
	}
	if subtle.ConstantTimeCompare(got, want) != 1 {
		return errKey
	}
	return nil
}

// errSecond says that an address has its client.
var errSecond = errors.New("a client at the same address is connected, and this wire cannot tell the two apart")

// errReplaced is why a session ends whose client came again.
var errReplaced = errors.New("the client was silent, and one at the same address has taken its place")

// welcome makes a session of a connection that has the key.
func (s *Server) welcome(ctx context.Context, addr netip.Addr, conn *link.Conn) error {
	life, stop := context.WithCancel(context.WithoutCancel(ctx))
	var c *session
	c = start(tunnelurl.Server, s.terms, s.cfg, conn, pool.Demand{}, func() {
		stop()
		s.leave(addr, c)
	})
	if err := s.enter(addr, c); err != nil {
		_ = c.Close()
		return err
	}
	_ = conn.SetWriteDeadline(time.Now().Add(handshake))
	if _, err := conn.Write(maskOf(s.cfg.Secret).line(s.terms.text())); err != nil {
		_ = c.Close()
		return fmt.Errorf("answering: %w", err)
	}
	_ = conn.SetDeadline(time.Time{})
	c.run(life, bufio.NewReaderSize(conn, maxLine))
	select {
	case s.sessions <- c:
		return nil
	case <-c.Done():
		return errors.Join(c.Err(), c.Close())
	case <-ctx.Done():
		return errors.Join(context.Cause(ctx), c.Close())
	}
}

// enter makes a session the one of its client's address, from which pool
// connections come from now on.
func (s *Server) enter(addr netip.Addr, c *session) error {
	if old := s.client(addr); old != nil {
		select { // a client that begins anew may be faster than its own end
		case <-old.Done():
		case <-time.After(look):
		}
	}
	s.mu.Lock()
	old := s.clients[addr]
	if s.closed || (old != nil && old.live()) {
		s.mu.Unlock()
		return errSecond
	}
	s.clients[addr] = c
	s.mu.Unlock()
	if old != nil {
		old.End(errReplaced)
	}
	return nil
}

// leave ends what enter began.
func (s *Server) leave(addr netip.Addr, c *session) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.clients[addr] == c {
		delete(s.clients, addr)
	}
}

// client is the session of an address, nil if there is none.
func (s *Server) client(addr netip.Addr) *session {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.clients[addr]
}

// join gives a client's session a pool connection.
func (s *Server) join(ctx context.Context, c *session, conn *link.Conn) error {
	var plain net.Conn = conn
	if conn.Buffered() == 0 {
		plain = conn.Conn // nothing was read ahead, nor need be
	}
	ready, err := pool.Secure(ctx, plain, tls.Server, s.tls)
	if err != nil {
		return err
	}
	m := &pool.Member{Conn: ready, ID: c.newID()}
	if _, err := io.WriteString(ready, m.ID); err != nil {
		return fmt.Errorf("giving it an id: %w", err)
	}
	_ = ready.SetDeadline(time.Time{})
	if !c.pool.Put(m, max(s.cfg.Max, fewest)) {
		return errors.New("its client has enough of them")
	}
	return nil
}

// newID is one that no member has, without the character that the key's length
// loses.
func (s *session) newID() string {
	for {
		var b [8]byte
		_, _ = rand.Read(b[:]) // never fails
		for i := range b {
			b[i] = hexDigits[b[i]%16]
			if b[i] == s.mask.lost() {
				b[i] = other(b[i])
			}
		}
		if id := string(b[:]); s.pool.Free(id) {
			return id
		}
	}
}

// other is another digit.
func other(digit byte) byte {
	if digit == '7' {
		return '9'
	}
	return '7'
}

// address is where a connection comes from. Those of other kinds than IP are
// all the same one.
func address(a net.Addr) netip.Addr {
	ap, err := netip.ParseAddrPort(a.String())
	if err != nil {
		return netip.Addr{}
	}
	return ap.Addr().Unmap().WithZone("")
}
