package tunnel

import (
	"context"
	"crypto/x509"
	"time"

	"signalbox/node/tunnel/link"
	signalboxv1 "signalbox/proto/gen/signalbox/v1"
	"signalbox/proto/tunnelurl"
)

// Config is what a Supervisor needs. The zero value works.
type Config struct {
	// Node is the name of this one, in reports and lines; it may be empty.
	Node string
	// Lines is handed every line that an instance logs. It must not block, and
	// may keep the line. Nil drops them.
	Lines func(*signalboxv1.LogLine)
	// Wires are the generations that are spoken. Default: Wires().
	Wires map[tunnelurl.Wire]Wire
	// Roots verify the certificates of servers with tls=2; nil is the machine's
	// own.
	Roots *x509.CertPool

	// Retry is the pause after a failure. Default 3 s, as NodePass has it.
	Retry time.Duration
	// Patience is how long a user waits for a session. Default 5 s.
	Patience time.Duration
	// Silence is for how long a 1.4 server says nothing to what it does not
	// understand. Default 2 s.
	Silence time.Duration
	// UDPIdle ends a user's UDP session in which nothing moves. Default 30 s.
	UDPIdle time.Duration
	// Unknown bounds how many connections at one tunnel's port may be such as
	// have not shown the key, nor belong to a session; the oldest gives way.
	// Default 256.
	Unknown int
	// Introduction is how long one of those may take to say what it speaks.
	// Default 10 s.
	Introduction time.Duration
}

// Wanted is one instance that this node must run.
type Wanted struct {
	// Name of the instance.
	Name string
	// URL that describes it.
	URL string
	// Starts is Instance.starts: with another number it begins anew.
	Starts int64
	// Incarnation is what it counts into: the created revision plus its resets.
	Incarnation int64
}

// A Wire is one generation of the protocol between two ends.
type Wire struct {
	// Serve returns the server's end.
	Serve func(link.Config) Server
	// Dial connects to a server, once.
	Dial func(context.Context, link.Config) (link.Session, error)
}

// A Server is a wire's server. Its methods may be called at the same time.
type Server interface {
	// Handle takes over a connection at the tunnel's port and returns when it is
	// done with it. Until then it calls Known as soon as the key was shown.
	Handle(ctx context.Context, c *link.Conn)
	// Sessions are new ones. It need not be closed.
	Sessions() <-chan link.Session
	// Close ends all connections and sessions and waits for what belongs to
	// them.
	Close()
}

// withDefaults returns c with what it leaves out.
func (c Config) withDefaults() Config {
	set := func(d *time.Duration, to time.Duration) {
		if *d <= 0 {
			*d = to
		}
	}
	set(&c.Retry, 3*time.Second)
	set(&c.Patience, 5*time.Second)
	set(&c.Silence, 2*time.Second)
	set(&c.UDPIdle, 30*time.Second)
	set(&c.Introduction, 10*time.Second)
	if c.Unknown <= 0 {
		c.Unknown = 256
	}
	if c.Lines == nil {
		c.Lines = func(*signalboxv1.LogLine) {}
	}
	if c.Wires == nil {
		c.Wires = Wires()
	}
	return c
}
