package main

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"os"
	"time"

	"github.com/spf13/cobra"
	"golang.org/x/sync/errgroup"
)

func newDemo() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "demo",
		Short: "Something to route to, and somebody to ask",
		Long: `Upstreams that say who they are, and a client that says who answered: for labs,
and to see what a route does.`,
	}
	cmd.AddCommand(newDemoServe(), newDemoAsk())
	return cmd
}

func newDemoServe() *cobra.Command {
	var (
		l          logFlags
		name, addr string
	)
	cmd := &cobra.Command{
		Use:     "serve",
		Short:   "Be an upstream that says who it is and what it was asked, in HTTP and in UDP",
		Example: "  signalbox demo serve --name demo1 --demo-listen 127.0.0.1:8003",
		Args:    noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			log, err := l.logger(cmd.ErrOrStderr())
			if err != nil {
				return err
			}
			ln, err := listenTCP("demo-listen", addr)
			if err != nil {
				return err
			}
			datagrams, err := net.ListenPacket("udp", ln.Addr().String())
			if err != nil {
				_ = ln.Close()
				return fmt.Errorf("--demo-listen %s: %w", addr, err)
			}
			log.Info("demo upstream listening", "addr", ln.Addr().String())
			server := &http.Server{Handler: named(name), ReadHeaderTimeout: 10 * time.Second}
			g, ctx := errgroup.WithContext(cmd.Context())
			g.Go(func() error { return serveHTTP(ctx, server, ln, log) })
			g.Go(func() error {
				defer context.AfterFunc(ctx, func() { _ = datagrams.Close() })()
				answerDatagrams(datagrams, name)
				return nil
			})
			return g.Wait()
		},
	}
	host, _ := os.Hostname()
	f := cmd.Flags()
	f.StringVar(&name, "name", host, "what it calls itself")
	f.StringVar(&addr, "demo-listen", "127.0.0.1:8003", "address to serve at")
	l.add(f)
	return cmd
}

// named is an upstream that answers /readyz, and everything else with its name
// and what it was asked. Its name is in a header, too: Demo-Upstream.
func named(name string) http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("/readyz", func(w http.ResponseWriter, _ *http.Request) { _, _ = fmt.Fprintln(w, "ready") })
	mux.HandleFunc("/", func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set(demoHeader, name)
		w.Header().Set("Content-Type", "text/plain; charset=utf-8")
		_, _ = fmt.Fprintf(w, "%s was asked %s %s at %s by %s, for %s\n", name, r.Method, r.URL.RequestURI(), r.Host, r.RemoteAddr, r.Header.Get("X-Forwarded-For"))
	})
	return mux
}

// answerDatagrams answers each with the upstream's name and what it was sent,
// until the socket is closed.
func answerDatagrams(c net.PacketConn, name string) {
	b := make([]byte, 65536)
	for {
		n, from, err := c.ReadFrom(b)
		if errors.Is(err, net.ErrClosed) {
			return
		}
		if err == nil { // otherwise it is about an answer that nobody took
			_, _ = c.WriteTo([]byte(name+" was sent "+string(b[:n])), from)
		}
	}
}

// demoHeader has the name of the demo upstream that answered.
const demoHeader = "Demo-Upstream"
