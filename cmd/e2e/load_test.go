package e2e

import (
	"context"
	"fmt"
	"net/http"
	"sync"
	"testing"
)

// A load sends requests through nodes, each from a client of its own, one
// after the other, until it is stopped.
type load struct {
	cancel  context.CancelFunc
	running sync.WaitGroup

	mu       sync.Mutex
	counts   map[string]int // answers of 200 by path
	failures []string
}

// newLoad starts a load on every node's public address for one path.
func newLoad(t testing.TB, path string, nodes ...string) *load {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	l := &load{cancel: cancel, counts: map[string]int{}}
	for _, node := range nodes {
		client := newHTTP(t)
		l.running.Go(func() {
			for ctx.Err() == nil {
				l.ask(context.WithoutCancel(ctx), client, node, path)
			}
		})
	}
	t.Cleanup(func() { l.stop(t) })
	return l
}

// ask sends one request, to its end: what a node counts is what is counted
// here.
func (l *load) ask(ctx context.Context, client *http.Client, node, path string) {
	a, err := send(ctx, client, "GET", "http://"+node+path, "")
	l.mu.Lock()
	defer l.mu.Unlock()
	if err != nil || a.status != http.StatusOK {
		l.failures = append(l.failures, fmt.Sprintf("%s%s: %d %q %v", node, path, a.status, a.body, err))
		return
	}
	l.counts[path]++
}

// stop ends the load and returns how many requests were answered. None may
// have failed.
func (l *load) stop(t testing.TB) int {
	t.Helper()
	l.cancel()
	l.running.Wait()
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, f := range l.failures[:min(5, len(l.failures))] {
		t.Errorf("of %d failures: %s", len(l.failures), f)
	}
	l.failures = nil
	total := 0
	for _, n := range l.counts {
		total += n
	}
	return total
}
