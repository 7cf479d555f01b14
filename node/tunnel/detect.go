package tunnel

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"strings"
	"sync"
	"time"

	"signalbox/node/tunnel/link"
	"signalbox/proto/tunnelurl"
)

const (
	// dialTimeout bounds one attempt to have a session.
	dialTimeout = 30 * time.Second
	// maxMisses is how often a server may refuse what it spoke before, until it
	// is found out anew what it speaks. One that spoke ours is told the key in
	// no other way, whatever it does.
	maxMisses = 3
)

// dial makes one attempt to have a session with the server. Where the URL does
// not say what that speaks, it is tried, and remembered when it works: our own
// introduction is answered by our own, with an error of HTTP by 1.13 and later,
// and not at all by 1.4.
func (r *run) dial(ctx context.Context) (link.Session, error) {
	if r.url.Wire != tunnelurl.Auto {
		s, _, err := r.dialWire(ctx, r.url.Wire, 0)
		return s, err
	}
	wire := r.spoken
	if wire == "" {
		wire = tunnelurl.Signalbox
	}
	known := r.spoken != ""
	s, p, err := r.dialWire(ctx, wire, r.cfg.Silence)
	if err != nil && !known && ctx.Err() == nil {
		switch p.verdict() {
		case tunnelurl.V1_14:
			wire = tunnelurl.V1_14
			s, _, err = r.dialWire(ctx, wire, 0)
		case tunnelurl.V1_4:
			// Such a server takes nobody for a while after it was disappointed.
			wire = tunnelurl.V1_4
			r.log.say(slog.LevelDebug, "The server does not introduce itself: trying wire 1.4")
			if !pause(ctx, r.cfg.Retry) {
				return nil, context.Cause(ctx)
			}
			s, _, err = r.dialWire(ctx, wire, 0)
		}
	}
	if err == nil {
		r.spoken, r.misses = wire, 0
		return s, nil
	}
	if known && wire != tunnelurl.Signalbox && p.reached() {
		if r.misses++; r.misses >= maxMisses {
			r.spoken = ""
		}
	}
	return nil, err
}

// dialWire makes one attempt in one wire. A server that says nothing for silence
// is given up, unless that is 0. The probe knows what the server answered.
func (r *run) dialWire(ctx context.Context, w tunnelurl.Wire, silence time.Duration) (link.Session, *probe, error) {
	p := &probe{}
	wire, ok := r.cfg.Wires[w]
	if !ok {
		return nil, p, r.notSpoken(w)
	}
	if w != tunnelurl.Signalbox {
		silence = 0 // their servers may let the client speak first
	}
	conf := r.link(w)
	conf.Roots, conf.ServerName = r.cfg.Roots, r.serverName()
	conf.Dial = func(ctx context.Context) (net.Conn, error) {
		c, err := r.dialServer(ctx)
		if err != nil {
			return nil, err
		}
		return p.watch(c, silence), nil
	}
	dialling, cancel := context.WithTimeout(ctx, dialTimeout)
	defer cancel()
	s, err := wire.Dial(dialling, conf)
	if err != nil && ctx.Err() == nil && errors.Is(err, context.DeadlineExceeded) {
		err = fmt.Errorf("the server at %s did not answer in time", r.url.Tunnel)
	}
	return s, p, err
}

// serverName is whose certificate a server must have.
func (r *run) serverName() string {
	if r.url.ServerName != "" {
		return r.url.ServerName
	}
	host, _, _ := net.SplitHostPort(r.url.Tunnel)
	return host
}

// A probe looks at what the server answers first. It is safe for concurrent
// use.
type probe struct {
	mu        sync.Mutex // guards what follows
	connected bool
	first     []byte
}

// telling is how many first bytes are looked at.
const telling = 12

// watch returns c as a connection that the probe sees the answers of.
func (p *probe) watch(c net.Conn, silence time.Duration) net.Conn {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.connected { // only the first tells
		return c
	}
	p.connected = true
	w := &watched{Conn: c, probe: p}
	if silence > 0 {
		w.silent = time.AfterFunc(silence, func() { _ = c.Close() })
	}
	return w
}

// reached says whether anybody was.
func (p *probe) reached() bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.connected
}

// verdict is what a server speaks that did not take our introduction; empty if
// that cannot be the reason.
func (p *probe) verdict() tunnelurl.Wire {
	p.mu.Lock()
	defer p.mu.Unlock()
	switch {
	case !p.connected:
		return ""
	case len(p.first) == 0:
		return tunnelurl.V1_4
	case strings.HasPrefix(string(p.first), "HTTP/1."):
		return tunnelurl.V1_14
	}
	return ""
}

// A watched connection tells its probe how it begins.
type watched struct {
	net.Conn
	probe  *probe
	silent *time.Timer
	told   bool // Read's goroutine alone has it
}

func (w *watched) Read(b []byte) (int, error) {
	n, err := w.Conn.Read(b)
	if !w.told && n > 0 {
		if w.silent != nil {
			w.silent.Stop()
		}
		w.probe.mu.Lock()
		w.probe.first = append(w.probe.first, b[:min(n, telling)]...)
		w.told = len(w.probe.first) >= telling
		w.probe.mu.Unlock()
	}
	return n, err
}

// CloseWrite ends the sending direction.
func (w *watched) CloseWrite() error {
	if c, ok := w.Conn.(interface{ CloseWrite() error }); ok {
		return c.CloseWrite()
	}
	return w.Close()
}

// Close closes the connection.
func (w *watched) Close() error {
	if w.silent != nil {
		w.silent.Stop()
	}
	return w.Conn.Close()
}
