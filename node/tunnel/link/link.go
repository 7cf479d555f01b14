// Package link is what a tunnel's parts say to each other: whoever lets users
// in or dials targets knows sessions and streams, and each generation of the
// wire makes them. Nothing here knows a generation.
package link

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"log/slog"
	"net"
	"time"

	"signalbox/proto/tunnelurl"
)

// A Session is one peer that has shown that it has the key, from then until
// either end is lost. All its methods may be called at the same time.
type Session interface {
	Standing
	Carrier
	Life
}

// Standing is how a session stands.
type Standing interface {
	// Wire is the generation that is spoken.
	Wire() tunnelurl.Wire
	// Peer is the address of the other end.
	Peer() net.Addr
	// Receives is the role of the end at which users come in: it opens
	// streams, and the other accepts them.
	Receives() tunnelurl.Role
	// Stats are what changes all the time.
	Stats() Stats
}

// A Carrier carries streams to the peer and from it.
type Carrier interface {
	// Open asks the peer to dial its target for a user, whose "host:port" it is
	// told where the wire can say it. It waits for a free connection and, where
	// the wire has it, for the peer's word that the target was reached, until
	// ctx ends. ErrEnded, wrapped, when the session has.
	Open(ctx context.Context, kind Kind, user string) (Stream, error)
	// Accept waits for the peer to open a stream. ErrEnded, wrapped, when the
	// session has; ctx's cause when that ends first.
	Accept(ctx context.Context) (*Request, error)
}

// Life is how a session ends.
type Life interface {
	// Done is closed when the session has ended; Err then says why, nil if it
	// was Close.
	Done() <-chan struct{}
	Err() error
	// Close ends the session with all its streams, and waits for every
	// goroutine of it.
	Close() error
}

// ErrEnded says that a session is over.
var ErrEnded = errors.New("the peer is gone")

// A Kind is what a stream carries.
type Kind int

// The kinds.
const (
	TCP Kind = iota
	UDP
)

func (k Kind) String() string {
	if k == UDP {
		return "udp"
	}
	return "tcp"
}

// A Stream carries one user's TCP connection, or the datagrams of one user's
// address, between the two ends.
//
// Of UDP, every Write is one datagram and every Read returns one, cut where the
// slice is shorter; MaxDatagram is long enough for any. A wire that cannot
// carry a datagram whole returns an error from Write, and the stream goes on.
type Stream interface {
	Read(p []byte) (int, error)
	Write(p []byte) (int, error)
	// CloseWrite says that nothing more is written; the peer reads io.EOF and
	// may go on writing. Of UDP it does nothing.
	CloseWrite() error
	// Close ends both directions, and every Read and Write that waits. It may be
	// called more than once.
	Close() error
}

// MaxDatagram is the longest there is, in bytes.
const MaxDatagram = 65_535

// A Request is a stream that the peer opened.
type Request struct {
	Kind Kind
	// User is the "host:port" of the user at the other end, empty where the wire
	// does not say it.
	User string
	// Stream to the user.
	Stream Stream
	// Answer, which must be called once before anything is written, says whether
	// the target was reached. Where the wire has no words for it, a failure
	// closes the stream.
	Answer func(err error)
}

// Stats is how a session stands.
type Stats struct {
	// Ping is the way there and back as last measured; 0 when it is not known.
	Ping time.Duration
	// Pool is how many connections wait to be used.
	Pool int
}

// Config is what a wire needs to know of an instance.
type Config struct {
	// Secret that both ends must have.
	Secret string
	// Receives is the end at which users come in, where this one decides: of a
	// server always, of a client only with Mode in its URL (else empty).
	Receives tunnelurl.Role
	// TLS between the ends, of a server.
	TLS tunnelurl.TLS
	// Certificate of a server that needs one; it may be another each time.
	Certificate func() (*tls.Certificate, error)
	// Roots verify a server's certificate for ServerName where TLS is Verified;
	// nil is the machine's own.
	Roots      *x509.CertPool
	ServerName string
	// Min and Max are how many unused connections are kept, as in the URL.
	Min, Max int
	// Dial connects to the server's tunnel address. Of a client.
	Dial func(ctx context.Context) (net.Conn, error)
	// Log takes lines of the instance's log, for people. Secrets must not be in
	// them.
	Log func(level slog.Level, text string)
}
