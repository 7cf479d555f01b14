package node

import (
	"context"
	"fmt"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/sync/errgroup"

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

// Run serves until ctx ends, or something fails that it cannot do without.
// Then it calls itself not ready, stops accepting, lets running exchanges end
// for DrainTimeout, and says goodbye to control planes. When it returns,
// everything it started has stopped. A node is run once.
//
// It ends by itself when that is wanted of this process: see NodeWanted.
func (n *Node) Run(ctx context.Context) error {
	if err := n.Listen(ctx); err != nil {
		return err
	}
	client, err := n.newClient(n.restore())
	if err != nil {
		n.unbind()
		return err
	}
	n.client.Store(client)

	// The parts outlive ctx until traffic has ended.
	parts, stop := context.WithCancel(context.WithoutCancel(ctx))
	defer stop()
	g, failed := errgroup.WithContext(parts)

	// 1. what is served, and to whom
	for _, f := range n.fronts {
		g.Go(f.serve)
		n.log.Info("listening", "listener", f.name, "addr", f.inner.Addr().String(), "tls", f.secure != nil)
	}
	// 2. where it comes from
	g.Go(func() error {
		n.awaitIdentity(failed)
		return client.Run(failed)
	})
	if n.identity != nil {
		g.Go(func() error {
			n.identity.Run(failed, client.Renew)
			return nil
		})
	}
	// 3. the tunnels it has an end of
	tunnelling, cut := context.WithCancel(parts)
	cutOff := make(chan struct{})
	go func() { defer close(cutOff); _ = n.tunnels.Run(tunnelling) }() // it ends because it is told to
	g.Go(func() error {
		n.watchFeed(failed)
		return nil
	})
	// 4. what is kept of it
	keeping, keepNoMore := context.WithCancel(context.WithoutCancel(ctx))
	kept := make(chan struct{})
	go func() { defer close(kept); n.runKeeper(keeping) }()
	// 5. how it stands
	if n.admin != nil {
		g.Go(func() error { return n.admin.run(failed) })
	}

	// 6. what is wanted of it
	limit, told := n.conf.DrainTimeout, make(chan time.Duration, 1)
	g.Go(func() error {
		if limit, stop := n.obey(failed); stop {
			told <- limit
		}
		return nil
	})

	select {
	case <-ctx.Done():
	case <-failed.Done():
	case limit = <-told:
	}
	n.log.Info("stopping")
	n.stopping.Store(true)
	n.drain()
	n.proxy.Drain()
	n.finish(context.WithoutCancel(ctx), limit)
	cut()
	<-cutOff // before the last report is sent
	stop()
	err = g.Wait()
	keepNoMore()
	<-kept
	return err
}

// runKeeper keeps the state in the file until ctx ends.
func (n *Node) runKeeper(ctx context.Context) {
	if n.keep != nil {
		n.keep.run(ctx)
	}
}

// restore reads the last-known-good file. One that cannot be used is as none.
func (n *Node) restore() []*feed.Change {
	if n.conf.StateDir == "" {
		return nil
	}
	changes, err := readState(n.conf.StateDir)
	if err != nil {
		n.log.Error("last-known-good file cannot be used, starting without it", "err", err)
		return nil
	}
	if len(changes) > 0 {
		n.log.Info("last-known-good file read", "rev", changes[0].To.GetRevision(), "records", len(changes[0].Upserts))
	}
	return changes
}

// running is how many exchanges and tunnelled connections run.
func (n *Node) running() int64 { return n.proxy.Running() + n.tunnels.Open() }

// newClient returns a client that begins with some changes.
func (n *Node) newClient(start []*feed.Change) (*feed.Client, error) {
	conf, err := n.conf.TLS.Config()
	if err != nil {
		return nil, fmt.Errorf("control plane TLS: %w", err)
	}
	listeners := map[string]string{}
	for _, f := range n.fronts {
		listeners[f.name] = f.inner.Addr().String()
	}
	c := feed.Config{
		Node: n.conf.ID, Epoch: n.epoch, Version: n.conf.Version, Labels: n.conf.Labels, Listeners: listeners,
		Seeds: n.conf.ControlPlanes, Key: n.conf.key(), TLS: conf, AllowPlaintext: n.conf.AllowPlaintext,
		Applier: n.table, Reports: n.reports, Open: n.running, Start: start, Log: n.log,
	}
	if id := n.identity; id != nil {
		c.Identify = id.Connect
		c.Key = func() string { return "" } // that is only for getting the certificate
	}
	return feed.New(c)
}

// identityTimeout is how long a node without a certificate waits for its first
// before it goes on without one, to start from its last-known-good file.
const identityTimeout = 2 * time.Second

// awaitIdentity waits until there is a certificate to connect with, or there
// does not seem to be one soon.
func (n *Node) awaitIdentity(ctx context.Context) {
	if n.identity == nil {
		return
	}
	timer := time.NewTimer(identityTimeout)
	defer timer.Stop()
	select {
	case <-n.identity.Tried():
	case <-timer.C:
	case <-ctx.Done():
	}
}

// newIdentity returns the node's certificate, nil if it is to have none.
func newIdentity(c *Config) (*identity.Identity, error) {
	if c.IdentityDir == "" {
		return nil, nil
	}
	conf, err := c.TLS.Config()
	if err != nil {
		return nil, fmt.Errorf("control plane TLS: %w", err)
	}
	id, err := identity.Open(identity.Config{
		Node: c.ID, Dir: c.IdentityDir, ControlPlanes: c.ControlPlanes, TLS: conf, Key: c.key(), Log: c.Log,
	})
	if err != nil {
		return nil, fmt.Errorf("identity folder: %w", err)
	}
	return id, nil
}
