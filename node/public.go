package node

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"net/http"
	"sync"
	"time"

	"signalbox/node/listen"
	"signalbox/node/proxy"
)

// A front is one public listener.
type front struct {
	name   string
	inner  net.Listener
	secure *tls.Config // nil in the clear
	server *http.Server
	accept *listen.Listener
}

// bind listens on a public address; what serve does is not begun.
func (n *Node) bind(name string) (*front, error) {
	l := n.conf.Listeners[name]
	conf, err := l.TLS.Config(func(err error) {
		n.log.Error("certificate files cannot be used, the last good ones stay", "listener", name, "err", err)
	})
	if err != nil {
		return nil, fmt.Errorf("listener %q: %w", name, err)
	}
	inner, err := listen.Bind(l.Addr)
	if err != nil {
		return nil, fmt.Errorf("listener %q: %w", name, err)
	}
	f := &front{name: name, inner: inner, secure: conf, server: proxy.Server(n.proxy, name)}
	f.server.Handler = &gate{node: n, next: f.server.Handler}
	f.accept = listen.New(inner, listen.Config{TLS: conf, Log: n.log.With("listener", name)})
	return f, nil
}

// serve answers requests until the server is shut down.
func (f *front) serve() error {
	if err := f.server.Serve(f.accept); !errors.Is(err, http.ErrServerClosed) {
		return fmt.Errorf("listener %q: %w", f.name, err)
	}
	return nil
}

// A gate stands before the proxy: it knows whether clients should look for
// another node.
type gate struct {
	node *Node
	next http.Handler
}

func (g *gate) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	g.node.table.await(r.Context(), g.node.conf.Hold)
	if g.node.draining.Load() && r.Header.Get("Upgrade") == "" {
		w.Header().Set("Connection", "close") // on HTTP/2 this is a GOAWAY
	}
	g.next.ServeHTTP(w, r)
}

// farewell is how long exchanges have to end once they are told to.
const farewell = time.Second

// finish stops accepting, lets running exchanges end for as long as limit,
// and ends what is left: protocols that were switched, which might never end by
// themselves, and then exchanges that took too long.
func (n *Node) finish(ctx context.Context, limit time.Duration) {
	left := n.shutdown(ctx, n.fronts, limit)
	for _, f := range left {
		n.log.Warn("exchanges are cut off", "listener", f.name)
	}
	n.proxy.Close()
	for _, f := range n.shutdown(ctx, left, farewell) {
		_ = f.server.Close() // its errors are those of connections that are gone
	}
	// What is left has no more time.
	over, end := context.WithCancel(ctx)
	end()
	if err := n.pools.Close(over); err != nil {
		n.log.Debug("connections to upstreams were cut", "err", err)
	}
}

// shutdown waits until nothing runs on some listeners, and returns those on
// which something still does when the time is up.
func (n *Node) shutdown(ctx context.Context, fronts []*front, limit time.Duration) (left []*front) {
	ctx, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	var all sync.WaitGroup
	errs := make([]error, len(fronts))
	for i, f := range fronts {
		all.Go(func() { errs[i] = f.server.Shutdown(ctx) })
	}
	all.Wait()
	for i, f := range fronts {
		if errors.Is(errs[i], context.DeadlineExceeded) {
			left = append(left, f)
		}
	}
	return left
}
