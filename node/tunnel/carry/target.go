package carry

import (
	"context"
	"errors"
	"fmt"
	"net"
	"sync/atomic"
	"time"
)

// dialTimeout bounds the dialling of one target, as NodePass 1.14 does.
const dialTimeout = 5 * time.Second

// Targets are dialled in turn, and where one fails the next is. They are safe
// for concurrent use.
type Targets struct {
	// Addresses are "host:port", at least one. Names are looked up at each dial.
	Addresses []string
	// Source is the IP address to dial from; empty for any.
	Source string
	// Timeout bounds the dialling of one. Default 5 s.
	Timeout time.Duration

	turn atomic.Uint32
}

// TCP connects to the next target.
func (t *Targets) TCP(ctx context.Context) (*net.TCPConn, error) {
	c, err := t.dial(ctx, "tcp")
	if err != nil {
		return nil, err
	}
	return c.(*net.TCPConn), nil
}

// UDP returns a socket that is connected to the next target whose name can be
// looked up; that somebody is there shows only when datagrams are sent.
func (t *Targets) UDP(ctx context.Context) (*UDPTarget, error) {
	c, err := t.dial(ctx, "udp")
	if err != nil {
		return nil, err
	}
	return newUDPTarget(c.(*net.UDPConn), len(t.Addresses) > 1)
}

// dial tries all once, beginning with the one whose turn it is.
func (t *Targets) dial(ctx context.Context, network string) (net.Conn, error) {
	dialer := net.Dialer{Timeout: t.Timeout, LocalAddr: t.source(network)}
	if dialer.Timeout <= 0 {
		dialer.Timeout = dialTimeout
	}
	first := int(t.turn.Add(1) - 1)
	var failed []error
	for i := range t.Addresses {
		address := t.Addresses[(first+i)%len(t.Addresses)]
		c, err := dialer.DialContext(ctx, network, address)
		if err == nil {
			return c, nil
		}
		if ctx.Err() != nil {
			return nil, context.Cause(ctx)
		}
		failed = append(failed, fmt.Errorf("target %s: %w", address, Plain(err)))
	}
	return nil, errors.Join(failed...)
}

// source is the address to dial from, nil for any.
func (t *Targets) source(network string) net.Addr {
	ip := net.ParseIP(t.Source)
	switch {
	case ip == nil:
		return nil
	case network == "udp":
		return &net.UDPAddr{IP: ip}
	}
	return &net.TCPAddr{IP: ip}
}

// Plain takes off an error of package net what its reader has been told
// already: the operation and the addresses.
func Plain(err error) error {
	var op *net.OpError
	if errors.As(err, &op) && op.Err != nil {
		return op.Err
	}
	return err
}
