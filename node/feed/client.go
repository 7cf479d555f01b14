package feed

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"sync/atomic"
	"time"

	"google.golang.org/grpc/credentials"
)

// Config is what a client needs to know. Node, Epoch, Seeds, Applier and
// Reports must be set.
type Config struct {
	// Node is the node's name, and Epoch its process's start in nanoseconds
	// since 1970.
	Node  string
	Epoch int64
	// Version of the software, Labels the node was started with, and
	// Listeners it has bound, by name: told to control planes and not used.
	Version   string
	Labels    map[string]string
	Listeners map[string]string

	// Seeds are where control planes are, "host:port". A name stands for all
	// its addresses, and is looked up again every so often.
	Seeds []string
	// Key returns the API key to join with. It is asked on every connection,
	// so that a key can be replaced. Default: none.
	Key func() string
	// TLS, when set, is used to all control planes. Unless it names a server,
	// a certificate must be for the host of the seed or member address.
	TLS *tls.Config
	// Identify, when set, returns how to reach a control plane whose certificate
	// must be for a host, in place of TLS, and what to tell why a stream that was
	// opened so ended.
	Identify func(host string) (creds credentials.TransportCredentials, ended func(error))
	// AllowPlaintext lets the key travel in the clear to other machines.
	AllowPlaintext bool

	// Applier is what updates are applied to, by one goroutine at a time.
	Applier Applier
	// Reports returns what the node carried, for one stream.
	Reports func() Reports
	// Open returns how many exchanges run. Default: nobody is told.
	Open func() int64
	// Start is applied before anything is asked for: what the node served
	// when it was last running, if that is known. The first is whole.
	Start []*Change

	// Resolve looks up a host name. Default: net.DefaultResolver.
	Resolve func(ctx context.Context, host string) ([]string, error)
	// Log defaults to none.
	Log *slog.Logger

	timing timing // the default outside tests
}

// timing is how long things may take.
type timing struct {
	resolve      time.Duration // from one look-up of the seeds to the next
	connect      time.Duration // bounds a look-up, and reaching an address
	settle       time.Duration // how long the first choice of a feeder waits for better ones
	again        time.Duration // from Unfed to asking the same control plane again
	verdict      time.Duration // after which nobody seems to answer at the start
	backoff      time.Duration // before the first retry; doubled with every failure
	backoffMax   time.Duration // and no longer than this
	refused      time.Duration // before a retry where the key was refused
	forget       time.Duration // how long an address is tried that nobody names
	heartbeat    time.Duration // how long an idle node is silent
	probeEvery   time.Duration // how long a control plane may be silent before it is probed
	probeTimeout time.Duration // for the answer to a probe
	blocked      time.Duration // how long a message may take to be sent
	goodbye      time.Duration // for the last words, all together
}

// defaults are the timing outside tests.
func defaults() timing {
	return timing{
		resolve: 10 * time.Second, connect: 5 * time.Second,
		settle: 250 * time.Millisecond, again: time.Second, verdict: 3 * time.Second,
		backoff: 100 * time.Millisecond, backoffMax: 5 * time.Second, refused: 10 * time.Second,
		forget: time.Minute, heartbeat: 5 * time.Second,
		probeEvery: time.Second, probeTimeout: 2 * time.Second, blocked: 15 * time.Second,
		goodbye: 2 * time.Second,
	}
}

// check names the field that is wrong.
func (c *Config) check() error {
	switch {
	case c.Node == "":
		return errors.New("node: a name is needed")
	case c.Epoch <= 0:
		return errors.New("epoch: the time of the process's start is needed")
	case c.Applier == nil || c.Reports == nil:
		return errors.New("applier and reports are needed")
	case len(c.Seeds) == 0:
		return errors.New("control planes: at least one address is needed")
	}
	for _, seed := range c.Seeds {
		if host, port, err := net.SplitHostPort(seed); err != nil || host == "" || port == "" {
			return fmt.Errorf("control planes: %q is not of the form host:port", seed)
		}
	}
	return nil
}

// A Client keeps a node's streams to all control planes. Its methods may be
// called from any goroutine.
type Client struct {
	conf Config

	draining atomic.Bool
	renewals atomic.Int64 // calls of Renew
	status   atomic.Pointer[Status]
	fed      atomic.Pointer[time.Time]
	// changed has an element when draining or renewals may have changed.
	changed chan struct{}
}

// New returns a client that does nothing until Run.
func New(c Config) (*Client, error) {
	if err := c.check(); err != nil {
		return nil, err
	}
	if c.Key == nil {
		c.Key = func() string { return "" }
	}
	if c.Resolve == nil {
		c.Resolve = net.DefaultResolver.LookupHost
	}
	if c.Log == nil {
		c.Log = slog.New(slog.DiscardHandler)
	}
	if c.timing == (timing{}) {
		c.timing = defaults()
	}
	cl := &Client{conf: c, changed: make(chan struct{}, 1)}
	cl.status.Store(&Status{Reason: unknown})
	return cl, nil
}

// Drain says whether the node is to call itself not ready, whatever it
// serves. Control planes are told at once.
func (c *Client) Drain(draining bool) {
	c.draining.Store(draining)
	c.wake()
}

// Renew says that what the node is known by has changed. Streams are opened
// anew with it, one after the other, and those who refused the node are asked
// again at once.
func (c *Client) Renew() {
	c.renewals.Add(1)
	c.wake()
}

func (c *Client) wake() {
	select {
	case c.changed <- struct{}{}:
	default:
	}
}

// ready is what is told to control planes.
func (c *Client) ready() bool { return c.status.Load().Current && !c.draining.Load() }

// Run keeps the streams until ctx ends, and then says goodbye on all of them.
// It fails with a [ReplacedError] when another process has taken the node's
// name. When it returns, everything it started has stopped.
func (c *Client) Run(ctx context.Context) error {
	return newLoop(c).run(ctx)
}
