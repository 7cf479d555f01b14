package tunnel

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"strings"
	"sync"
	"syscall"
	"time"

	"signalbox/node/tunnel/link"
	"signalbox/proto/tunnelurl"
)

const (
	// dialTimeout bounds one attempt to have a session.
	dialTimeout = 30 * time.Second
	// proofs is how often in a row a server must close what it was not told
	// anything on, or leave it unanswered, until it is taken for one of 1.4. A
	// proxy whose server is about to begin does that as well.
	proofs = 3
)

// dial makes one attempt to have a session with the server. Where the URL does
// not say what that speaks, ours is tried first each time: our own introduction
// is answered by our own, with an error of HTTP by 1.13 and later, and not at
// all by 1.4, which takes several tries to believe. A server that spoke ours is
// told the key in no other way, whatever it does.
func (r *run) dial(ctx context.Context) (link.Session, error) {
	if r.url.Wire != tunnelurl.Auto {
		s, _, err := r.dialWire(ctx, r.url.Wire, 0)
		return s, err
	}
	need := proofs
	if r.spoken == tunnelurl.V1_4 {
		need = 1 // it has the key already, and may not be kept from its client for long
	}
	for n := 1; ; n++ {
		s, p, err := r.dialWire(ctx, tunnelurl.Signalbox, r.cfg.Silence)
		if err == nil {
			r.spoken = tunnelurl.Signalbox
			return s, nil
		}
		if ctx.Err() != nil || r.spoken == tunnelurl.Signalbox {
			return nil, err
		}
		switch p.verdict() {
		case tunnelurl.V1_14:
			return r.fallBack(ctx, tunnelurl.V1_14)
		case tunnelurl.V1_4:
			// Such a server takes nobody for a while after it was disappointed.
			r.log.detail("The server does not answer our introduction (%d of %d times)", n, need)
			if !pause(ctx, r.cfg.Retry) {
				return nil, context.Cause(ctx)
			}
			if n >= need {
				return r.fallBack(ctx, tunnelurl.V1_4)
			}
		default:
			return nil, err
		}
	}
}

// fallBack makes one attempt in a wire that tells the key to whoever answers,
// and says so.
func (r *run) fallBack(ctx context.Context, w tunnelurl.Wire) (link.Session, error) {
	r.log.repeat(slog.LevelWarn, "fallback", fmt.Sprintf("The server at %s does not speak as Signalbox does: falling back to wire %s, "+
		"which sends the key so that others can read it, and where nothing but tls at the server protects what is carried. "+
		"If the server is a Signalbox, say wire=signalbox and change the key; if it is NodePass, say wire=%s", r.url.Tunnel, w, w))
	s, _, err := r.dialWire(ctx, w, 0)
	r.spoken = ""
	if err == nil {
		r.spoken = w
	}
	return s, err
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

// A probe looks at how the server answers first. It is safe for concurrent
// use.
type probe struct {
	mu        sync.Mutex // guards what follows
	connected bool
	reset     bool // the connection was cut, as none is that a server closes
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

// verdict is what a server speaks that did not take our introduction; empty if
// that cannot be the reason.
func (p *probe) verdict() tunnelurl.Wire {
	p.mu.Lock()
	defer p.mu.Unlock()
	switch {
	case !p.connected, p.reset:
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
	w.failed(err)
	return n, err
}

func (w *watched) Write(b []byte) (int, error) {
	n, err := w.Conn.Write(b)
	w.failed(err)
	return n, err
}

// failed looks at why something did: neither our own end of it nor the server's
// is a reset.
func (w *watched) failed(err error) {
	if errors.Is(err, syscall.ECONNRESET) || errors.Is(err, syscall.EPIPE) {
		w.probe.mu.Lock()
		w.probe.reset = true
		w.probe.mu.Unlock()
	}
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
