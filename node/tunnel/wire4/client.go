package wire4

import (
	"bufio"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"strings"
	"time"

	"signalbox/node/tunnel/link"
	"signalbox/node/tunnel/pool"
	"signalbox/proto/tunnelurl"
)

const (
	// atOnce is how many pool connections are dialled at a time.
	atOnce = 8
)

// Dial makes the session of a client, once. It has a pool connection then, so
// what stands in the way of all of them is Dial's error. Which end receives
// users and how connections are secured, the server says.
func Dial(ctx context.Context, cfg link.Config) (link.Session, error) {
	if err := usable(cfg.Secret, always); err != nil {
		return nil, err
	}
	control, err := cfg.Dial(ctx)
	if err != nil {
		return nil, orCause(ctx, err)
	}
	pool.KeepAlive(control)
	t, err := introduce(ctx, cfg, control)
	if err != nil {
		_ = control.Close()
		return nil, err
	}
	life, stop := context.WithCancel(context.WithoutCancel(ctx))
	first, giveUp := context.WithCancel(ctx)
	defer giveUp()
	demand := pool.NewDemand(cfg.Min, cfg.Max)
	s := start(tunnelurl.Client, t, cfg, control, demand, func() { stop(); giveUp() })
	d := &dialler{session: s, cfg: cfg, tls: pool.ClientTLS(t.tls, cfg)}
	s.run(life, bufio.NewReaderSize(control, maxLine))
	if err := d.dial(first); err != nil {
		if why := s.Err(); why != nil {
			err = why
		}
		_ = s.Close()
		return nil, orCause(ctx, err)
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

// orCause is the reason for which ctx has ended, and err while it has not.
func orCause(ctx context.Context, err error) error {
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	return err
}

// introduce says the key and takes the server's terms.
func introduce(ctx context.Context, cfg link.Config, control net.Conn) (terms, error) {
	m := maskOf(cfg.Secret)
	_ = control.SetDeadline(time.Now().Add(handshake))
	stop := context.AfterFunc(ctx, func() { _ = control.SetDeadline(time.Unix(1, 0)) })
	defer stop()
	if _, err := control.Write(m.line(cfg.Secret)); err != nil {
		return terms{}, fmt.Errorf("saying the key: %w", err)
	}
	var line [termsLength]byte
	n, err := io.ReadFull(control, line[:])
	switch {
	case ctx.Err() != nil:
		return terms{}, context.Cause(ctx)
	case errors.Is(err, io.EOF):
		return terms{}, errors.New("the server closed the connection: its key is another one, or it has a client at this address")
	case err != nil:
		return terms{}, fmt.Errorf("the server did not answer the key (%d bytes came): %w", n, err)
	}
	t, ok := m.readTerms(line[:])
	if !ok {
		return terms{}, errors.New("the server answered the key with what NodePass 1.4 does not: it has a client at this address, or speaks another wire")
	}
	return t, usable(cfg.Secret, always+openNeeds(t.receives == tunnelurl.Client))
}

// A dialler makes a client's pool connections.
type dialler struct {
	session *session
	cfg     link.Config
	tls     *tls.Config
}

// dial makes one and puts it into the pool.
func (d *dialler) dial(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, handshake)
	defer cancel()
	raw, err := d.cfg.Dial(ctx)
	if err != nil {
		return err
	}
	pool.KeepAlive(raw)
	m, err := d.join(ctx, raw)
	if err != nil {
		_ = raw.Close()
		return err
	}
	s := d.session
	if s.entry() && strings.IndexByte(m.ID, s.mask.lost()) >= 0 {
		return m.Close() // this end could not say which one it uses
	}
	if !s.pool.Put(m, max(d.cfg.Min, d.cfg.Max, 1)) {
		_ = m.Close()
		return errors.New("the server gave an id twice")
	}
	return nil
}

// join makes a connection a pool connection, which has an id from then on.
func (d *dialler) join(ctx context.Context, raw net.Conn) (*pool.Member, error) {
	stop := context.AfterFunc(ctx, func() { _ = raw.SetDeadline(time.Unix(1, 0)) })
	defer stop()
	conn, err := pool.Secure(ctx, raw, tls.Client, d.tls)
	if err != nil {
		return nil, err
	}
	var id [8]byte
	if _, err := io.ReadFull(conn, id[:]); err != nil {
		return nil, fmt.Errorf("the server gave a connection no id: %w", err)
	}
	if strings.Trim(string(id[:]), hexDigits) != "" {
		return nil, errors.New("the server gave a connection what is no id")
	}
	if !stop() {
		return nil, context.Cause(ctx)
	}
	return &pool.Member{Conn: conn, ID: string(id[:])}, nil
}
