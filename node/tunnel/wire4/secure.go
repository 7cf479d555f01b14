package wire4

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"time"

	"signalbox/node/tunnel/link"
	"signalbox/proto/tunnelurl"
)

// serverTLS is how a server secures pool connections, nil where it does not.
func serverTLS(cfg link.Config) *tls.Config {
	if cfg.TLS == tunnelurl.Plain {
		return nil
	}
	return &tls.Config{
		MinVersion: tls.VersionTLS13,
		GetCertificate: func(*tls.ClientHelloInfo) (*tls.Certificate, error) {
			if cfg.Certificate == nil {
				return nil, errors.New("the server has no certificate")
			}
			return cfg.Certificate()
		},
		SessionTicketsDisabled: true, // no client comes back with one
		// A peer takes the first record for the whole datagram.
		DynamicRecordSizingDisabled: true,
	}
}

// clientTLS is how a client secures pool connections to a server of these
// terms, nil where it does not.
func clientTLS(t terms, cfg link.Config) *tls.Config {
	c := &tls.Config{MinVersion: tls.VersionTLS13, DynamicRecordSizingDisabled: true}
	switch t.tls {
	case tunnelurl.Plain:
		return nil
	case tunnelurl.SelfSigned:
		c.InsecureSkipVerify = true // anybody's, as its operator wants
	default:
		c.RootCAs, c.ServerName = cfg.Roots, cfg.ServerName
	}
	return c
}

// secure does the TLS handshake of a connection, with tls.Server or tls.Client;
// without cfg it returns the connection as it is.
func secure(ctx context.Context, c net.Conn, side func(net.Conn, *tls.Config) *tls.Conn, cfg *tls.Config) (net.Conn, error) {
	if cfg == nil {
		return c, nil
	}
	ctx, cancel := context.WithTimeout(ctx, handshake)
	defer cancel()
	t := side(c, cfg)
	if err := t.HandshakeContext(ctx); err != nil {
		return nil, fmt.Errorf("securing a connection: %w", err)
	}
	return t, nil
}

// alive lets the system find out in half a minute that the peer of an idle
// connection is gone without a word.
func alive(c net.Conn) {
	if t, ok := c.(*net.TCPConn); ok {
		_ = t.SetKeepAliveConfig(net.KeepAliveConfig{Enable: true, Idle: 15 * time.Second, Interval: 5 * time.Second, Count: 3})
	}
}
