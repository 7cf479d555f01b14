package wire14

import (
	"context"
	"crypto/rand"
	"crypto/tls"
	"encoding/hex"
	"errors"
	"fmt"
	"maps"
	"net"
	"net/netip"
	"slices"
	"sync"
	"time"

	"signalbox/node/tunnel/link"
	"signalbox/node/tunnel/pool"
	"signalbox/proto/tunnelurl"
)

// look is how long a connection from a client's address may say nothing until it
// is taken for a pool connection. Whoever asks does so with the first packet.
const look = 30 * time.Millisecond

// A Server serves the clients of one instance. Handle gives it connections.
type Server struct {
	cfg    link.Config
	terms  terms
	log    *pool.Log
	visits pool.Visits

	sessions chan link.Session

	mu      sync.Mutex
	closed  bool
	clients map[netip.Addr]*session // those that have not ended
}

// NewServer returns a server that has no clients.
func NewServer(cfg link.Config) *Server {
	return &Server{
		cfg:      cfg,
		terms:    terms{receives: cfg.Receives, tls: cfg.TLS, most: max(cfg.Max, 1)},
		log:      &pool.Log{Lines: cfg.Log},
		sessions: make(chan link.Session),
		clients:  map[netip.Addr]*session{},
	}
}

// Sessions are those of new clients. Whoever takes one closes it. It is closed
// when the server is.
func (s *Server) Sessions() <-chan link.Session { return s.sessions }

// Expects tells whether connections that say nothing are to come from an
// address: those of a client that has asked.
func (s *Server) Expects(ip netip.Addr) bool { return s.client(ip.Unmap().WithZone("")) != nil }

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
	addr := address(conn.RemoteAddr())
	_ = conn.SetDeadline(time.Now().Add(step))
	c := s.client(addr)
	if c != nil && !isRequest(conn, s.terms.tls) {
		_ = conn.SetDeadline(time.Now().Add(step))
		return s.join(ctx, c, conn)
	}
	_ = conn.SetReadDeadline(time.Now().Add(step))
	return s.welcome(addr, conn)
}

// welcome answers a client that asks, and gives it a session where it has the
// key.
func (s *Server) welcome(addr netip.Addr, conn *link.Conn) error {
	err := readRequest(conn, s.cfg.Secret)
	var c *session
	if err == nil {
		c, err = s.enter(addr)
	}
	if err != nil {
		return errors.Join(err, reply(conn, answer(err)))
	}
	conn.Known()
	if err := reply(conn, response(200, "application/json", s.terms.text())); err != nil {
		c.End(err)
		return err
	}
	return conn.Close()
}

// enter begins the session of a client at an address, from which its connections
// come from now on.
func (s *Server) enter(addr netip.Addr) (*session, error) {
	if old := s.client(addr); old != nil {
		select { // a client that begins anew may be faster than its own end
		case <-old.Done():
		case <-time.After(look):
		}
	}
	var c *session
	c = newSession(tunnelurl.Server, s.terms, s.cfg, s.log, pool.Demand{}, func() { s.leave(addr, c) })
	s.mu.Lock()
	old := s.clients[addr]
	if s.closed || old != nil && old.live() {
		s.mu.Unlock()
		return nil, errSecond
	}
	s.clients[addr] = c
	s.mu.Unlock()
	if old != nil {
		old.End(errReplaced)
	}
	time.AfterFunc(step, func() { s.expire(c) }) // when it has begun or ended, this is nothing
	return c, nil
}

// expire ends a session whose client has made no control connection in time.
func (s *Server) expire(c *session) {
	if !c.begun() {
		c.End(errors.New("the client has shown the key and made no connection after it"))
	}
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

// errEnough says that a client makes connections that it was told not to.
var errEnough = errors.New("its client has enough of them")

// join gives a client's session a connection.
func (s *Server) join(ctx context.Context, c *session, conn *link.Conn) error {
	if c.pool.Len() >= s.terms.most {
		return errEnough
	}
	ready, print, err := s.secure(ctx, conn)
	if err != nil {
		return err
	}
	if c.first() {
		conn.Known() // its session waits for nothing else
		return s.start(ctx, c, ready)
	}
	m := &pool.Member{Conn: ready}
	id := c.newID()
	m.ID = hex.EncodeToString(id)
	if print != "" {
		c.prints.saw(m.ID, print)
	}
	if _, err := ready.Write(id); err != nil {
		return fmt.Errorf("giving it an id: %w", err)
	}
	_ = ready.SetDeadline(time.Time{})
	if !c.pool.Put(m, s.terms.most) {
		if c.Err() != nil {
			return c.Gone()
		}
		return errEnough
	}
	return nil
}

// secure makes a connection one of the tunnel's, and says with which
// certificate, if with any.
func (s *Server) secure(ctx context.Context, conn *link.Conn) (net.Conn, string, error) {
	var plain net.Conn = conn
	if conn.Buffered() == 0 {
		plain = conn.Conn // nothing was read ahead, nor need be
	}
	if s.terms.tls == tunnelurl.Plain {
		return plain, "", nil
	}
	ctx, cancel := context.WithTimeout(ctx, step)
	defer cancel()
	print := ""
	ready, err := pool.Secure(ctx, plain, tls.Server, pool.ServerTLS(func() (*tls.Certificate, error) {
		if s.cfg.Certificate == nil {
			return nil, errors.New("the server has no certificate")
		}
		own, err := s.cfg.Certificate()
		if err == nil {
			print = fingerprint(own.Certificate[0])
		}
		return own, err
	}))
	return ready, print, err
}

// start makes a connection a session's control connection, and hands the session
// to whoever takes it.
func (s *Server) start(ctx context.Context, c *session, control net.Conn) error {
	if _, err := control.Write(make([]byte, 4)); err != nil {
		err = fmt.Errorf("giving it an id: %w", err)
		c.End(err)
		return err
	}
	_ = control.SetDeadline(time.Time{})
	if !c.begin(control) {
		return c.Gone()
	}
	select {
	case s.sessions <- c:
		return nil
	case <-c.Done():
		return errors.Join(c.Err(), c.Close())
	case <-ctx.Done():
		return errors.Join(context.Cause(ctx), c.Close())
	}
}

// newID is one that no connection has that waits.
func (s *session) newID() []byte {
	for {
		id := make([]byte, 4)
		_, _ = rand.Read(id) // never fails
		if text := hex.EncodeToString(id); text != controlID && s.pool.Free(text) {
			return id
		}
	}
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
