package wire14

import (
	"context"
	"crypto/tls"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"net"
	"time"

	"signalbox/node/tunnel/link"
	"signalbox/node/tunnel/pool"
	"signalbox/proto/tunnelurl"
)

const (
	// atOnce is how many pool connections are dialled at a time.
	atOnce = 64
	// again is the pause until a server is tried again that does not take
	// connections yet: NodePass closes its port for a moment after the handshake.
	again = 100 * time.Millisecond
)

// Dial makes the session of a client, once. It has a control connection and one
// more then, so what stands in the way of all of them is Dial's error. Which end
// receives users and how connections are secured, the server says.
func Dial(ctx context.Context, cfg link.Config) (link.Session, error) {
	t, err := introduce(ctx, cfg)
	if err != nil {
		return nil, err
	}
	life, stop := context.WithCancel(context.WithoutCancel(ctx))
	if cfg.Max > 0 {
		t.most = min(t.most, cfg.Max)
	}
	log := &pool.Log{Lines: cfg.Log}
	first, giveUp := context.WithCancel(ctx)
	defer giveUp()
	s := newSession(tunnelurl.Client, t, cfg, log, pool.NewDemand(min(cfg.Min, t.most), t.most), func() { stop(); giveUp() })
	d := &dialler{session: s, cfg: cfg, tls: pool.ClientTLS(t.tls, cfg)}
	if err = d.first(first); err == nil {
		err = d.dial(first)
	}
	if err != nil {
		if why := s.Err(); why != nil {
			err = why
		}
		_ = s.Close()
		if ctx.Err() != nil {
			err = context.Cause(ctx)
		}
		return nil, err
	}
	filler := pool.Filler{Pool: s.pool, Dial: d.dial, AtOnce: atOnce, Failed: func(err error) {
		s.log.Warn("a connection to the server could not be made: " + err.Error())
	}}
	s.Spawn(func() {
		if err := filler.Run(life); err != nil {
			s.End(err)
		}
	})
	return s, nil
}

// introduce shows the server the key and takes its terms.
func introduce(ctx context.Context, cfg link.Config) (terms, error) {
	conn, err := cfg.Dial(ctx)
	if err != nil {
		return terms{}, err
	}
	defer conn.Close()
	stop := bounded(ctx, conn)
	defer stop()
	t, err := ask(conn, cfg.Secret)
	if ctx.Err() != nil {
		return terms{}, context.Cause(ctx)
	}
	return t, err
}

// bounded gives what waits for the peer on a connection the time of a step, and
// ends it with ctx. stop says whether that has not happened.
func bounded(ctx context.Context, conn net.Conn) (stop func() bool) {
	_ = conn.SetDeadline(time.Now().Add(step))
	return context.AfterFunc(ctx, func() { _ = conn.SetDeadline(time.Unix(1, 0)) })
}

// A dialler makes a client's connections.
type dialler struct {
	session *session
	cfg     link.Config
	tls     *tls.Config
}

// first makes the control connection, as soon as the server takes connections
// again.
func (d *dialler) first(ctx context.Context) error {
	until, cancel := context.WithTimeout(ctx, step)
	defer cancel()
	for {
		m, err := d.connect(until)
		if err == nil {
			if m.ID != controlID {
				_ = m.Close()
				return errors.New("the server has taken another connection from this address for the first one")
			}
			if !d.session.begin(m.Conn) {
				return d.session.Gone()
			}
			return nil
		}
		if untrusted := (*tls.CertificateVerificationError)(nil); errors.As(err, &untrusted) {
			return err
		}
		select {
		case <-until.Done():
			return fmt.Errorf("the server takes no connection after the handshake: %w", err)
		case <-time.After(again):
		}
	}
}

// dial makes one more and puts it into the pool.
func (d *dialler) dial(ctx context.Context) error {
	m, err := d.connect(ctx)
	if err != nil {
		return err
	}
	s := d.session
	if m.ID == controlID {
		_ = m.Close()
		return errors.New("the server gave the control connection's id once more")
	}
	if !s.pool.Put(m, s.terms.most) {
		_ = m.Close()
		return errors.New("the server gave an id twice")
	}
	return nil
}

// connect makes a connection, which has an id then.
func (d *dialler) connect(ctx context.Context) (*pool.Member, error) {
	ctx, cancel := context.WithTimeout(ctx, step)
	defer cancel()
	raw, err := d.cfg.Dial(ctx)
	if err != nil {
		return nil, err
	}
	pool.KeepAlive(raw)
	m, err := d.join(ctx, raw)
	if err != nil {
		_ = raw.Close()
	}
	return m, err
}

// join makes a connection one of the tunnel's.
func (d *dialler) join(ctx context.Context, raw net.Conn) (*pool.Member, error) {
	stop := bounded(ctx, raw)
	defer stop()
	conn, err := pool.Secure(ctx, raw, tls.Client, d.tls)
	if err != nil {
		return nil, err
	}
	var id [4]byte
	if _, err := io.ReadFull(conn, id[:]); err != nil {
		return nil, fmt.Errorf("the server gave a connection no id: %w", err)
	}
	if !stop() {
		return nil, context.Cause(ctx)
	}
	_ = raw.SetDeadline(time.Time{})
	m := &pool.Member{Conn: conn, ID: hex.EncodeToString(id[:])}
	if t, ok := conn.(*tls.Conn); ok {
		d.session.prints.saw(m.ID, fingerprint(t.ConnectionState().PeerCertificates[0].Raw))
	}
	return m, nil
}
