package node

import (
	"context"
	"fmt"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"signalbox/node/feed"
	"signalbox/node/identity"
	"signalbox/node/proxy"
	"signalbox/node/report"
	"signalbox/node/route"
	"signalbox/node/upstream"
)

// A Node is one proxy process. It does nothing until Listen or Run.
type Node struct {
	conf  Config
	log   *slog.Logger
	epoch int64 // when the process was started, in nanoseconds since 1970; see keepEpoch

	book    *report.Book
	pools   *upstream.Registry
	proxy   *proxy.Handler
	tunnels *tunnels
	table   *table
	keep    *keeper // nil when nothing is kept

	identity *identity.Identity // nil when the node connects with its key

	fronts []*front // in order of their names
	admin  *admin   // nil without one
	descs  descs    // of metrics

	// client is nil until Run.
	client atomic.Pointer[feed.Client]
	// wanted says that operators want the node to drain, stopping that it is
	// about to end; draining is either.
	wanted, stopping, draining atomic.Bool

	mu     sync.Mutex
	wished wish          // what operators want
	wake   chan struct{} // has an element when wished is another
}

// New returns a node, or an error that names the field of c that is wrong.
func New(c Config) (*Node, error) {
	c, err := c.withDefaults()
	if err != nil {
		return nil, err
	}
	if err := c.check(); err != nil {
		return nil, err
	}
	n := &Node{conf: c, log: c.Log, epoch: time.Now().UnixNano(), book: report.New(),
		wake: make(chan struct{}, 1), descs: newDescs()}
	secure, err := c.Upstreams.Config()
	if err != nil {
		return nil, fmt.Errorf("TLS to upstreams: %w", err)
	}
	n.pools = upstream.New(upstream.Config{AllowUnix: c.AllowUnixUpstreams, TLS: secure})
	n.proxy = proxy.New(proxy.Config{
		Pools: n.pools, Book: n.book, Log: c.Log, Sample: c.AccessLogSample, TLS: secure, Observe: c.Observe,
		Ready: func() bool { return n.table.served.Load() },
	})
	n.tunnels = newTunnels(c)
	n.table = &table{
		node: c.ID, server: n.proxy, tunnels: n.tunnels, log: c.Log, wanted: n.want,
		routes: route.New(route.Config{UnixSockets: c.AllowUnixUpstreams}), first: make(chan struct{}),
	}
	if c.StateDir != "" {
		n.keep = newKeeper(c.StateDir, c.Log)
		n.table.keep = n.keep.keep
	}
	if n.identity, err = newIdentity(&n.conf); err != nil {
		return nil, err
	}
	_, err = n.newClient(nil) // what is wrong with the rest of c is found here
	return n, err
}

// Listen binds all addresses. Run does it if it was not done before.
func (n *Node) Listen(ctx context.Context) error {
	if n.fronts != nil {
		return nil
	}
	if err := n.keepEpoch(); err != nil { // it serves all the same
		n.log.Warn("epoch cannot be kept", "err", err)
	}
	n.fronts = []*front{} // bound, even where there are none
	for _, name := range n.conf.names() {
		f, err := n.bind(name)
		if err != nil {
			n.unbind()
			return err
		}
		n.fronts = append(n.fronts, f)
	}
	if n.conf.AdminAddr == "" {
		return nil
	}
	a, err := newAdmin(ctx, n)
	if err != nil {
		n.unbind()
		return fmt.Errorf("admin address: %w", err)
	}
	n.admin = a
	return nil
}

// unbind closes listeners that are not served.
func (n *Node) unbind() {
	for _, f := range n.fronts {
		_ = f.inner.Close()
	}
	n.fronts = nil
	if n.admin != nil {
		_ = n.admin.listener.Close()
		n.admin = nil
	}
}

// Addr is the address a listener is bound to, empty before Listen.
func (n *Node) Addr(listener string) string {
	for _, f := range n.fronts {
		if f.name == listener {
			return f.inner.Addr().String()
		}
	}
	return ""
}

// AdminAddr is the address of the admin endpoint, empty without one.
func (n *Node) AdminAddr() string {
	if n.admin == nil {
		return ""
	}
	return n.admin.listener.Addr().String()
}

// Ready says whether the node should be sent traffic. It is ready once it
// serves what was current when a control plane first answered, or its
// last-known-good file when none answers, and it is not draining.
func (n *Node) Ready() bool { return n.status().Ready }

// status is how the node stands with its control planes.
func (n *Node) status() feed.Status {
	if c := n.client.Load(); c != nil {
		return c.Status()
	}
	return feed.Status{Reason: "starting"}
}

// running is how many exchanges and tunnelled connections run.
func (n *Node) running() int64 { return n.proxy.Running() + n.tunnels.Open() }

// identityTimeout is how long a node without a certificate waits for its first
// before it goes on without one, to start from its last-known-good file.
const identityTimeout = 2 * time.Second
