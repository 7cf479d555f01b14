package wire14

import (
	"bufio"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"sync"
	"sync/atomic"
	"time"

	"signalbox/node/tunnel/link"
	"signalbox/node/tunnel/pool"
	"signalbox/proto/tunnelurl"
)

const (
	// every is how often each end asks whether the other is there.
	every = 5 * time.Second
	// silence is how long a peer may say nothing.
	silence = 3 * every
	// stale is how long a client may be silent before another one at its address
	// takes its place: two questions, and a little for the way.
	stale = 12 * time.Second
	// beginning is how long a client that has asked keeps its place without a
	// control connection.
	beginning = 2 * time.Second
	// step is how long a peer has for each step that needs nobody else.
	step = 5 * time.Second
	// openings is how many of a peer's signals are being worked on at a time;
	// more are dropped.
	openings = 1024
	// controlID is that of the control connection.
	controlID = "00000000"
)

// A session is one client of a server, or one server of a client. It has no
// control connection until begin.
type session struct {
	*pool.Life
	role   tunnelurl.Role // of this end
	terms  terms
	mask   mask
	pool   *pool.Pool
	prints *prints
	log    *pool.Log
	born   time.Time

	// heard is when the peer was last heard of, and asked when the ping was sent
	// that has no answer, both since born; 0 if never or none.
	heard, asked atomic.Int64
	ping         atomic.Int64 // as last measured
	writing      sync.Mutex   // one signal is written at a time

	requests chan *link.Request
	opening  chan struct{} // holds one for each signal being worked on

	mu      sync.Mutex
	ended   bool
	claimed bool
	control net.Conn // does not change when it is there
}

// newSession returns one whose handshake is over.
func newSession(role tunnelurl.Role, t terms, cfg link.Config, log *pool.Log, d pool.Demand, atEnd func()) *session {
	s := &session{
		role: role, terms: t, mask: mask(cfg.Secret), log: log,
		pool:     pool.New(t.receives != role, d),
		prints:   newPrints(),
		born:     time.Now(),
		requests: make(chan *link.Request),
		opening:  make(chan struct{}, openings),
	}
	s.Life = pool.NewLife(func() {
		s.mu.Lock()
		s.ended = true
		if s.control != nil {
			s.cut()
		}
		s.mu.Unlock()
		s.pool.Close()
		atEnd()
	})
	return s
}

// cut closes the control connection, without the goodbye of TLS, which would
// wait for a peer that reads nothing.
func (s *session) cut() {
	raw := s.control
	if t, ok := raw.(*tls.Conn); ok {
		raw = t.NetConn()
	}
	_ = raw.Close()
}

// begin gives a session its control connection, which it takes over, and starts
// what the session does by itself. It says no when the session has ended.
func (s *session) begin(control net.Conn) bool {
	s.mu.Lock()
	ended := s.ended
	if s.control = control; ended {
		s.cut()
	}
	s.heard.Store(int64(time.Since(s.born)))
	s.mu.Unlock()
	if ended {
		return false
	}
	s.Spawn(s.listen)
	s.Spawn(s.beat)
	if s.terms.tls == tunnelurl.Plain {
		close(s.prints.verified)
	} else {
		s.Spawn(s.prove)
	}
	return true
}

// first says yes once: to the connection that becomes the control connection.
func (s *session) first() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	first := !s.claimed
	s.claimed = true
	return first
}

// begun tells whether there is a control connection.
func (s *session) begun() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.control != nil
}

// Wire, Peer and Receives are of link.Session.
func (s *session) Wire() tunnelurl.Wire     { return tunnelurl.V1_14 }
func (s *session) Peer() net.Addr           { return s.control.RemoteAddr() }
func (s *session) Receives() tunnelurl.Role { return s.terms.receives }

// Stats is of link.Session.
func (s *session) Stats() link.Stats {
	return link.Stats{Ping: time.Duration(s.ping.Load()), Pool: s.pool.Len()}
}

// entry tells whether users come in at this end.
func (s *session) entry() bool { return s.terms.receives == s.role }

// live tells whether the peer is surely there, or surely about to come.
func (s *session) live() bool {
	select {
	case <-s.Done():
		return false
	default:
	}
	age := time.Since(s.born)
	if !s.begun() {
		return age < beginning
	}
	return age-time.Duration(s.heard.Load()) < stale
}

// listen takes the peer's signals.
func (s *session) listen() {
	r := bufio.NewReaderSize(s.control, maxLine)
	for {
		_ = s.control.SetReadDeadline(time.Now().Add(silence))
		sig, err := s.mask.read(r)
		if err != nil {
			s.End(lostBecause(err))
			return
		}
		s.heard.Store(int64(time.Since(s.born)))
		s.take(sig)
	}
}

// take does what a signal asks for, without letting the next one wait.
func (s *session) take(sig signal) {
	switch sig.Action {
	case ping:
		s.send(signal{Action: pong})
	case pong:
		if asked := s.asked.Swap(0); asked != 0 {
			s.ping.Store(int64(time.Since(s.born)) - asked)
		}
	case flush:
		s.pool.Flush()
	case open, openU:
		if !s.entry() { // nobody who speaks this wire sends it there
			if !s.work(func() { s.request(sig) }) {
				s.pool.Drop(sig.ID)
			}
		}
	case verify:
		if s.terms.tls != tunnelurl.Plain {
			s.work(func() { s.compare(sig) })
		}
	}
}

// work runs f, which may take a while, unless too much is being done already.
func (s *session) work(f func()) bool {
	select {
	case s.opening <- struct{}{}:
	default:
		s.log.Warn("users come faster than they are taken care of; one is dropped")
		return false
	}
	if !s.Spawn(func() {
		defer func() { <-s.opening }()
		f()
	}) {
		<-s.opening
	}
	return true
}

// lostBecause says to people why nothing more comes from a peer.
func lostBecause(err error) error {
	switch {
	case errors.Is(err, io.EOF):
		return errors.New("the peer closed the control connection")
	case errors.Is(err, os.ErrDeadlineExceeded):
		return fmt.Errorf("the peer has not been heard of for %v", silence)
	}
	return fmt.Errorf("the control connection is lost: %w", err)
}

// beat asks at once and then every so often whether the peer is there.
func (s *session) beat() {
	tick := time.NewTicker(every)
	defer tick.Stop()
	var flushed time.Time
	for {
		s.asked.Store(int64(time.Since(s.born)))
		s.send(signal{Action: ping})
		select {
		case <-s.Done():
			return
		case <-tick.C:
		}
		s.pool.Rest()
		if s.role == tunnelurl.Server && s.entry() && s.pool.Starved(pool.Patience) && time.Since(flushed) >= 2*every {
			// The client thinks that it has connections enough, of which none
			// are left here: something between the ends has dropped them.
			flushed = time.Now()
			s.log.Warn("users wait and no connection of the client is free; telling it to begin anew")
			s.send(signal{Action: flush})
		}
	}
}

// send writes a signal. A control connection that takes none is lost.
func (s *session) send(sig signal) bool {
	s.writing.Lock()
	defer s.writing.Unlock()
	_ = s.control.SetWriteDeadline(time.Now().Add(step))
	if _, err := s.control.Write(s.mask.line(sig)); err != nil {
		s.End(fmt.Errorf("the control connection is lost: %w", err))
		return false
	}
	return true
}

// prove shows the peer the certificate that this end sees on some connection,
// which is not used for anything else then.
func (s *session) prove() {
	m, err := s.pool.Take(context.Background(), "")
	if err != nil {
		return // the session has ended
	}
	s.send(signal{Action: verify, ID: m.ID, Print: s.prints.tell(m.ID)})
	_ = m.Close()
}

// compare takes the certificate that the peer sees on a connection, which is not
// used for anything else then.
func (s *session) compare(sig signal) {
	ctx, cancel := context.WithTimeout(context.Background(), pool.Patience)
	defer cancel()
	s.prints.await(ctx, s.Done(), sig.ID)
	err := s.prints.compare(sig.ID, sig.Print)
	s.pool.Drop(sig.ID)
	if err != nil {
		s.End(err)
	}
}
