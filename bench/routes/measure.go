package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"strings"
	"time"

	"golang.org/x/sync/errgroup"

	"signalbox/bench/outcome"
)

// command is how a run is repeated.
const command = "go run ./bench/routes"

// calls are how many are under way at once: one, and JupyterHub's.
var calls = []int{1, 10}

// A found is what one round found at one peer with so many calls at once.
type found struct {
	// Write is from the first POST to the last 201, Serve from the first
	// request to the last answer through all routes, one after the other.
	Write, Serve time.Duration
	// Slowest is the one POST that took longest.
	Slowest time.Duration
}

// measure runs everything and writes the results.
func measure(ctx context.Context, o options) error {
	run := outcome.Begin(ctx, command, o.short)
	upstream, addr, err := serveUpstream()
	if err != nil {
		return err
	}
	defer func() { _ = upstream.Close() }()
	all := peers(o)
	results := make([][][]found, len(all)) // by peer, by calls
	for i := range results {
		results[i] = make([][]found, len(calls))
	}
	progress := outcome.NewProgress(os.Stdout, "routes", o.rounds*len(all)*len(calls))
	for r := range o.rounds {
		for i, p := range all {
			for j, n := range calls {
				progress.Step("%s, %d at a time, round %d", p.name, n, r+1)
				f, err := p.round(ctx, o.routes, n, addr)
				if err != nil {
					return fmt.Errorf("%s: %w", p.name, err)
				}
				progress.Say("%v to write, %v to be served by all", f.Write.Round(time.Millisecond), f.Serve.Round(time.Millisecond))
				results[i][j] = append(results[i][j], f)
			}
		}
	}
	return report(o, run, all, results)
}

// round starts a peer, writes all routes, asks each once, and ends it.
func (p peer) round(ctx context.Context, routes, atOnce int, upstream string) (f found, err error) {
	r, err := p.start(ctx)
	if err != nil {
		return f, err
	}
	defer func() { err = errors.Join(err, r.stop()) }()
	c := newClient(atOnce)
	took := make([]time.Duration, routes)
	begun := time.Now()
	g, gctx := errgroup.WithContext(ctx)
	next := make(chan int)
	for range atOnce {
		g.Go(func() error {
			for i := range next {
				one := time.Now()
				status, body, err := c.call(gctx, "POST", fmt.Sprintf("http://%s/api/routes/user/%d", r.api, i),
					fmt.Sprintf(`{"target":"http://%s/%d","user":"u%d","jupyterhub":true}`, upstream, i, i))
				if err != nil || status != http.StatusCreated {
					return fmt.Errorf("POST is answered %d %s: %w", status, body, err)
				}
				took[i] = time.Since(one)
			}
			return nil
		})
	}
	g.Go(func() error {
		defer close(next)
		for i := range routes {
			select {
			case next <- i:
			case <-gctx.Done():
				return nil
			}
		}
		return nil
	})
	if err := g.Wait(); err != nil {
		return f, err
	}
	f.Write = time.Since(begun)
	for _, t := range took {
		f.Slowest = max(f.Slowest, t)
	}
	begun = time.Now()
	for i := range routes {
		status, body, err := c.call(ctx, "GET", fmt.Sprintf("http://%s/user/%d/lab", r.public, i), "")
		if want := fmt.Sprintf("/%d/user/%d/lab", i, i); err != nil || status != http.StatusOK || body != want {
			return f, fmt.Errorf("route %d is answered %d %q instead of %q: %w", i, status, body, want, err)
		}
	}
	f.Serve = time.Since(begun)
	return f, nil
}

// A client keeps its connections.
type client struct{ http.Client }

func newClient(connections int) *client {
	return &client{http.Client{Timeout: 30 * time.Second, Transport: &http.Transport{MaxIdleConnsPerHost: connections}}}
}

// call makes one call with the token.
func (c *client) call(ctx context.Context, method, url, body string) (int, string, error) {
	req, err := http.NewRequestWithContext(ctx, method, url, strings.NewReader(body))
	if err != nil {
		return 0, "", err
	}
	req.Header.Set("Authorization", "token "+token)
	res, err := c.Do(req)
	if err != nil {
		return 0, "", err
	}
	defer func() { _ = res.Body.Close() }()
	text, err := io.ReadAll(res.Body)
	return res.StatusCode, string(text), err
}

// serveUpstream serves what says which path it was asked for.
func serveUpstream() (*http.Server, string, error) {
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, "", err
	}
	s := &http.Server{ReadHeaderTimeout: 10 * time.Second, Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		_, _ = io.WriteString(w, r.URL.Path)
	})}
	go func() { _ = s.Serve(ln) }()
	return s, ln.Addr().String(), nil
}
