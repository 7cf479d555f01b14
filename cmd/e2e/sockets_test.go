//go:build e2e

// Thousands of open WebSockets on one route survive a thousand changes of
// other routes.

package e2e

import (
	"context"
	"fmt"
	"os"
	"strconv"
	"sync"
	"syscall"
	"testing"

	signalboxv1 "signalbox/proto/gen/signalbox/v1"
)

const (
	// socketsWanted are as many as are promised, socketsInCI as many as are
	// tried unless SIGNALBOX_E2E_SOCKETS says how many.
	socketsWanted, socketsInCI = 10_000, 2_000
	// filesBeside is how many files the node, and this process, may have open
	// beside those of sockets. Each has two files for a socket: the node the
	// client's and the upstream's, this process both other ends.
	filesBeside = 200
)

// howManySockets is how many this machine's limits and the environment allow.
func howManySockets(t *testing.T) int {
	var files syscall.Rlimit
	if err := syscall.Getrlimit(syscall.RLIMIT_NOFILE, &files); err != nil {
		t.Fatal(err)
	}
	possible := int((min(files.Max, 1<<20) - filesBeside) / 2)
	wanted := socketsInCI
	if v := os.Getenv("SIGNALBOX_E2E_SOCKETS"); v != "" {
		n, err := strconv.Atoi(v)
		if err != nil {
			t.Fatalf("SIGNALBOX_E2E_SOCKETS: %v", err)
		}
		wanted = n
	}
	n := min(wanted, possible)
	t.Logf("%d WebSockets: %d are wanted, and %d open files per process allow %d", n, wanted, files.Max, possible)
	if possible < socketsWanted {
		t.Logf("the promised %d cannot be tried on this machine", socketsWanted)
	}
	return n
}

// each does something with every number below n, some at a time.
func each(n int, do func(int) error) error {
	const atOnce = 64
	var (
		all   sync.WaitGroup
		once  sync.Once
		first error
	)
	turns := make(chan int)
	for range atOnce {
		all.Go(func() {
			for i := range turns {
				if err := do(i); err != nil {
					once.Do(func() { first = fmt.Errorf("number %d: %w", i, err) })
				}
			}
		})
	}
	for i := range n {
		turns <- i
	}
	close(turns)
	all.Wait()
	return first
}

func TestOpenWebSocketsSurviveChangesOfOtherRoutes(t *testing.T) {
	n := howManySockets(t)
	c := newCluster(t, 1, 1)
	to, other := newUpstream(t, "sockets"), newUpstream(t, "other")
	api := c.services(0)
	sockets := make([]*socket, n)
	t.Cleanup(func() {
		for _, s := range sockets {
			if s != nil {
				s.close()
			}
		}
	})
	api.put(t, route("sockets", "/sockets", to.url))
	if err := each(n, func(i int) (err error) {
		if sockets[i], err = openSocket(c.nodes[0].public, "/sockets"); err == nil {
			err = sockets[i].echoes(fmt.Sprintf("before %d", i))
		}
		return err
	}); err != nil {
		t.Fatal(err)
	}

	// Every change is served before the next: new routes, changed ones, removed
	// ones, those above and below the sockets' own among them.
	for i := range 250 {
		name := fmt.Sprintf("other%d", i)
		api.put(t, route(name, fmt.Sprintf("/sockets/%d", i), other.url))
		api.put(t, route(name, fmt.Sprintf("/sockets/%d/deeper", i), to.url, other.url))
		api.put(t, route("root", "/", []string{other.url, to.url}[i%2]))
		if _, err := api.routes.DeleteRoute(t.Context(), &signalboxv1.DeleteRouteRequest{Name: name, Wait: signalboxv1.Wait_WAIT_NODES}); err != nil {
			t.Fatal(err)
		}
	}
	if err := each(n, func(i int) error { return sockets[i].echoes(fmt.Sprintf("after %d", i)) }); err != nil {
		t.Fatal(err)
	}
	eventually(t, "the control plane counts them", func(ctx context.Context) error {
		entry, err := api.routes.GetRoute(ctx, &signalboxv1.GetRouteRequest{Name: "sockets"})
		if got := entry.GetObserved().GetOpenStreams(); err == nil && got != uint64(n) {
			err = fmt.Errorf("%d open streams", got)
		}
		return err
	})
}
