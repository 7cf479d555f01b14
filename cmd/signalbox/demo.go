package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"time"
)

// demo is the upstream that `signalbox up` brings along, to have something to
// route to: it says what it was asked.
func demo(w http.ResponseWriter, r *http.Request) {
	w.Header().Set("Content-Type", "text/plain; charset=utf-8")
	_, _ = fmt.Fprintf(w, "Hello from the demo upstream.\nYou asked for %s %s at %s", r.Method, r.URL.RequestURI(), r.Host)
	if from := r.Header.Get("X-Forwarded-For"); from != "" {
		_, _ = fmt.Fprintf(w, ", from %s", from)
	}
	_, _ = fmt.Fprintln(w, ".")
}

// serveHTTP serves until ctx ends, then lets running requests finish for a
// moment.
func serveHTTP(ctx context.Context, server *http.Server, ln net.Listener, log *slog.Logger) error {
	ended := make(chan error, 1)
	go func() { ended <- serve(server, ln) }()
	select {
	case err := <-ended:
		return err
	case <-ctx.Done():
	}
	grace, cancel := context.WithTimeout(context.WithoutCancel(ctx), 3*time.Second)
	defer cancel()
	if err := server.Shutdown(grace); err != nil {
		log.Info("requests cut at the end", "addr", ln.Addr().String(), "err", err)
		_ = server.Close()
	}
	if err := <-ended; !errors.Is(err, http.ErrServerClosed) {
		return err
	}
	return nil
}

func serve(server *http.Server, ln net.Listener) error {
	if server.TLSConfig != nil {
		return server.ServeTLS(ln, "", "")
	}
	return server.Serve(ln)
}
