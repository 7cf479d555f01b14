package node

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"sync"

	"signalbox/node/listen"
	"signalbox/node/proxy"
)

// A front is one public listener.
type front struct {
	name   string
	inner  net.Listener
	tls    bool
	server *http.Server
	accept *listen.Listener
}

// bind listens on a public address; what serve does is not begun.
func (n *Node) bind(ctx context.Context, name string) (*front, error) {
	l := n.conf.Listeners[name]
	conf, err := l.TLS.Config(func(err error) {
		n.log.Error("certificate files cannot be used, the last good ones stay", "listener", name, "err", err)
	})
	if err != nil {
		return nil, fmt.Errorf("listener %q: %w", name, err)
	}
	inner, err := new(net.ListenConfig).Listen(ctx, "tcp", l.Addr)
	if err != nil {
		return nil, fmt.Errorf("listener %q: %w", name, err)
	}
	f := &front{name: name, inner: inner, tls: conf != nil, server: proxy.Server(n.proxy, name)}
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

// A gate stands before the proxy: it knows whether there is anything to serve
// yet, and whether clients should look for another node.
type gate struct {
	node *Node
	next http.Handler
}

func (g *gate) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if g.node.draining.Load() && r.Header.Get("Upgrade") == "" {
		w.Header().Set("Connection", "close") // on HTTP/2 this is a GOAWAY
	}
	if !g.node.table.served.Load() && listen.Violation(r) == nil {
		h := w.Header()
		h.Set("Retry-After", "1")
		h.Set("Cache-Control", "no-store")
		h.Set("Content-Type", "text/plain; charset=utf-8")
		w.WriteHeader(http.StatusServiceUnavailable)
		_, _ = w.Write([]byte("not ready: no table yet\n"))
		return
	}
	g.next.ServeHTTP(w, r)
}

// finish stops accepting, lets running exchanges and switched protocols end for
// as long as they may, and closes what is left.
func (n *Node) finish(ctx context.Context) {
	running, cancel := context.WithTimeout(ctx, n.conf.DrainTimeout)
	defer cancel()
	var all sync.WaitGroup
	for _, f := range n.fronts {
		all.Go(func() {
			if err := f.server.Shutdown(running); err != nil {
				n.log.Warn("exchanges were cut off", "listener", f.name, "err", err)
				_ = f.server.Close() // its errors are those of connections that are gone
			}
		})
	}
	all.Go(func() {
		if err := n.proxy.Close(running); err != nil {
			n.log.Debug("upgraded connections were closed", "err", err)
		}
	})
	all.Wait()
	// What is left has no more time.
	over, end := context.WithCancel(ctx)
	end()
	if err := n.pools.Close(over); err != nil {
		n.log.Debug("connections to upstreams were cut", "err", err)
	}
}
