package wirebox

import (
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"net"
	"time"

	"signalbox/node/tunnel/link"
	signalboxv1 "signalbox/proto/gen/signalbox/v1"
	"signalbox/proto/tunnelurl"
)

// Line is what a client says first, and a server answers, without its line
// feed. By it a server that speaks several generations knows this one.
const Line = "signalbox/1"

const (
	protocol = "signalbox-tunnel" // of ALPN
	exporter = "EXPORTER-signalbox-tunnel"
	// patience bounds a handshake.
	patience = 10 * time.Second
)

// Errors of Dial by which a client knows what it reached.
var (
	// ErrForeign says that the other end does not answer as a Signalbox does: it
	// speaks something else, or nothing.
	ErrForeign = errors.New("the server does not answer as a Signalbox does")
	// ErrKey says that it has another key.
	ErrKey = errors.New("the server has another key")
)

// A RefusedError is a server's word on why it does not want a client.
type RefusedError struct{ Reason string }

func (e *RefusedError) Error() string { return "the server refuses: " + e.Reason }

// prove returns the proof that whoever is at an end of a connection has the
// key.
func prove(secret string, end tunnelurl.Role, state *tls.ConnectionState) ([]byte, error) {
	material, err := state.ExportKeyingMaterial(exporter, nil, sha256.Size)
	if err != nil {
		return nil, err
	}
	sum := hmac.New(sha256.New, []byte(secret))
	sum.Write([]byte(end))
	sum.Write(material)
	return sum.Sum(nil), nil
}

// within runs a handshake that ends when patience does, and with ctx.
func within(ctx context.Context, conn net.Conn, shake func() error) error {
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	cut := context.AfterFunc(ctx, func() { _ = conn.SetDeadline(time.Unix(1, 0)) })
	err := shake()
	if !cut() && err == nil {
		err = context.Cause(ctx)
	}
	if err != nil {
		return err
	}
	return conn.SetDeadline(time.Time{})
}

// greet says the line, and reads the server's.
func greet(ctx context.Context, conn net.Conn) error {
	return within(ctx, conn, func() error {
		if _, err := io.WriteString(conn, Line+"\n"); err != nil {
			return fmt.Errorf("%w: %w", ErrForeign, err)
		}
		answer := make([]byte, len(Line)+1)
		if n, err := io.ReadFull(conn, answer); err != nil {
			return fmt.Errorf("%w: behind %q: %w", ErrForeign, answer[:n], err)
		}
		if string(answer) != Line+"\n" {
			return fmt.Errorf("%w: it says %q", ErrForeign, answer)
		}
		return nil
	})
}

// asClient does a client's part of the handshake on a connection.
func asClient(ctx context.Context, conn net.Conn, c *link.Config) (*tls.Conn, *signalboxv1.TunnelWelcome, error) {
	if err := greet(ctx, conn); err != nil {
		return nil, nil, err
	}
	secure := tls.Client(conn, &tls.Config{
		MinVersion: tls.VersionTLS13, NextProtos: []string{protocol},
		InsecureSkipVerify: true, //nolint:gosec // the key is proved both ways, bound to this connection; see verify for more
	})
	welcome := new(signalboxv1.TunnelWelcome)
	err := within(ctx, conn, func() error {
		if err := secure.HandshakeContext(ctx); err != nil {
			return err
		}
		state := secure.ConnectionState()
		proof, err := prove(c.Secret, tunnelurl.Client, &state)
		if err != nil {
			return err
		}
		if err := writeMessage(secure, &signalboxv1.TunnelHello{Proof: proof, Receives: endOf(c.Receives)}); err != nil {
			return err
		}
		if err := readMessage(secure, welcome); err != nil {
			return err
		}
		return accept(c, &state, welcome)
	})
	return secure, welcome, err
}

// accept says why a client does not want a server.
func accept(c *link.Config, state *tls.ConnectionState, w *signalboxv1.TunnelWelcome) error {
	if w.GetRefused() != "" {
		return &RefusedError{Reason: w.GetRefused()}
	}
	want, err := prove(c.Secret, tunnelurl.Server, state)
	if err != nil {
		return err
	}
	if !hmac.Equal(want, w.GetProof()) {
		return ErrKey
	}
	if !w.GetVerified() && c.TLS != tunnelurl.Verified {
		return nil
	}
	options := x509.VerifyOptions{Roots: c.Roots, DNSName: c.ServerName, Intermediates: x509.NewCertPool()}
	for _, cert := range state.PeerCertificates[1:] {
		options.Intermediates.AddCert(cert)
	}
	if _, err := state.PeerCertificates[0].Verify(options); err != nil {
		return fmt.Errorf("the server's certificate: %w", err)
	}
	return nil
}

// asServer does a server's part, behind the client's line.
func asServer(ctx context.Context, conn net.Conn, c *link.Config) (*tls.Conn, error) {
	secure := tls.Server(conn, &tls.Config{
		MinVersion: tls.VersionTLS13, NextProtos: []string{protocol},
		GetCertificate: func(*tls.ClientHelloInfo) (*tls.Certificate, error) { return c.Certificate() },
	})
	return secure, within(ctx, conn, func() error {
		if _, err := io.WriteString(conn, Line+"\n"); err != nil {
			return err
		}
		if err := secure.HandshakeContext(ctx); err != nil {
			return err
		}
		state := secure.ConnectionState()
		if state.NegotiatedProtocol != protocol {
			return errors.New("the client does not ask for this protocol")
		}
		hello := new(signalboxv1.TunnelHello)
		if err := readMessage(secure, hello); err != nil {
			return err
		}
		want, err := prove(c.Secret, tunnelurl.Client, &state)
		if err != nil {
			return err
		}
		welcome := new(signalboxv1.TunnelWelcome)
		switch {
		case !hmac.Equal(want, hello.GetProof()):
			welcome.Refused = "the key is another"
		case hello.GetReceives() != signalboxv1.TunnelEnd_TUNNEL_END_UNSPECIFIED && hello.GetReceives() != endOf(c.Receives):
			welcome.Refused = "users come in at the " + string(c.Receives) + " here, and the client insists on the other end"
		default:
			if welcome.Proof, err = prove(c.Secret, tunnelurl.Server, &state); err != nil {
				return err
			}
			welcome.Receives, welcome.Verified = endOf(c.Receives), c.TLS == tunnelurl.Verified
		}
		if err := writeMessage(secure, welcome); err != nil {
			return err
		}
		if welcome.GetRefused() != "" {
			return &RefusedError{Reason: welcome.GetRefused()}
		}
		return nil
	})
}

// endOf is the wire's word for a role, and roleOf the reverse.
func endOf(r tunnelurl.Role) signalboxv1.TunnelEnd {
	switch r {
	case tunnelurl.Server:
		return signalboxv1.TunnelEnd_TUNNEL_END_SERVER
	case tunnelurl.Client:
		return signalboxv1.TunnelEnd_TUNNEL_END_CLIENT
	}
	return signalboxv1.TunnelEnd_TUNNEL_END_UNSPECIFIED
}

func roleOf(e signalboxv1.TunnelEnd) tunnelurl.Role {
	if e == signalboxv1.TunnelEnd_TUNNEL_END_CLIENT {
		return tunnelurl.Client
	}
	return tunnelurl.Server
}
