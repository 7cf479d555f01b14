package node

import (
	"context"
	"time"

	"golang.org/x/sync/errgroup"

	"signalbox/node/feed"
)

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
