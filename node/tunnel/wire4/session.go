package wire4

import (
	"bufio"
	"context"
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
	// every is how often each end sends a beat.
	every = 5 * time.Second
	// silence is how long a peer may say nothing: three beats.
	silence = 3 * every
	// stale is how long a client may be silent before another one at its address
	// takes its place: two beats, and a little for the way.
	stale = 12 * time.Second
	// handshake is how long a peer has for each step that needs nobody else.
	handshake = 10 * time.Second
	// openings is how many of a peer's signals are being worked on at a time, and
	// how many datagrams wait for their answers; more are dropped.
	openings = 1024
)

// A session is one client of a server, or one server of a client.
type session struct {
	*pool.Life
	role    tunnelurl.Role // of this end
	terms   terms
	mask    mask
	control net.Conn
	pool    *pool.Pool
	log     *pool.Log
	began   time.Time

	writing sync.Mutex // one signal is written at a time
	// heard is when the peer was last heard of, since began.
	heard    atomic.Int64
	requests chan *link.Request
	// opening and exchanges hold one for each signal, and datagram, under way.
	opening, exchanges chan struct{}
}

// start makes a session of a control connection whose handshake is over. Call
// run with it. atEnd is called once, by whoever ends it.
func start(role tunnelurl.Role, t terms, cfg link.Config, control net.Conn, d pool.Demand, atEnd func()) *session {
	s := &session{
		role: role, terms: t, mask: maskOf(cfg.Secret), control: control,
		log:       &pool.Log{Lines: cfg.Log},
		began:     time.Now(),
		pool:      pool.New(t.receives != role, d),
		requests:  make(chan *link.Request),
		opening:   make(chan struct{}, openings),
		exchanges: make(chan struct{}, openings),
	}
	s.Life = pool.NewLife(func() {
		_ = s.control.Close()
		s.pool.Close()
		atEnd()
	})
	return s
}

// run starts what a session does by itself. ctx ends with the session, r is of
// control.
func (s *session) run(ctx context.Context, r *bufio.Reader) {
	s.Spawn(func() { s.listen(ctx, r) })
	s.Spawn(s.beat)
}

// Wire, Peer and Receives are of link.Session.
func (s *session) Wire() tunnelurl.Wire     { return tunnelurl.V1_4 }
func (s *session) Peer() net.Addr           { return s.control.RemoteAddr() }
func (s *session) Receives() tunnelurl.Role { return s.terms.receives }

// entry tells whether users come in at this end.
func (s *session) entry() bool { return s.terms.receives == s.role }

// Stats have no ping: nobody answers a beat.
func (s *session) Stats() link.Stats { return link.Stats{Pool: s.pool.Len()} }

// listen takes the peer's signals. Both ends of any peer send beats, so silence
// means that it is lost whichever end it is.
func (s *session) listen(ctx context.Context, r *bufio.Reader) {
	for {
		_ = s.control.SetReadDeadline(time.Now().Add(silence))
		sig, err := s.mask.read(r)
		if err != nil {
			s.End(lostBecause(err))
			return
		}
		s.heard.Store(int64(time.Since(s.began)))
		switch sig.what {
		case open:
			s.opened(ctx, sig)
		case flush:
			s.pool.Flush()
		}
	}
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

// live tells whether the peer is surely there.
func (s *session) live() bool {
	select {
	case <-s.Done():
		return false
	default:
		return time.Since(s.began)-time.Duration(s.heard.Load()) < stale
	}
}

// beat says at once and then every so often that this end lives.
func (s *session) beat() {
	tick := time.NewTicker(every)
	defer tick.Stop()
	var flushed time.Time
	for {
		s.send(signal{what: beat})
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
			s.send(signal{what: flush})
		}
	}
}

// send writes a signal. A control connection that takes none is lost, but for
// beats to an end that receives users: NodePass 1.4 never reads those, until
// some day no more fit in. Then what is heard of it has to do.
func (s *session) send(sig signal) bool {
	if sig.what == flush && s.mask.lost() == '0' {
		return true // the key's length has no word for it
	}
	s.writing.Lock()
	_ = s.control.SetWriteDeadline(time.Now().Add(every))
	n, err := s.control.Write(s.mask.line(sig.text()))
	s.writing.Unlock()
	if err == nil {
		return true
	}
	if n == 0 && !s.entry() && errors.Is(err, os.ErrDeadlineExceeded) {
		return false
	}
	s.End(fmt.Errorf("the control connection is lost: %w", err))
	return false
}
