package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"time"

	"golang.org/x/sync/errgroup"

	"signalbox/node"
)

// A whole is everything in one process: a control plane with its gateway, one
// node, and a store of their own.
type whole struct {
	plane   *plane                                // whose flags are checked, and which listens nowhere yet
	open    func(context.Context) (*store, error) // opens what things are kept in
	nodeKey string                                // secret of the node's key
	// node says what the node does with its traffic; where it is fed from is
	// filled in.
	node  node.Config
	shown *metrics
	// made is told of the node before it runs. Nil is nobody.
	made func(*node.Node)
	// prepare is called when the control plane serves, before the node does.
	// Nil is nothing to do.
	prepare func(context.Context, *plane) error
	// ready is called when the node serves.
	ready func(context.Context, *plane, *node.Node)
	// beside is what else runs, for as long as all else does.
	beside []func(context.Context) error
	log    *slog.Logger
}

// run starts the parts, in the order data flows, and stops when one of them
// does. Nothing outlives it.
func (w *whole) run(ctx context.Context) (err error) {
	// 1. what is kept
	kept, err := w.open(ctx)
	if err != nil {
		return err
	}
	defer func() {
		if !errors.Is(err, errStore) { // what it holds is held for ever
			kept.close()
		}
	}()

	// 2. what is decided, and how it is asked for
	pl := w.plane
	if err := pl.listen(ctx, kept); err != nil {
		return err
	}
	failed := pl.failed
	pl.failed = nil // the control plane stays, without a store, for what is not kept
	serves := make(chan struct{})
	pl.config.NodeKey = w.nodeKey
	pl.config.Ready = func(string) { close(serves) }

	// 3. what is done
	n, err := w.newNode(ctx)
	if err != nil {
		pl.abandon()
		return err
	}
	if w.made != nil {
		w.made(n)
	}
	w.shown.addStore(kept)
	w.shown.addPlane(pl)
	w.shown.add(n)
	w.shown.certificates(n.Certificates)

	// The control plane outlives the node, so that the node can take its leave.
	planeCtx, stopPlane := context.WithCancel(context.WithoutCancel(ctx))
	prepared := make(chan struct{})
	g, ctx := errgroup.WithContext(ctx)
	g.Go(func() error { return pl.run(planeCtx) })
	g.Go(func() error {
		defer stopPlane()
		select { // it would complain of a control plane that is starting
		case <-serves:
			if w.prepare != nil {
				if err := w.prepare(ctx, pl); err != nil {
					return err
				}
			}
			close(prepared)
		case <-ctx.Done():
		}
		return n.Run(ctx)
	})
	stuck := make(chan struct{}) // closed when the parts cannot be waited for
	g.Go(func() error { return w.outlive(ctx, failed, stuck) })
	for _, run := range w.beside {
		g.Go(func() error { return run(ctx) })
	}
	g.Go(func() error {
		select {
		case <-prepared:
		case <-ctx.Done():
			return nil
		}
		if awaitReady(ctx, n) {
			w.ready(ctx, pl, n)
		}
		return nil
	})
	ended := make(chan error, 1)
	go func() { ended <- g.Wait() }()
	select {
	case err := <-ended:
		return err
	case <-stuck:
		return errStore
	}
}

// errStore ends a process whose store ended before.
var errStore = errors.New("the store in this process has ended")

// storeless is how long the parts may take to end when the store ended before:
// a call that it holds is held for ever.
const storeless = 3 * time.Second

// outlive waits until ctx ends, whatever becomes of the store: the node has what
// it serves, and goes on. Calls that need the store are answered that it cannot
// be reached. Without a store it closes stuck a while after ctx has ended.
func (w *whole) outlive(ctx context.Context, failed <-chan error, stuck chan<- struct{}) error {
	select {
	case err := <-failed:
		w.log.Error("the store has ended: traffic goes on, but nothing can be written until this process is started again, with room for its data", "err", err)
		<-ctx.Done()
		time.AfterFunc(storeless, func() { close(stuck) })
		return fmt.Errorf("%w: %w", errStore, err)
	case <-ctx.Done():
		return nil
	}
}

// newNode returns the node of this process, with its addresses bound.
func (w *whole) newNode(ctx context.Context) (*node.Node, error) {
	own, err := w.plane.local()
	if err != nil {
		return nil, err
	}
	c := w.node
	c.ControlPlanes, c.Key, c.AllowPlaintext = []string{own}, w.nodeKey, true
	c.InProcess = true
	n, err := node.New(c)
	if err != nil {
		return nil, &usageError{err}
	}
	return n, bindHint(n.Listen(ctx))
}

// awaitReady waits until the node is ready, or ctx ends.
func awaitReady(ctx context.Context, n *node.Node) bool {
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	for !n.Ready() {
		select {
		case <-tick.C:
		case <-ctx.Done():
			return false
		}
	}
	return true
}
