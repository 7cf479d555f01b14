package pool

import (
	"context"
	"crypto/tls"
	"fmt"
	"net"
	"time"

	"signalbox/node/tunnel/link"
	"signalbox/proto/tunnelurl"
)

// ServerTLS is how a server secures its pool's connections, with what
// certificate returns for each.
func ServerTLS(certificate func() (*tls.Certificate, error)) *tls.Config {
	return &tls.Config{
		MinVersion:             tls.VersionTLS13,
		GetCertificate:         func(*tls.ClientHelloInfo) (*tls.Certificate, error) { return certificate() },
		SessionTicketsDisabled: true, // no client comes back with one
		// A peer takes the first record for the whole datagram.
		DynamicRecordSizingDisabled: true,
	}
}

// ClientTLS is how a client secures its pool's connections to a server that has
// this code, nil where it does not.
func ClientTLS(code tunnelurl.TLS, cfg link.Config) *tls.Config {
	c := &tls.Config{MinVersion: tls.VersionTLS13, DynamicRecordSizingDisabled: true}
	switch code {
	case tunnelurl.Plain:
		return nil
	case tunnelurl.SelfSigned:
		c.InsecureSkipVerify = true // anybody's, as its operator wants
	default:
		c.RootCAs, c.ServerName = cfg.Roots, cfg.ServerName
	}
	return c
}

// Secure does the TLS handshake of a connection, with tls.Server or tls.Client,
// until ctx ends; without cfg it returns the connection as it is.
func Secure(ctx context.Context, c net.Conn, side func(net.Conn, *tls.Config) *tls.Conn, cfg *tls.Config) (net.Conn, error) {
	if cfg == nil {
		return c, nil
	}
	t := side(c, cfg)
	if err := t.HandshakeContext(ctx); err != nil {
		return nil, fmt.Errorf("securing a connection: %w", err)
	}
	return t, nil
}

// KeepAlive lets the system find out in half a minute that the peer of an idle
// connection is gone without a word.
func KeepAlive(c net.Conn) {
	if t, ok := c.(*net.TCPConn); ok {
		_ = t.SetKeepAliveConfig(net.KeepAliveConfig{Enable: true, Idle: 15 * time.Second, Interval: 5 * time.Second, Count: 3})
	}
}
