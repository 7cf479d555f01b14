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
	"sync"
	"time"

	"signalbox/node/tunnel/link"
	"signalbox/proto/tunnelurl"
)

const (
	// atOnce is how many pool connections are dialled at a time.
	atOnce = 8
	// soon and later bound the pause after one that could not be made.
	soon  = 100 * time.Millisecond
	later = 3 * time.Second
	// hopeless is how long none can be made, while none is left, until the
	// session ends.
	hopeless = 10 * time.Second
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
	alive(control)
	t, err := introduce(ctx, cfg, control)
	if err != nil {
		_ = control.Close()
		return nil, err
	}
	life, stop := context.WithCancel(context.WithoutCancel(ctx))
	first, giveUp := context.WithCancel(ctx)
	defer giveUp()
	s := start(tunnelurl.Client, t, cfg, control, newDemand(cfg.Min, cfg.Max))
	s.stop = func() { stop(); giveUp() }
	d := &dialler{session: s, cfg: cfg, tls: clientTLS(t, cfg)}
	s.run(life, bufio.NewReaderSize(control, maxLine))
	if err := d.dial(first); err != nil {
		if why := s.Err(); why != nil {
			err = why
		}
		_ = s.Close()
		return nil, orCause(ctx, err)
	}
	s.spawn(func() { d.fill(life) })
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
	alive(raw)
	m, err := d.join(ctx, raw)
	if err != nil {
		_ = raw.Close()
		return err
	}
	s := d.session
	if s.entry() && strings.IndexByte(m.id, s.mask.lost()) >= 0 {
		return m.Close() // this end could not say which one it uses
	}
	if !s.pool.put(m, s.pool.demand.most) {
		_ = m.Close()
		return errors.New("the server gave an id twice")
	}
	return nil
}

// join makes a connection a pool connection, which has an id from then on.
func (d *dialler) join(ctx context.Context, raw net.Conn) (*member, error) {
	stop := context.AfterFunc(ctx, func() { _ = raw.SetDeadline(time.Unix(1, 0)) })
	defer stop()
	conn, err := secure(ctx, raw, tls.Client, d.tls)
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
	return &member{Conn: conn, id: string(id[:])}, nil
}

// fill keeps the pool filled until ctx ends, which is with the session. It ends
// the session when it cannot.
func (d *dialler) fill(ctx context.Context) {
	pool := d.session.pool
	dialled := make(chan error, atOnce) // has room for all under way
	dialling := 0
	var underWay sync.WaitGroup
	defer underWay.Wait()
	var failures failures
	for {
		for !failures.pausing() && dialling < atOnce && pool.missing(dialling) > 0 {
			dialling++
			underWay.Go(func() { dialled <- d.dial(ctx) })
		}
		select {
		case <-ctx.Done():
			return
		case <-pool.changed:
		case <-failures.over:
			failures.over = nil
		case err := <-dialled:
			dialling--
			failures.count(err)
		}
		if failures.since(pool.len()) >= hopeless {
			d.session.end(fmt.Errorf("no connection to the server can be made: %w", failures.last))
			return
		}
		if failures.fresh && ctx.Err() == nil {
			failures.fresh = false
			d.session.log.warn("a connection to the server could not be made: " + failures.last.Error())
		}
	}
}
