//go:build e2e

// Thousands of open WebSockets on one route survive a thousand changes of
// other routes.

package e2e

import (
	"context"
	"errors"
	"fmt"
	"os"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"

	"google.golang.org/protobuf/types/known/durationpb"

	signalboxv1 "signalbox/proto/gen/signalbox/v1"
)

const (
	// socketsWanted are as many as are promised, socketsInCI as many as are
	// tried unless SIGNALBOX_E2E_SOCKETS says how many.
	socketsWanted, socketsInCI = 10_000, 2_000
	// filesBeside is how many files a process may have open beside those of
	// sockets. This process has one for a socket, and so has the upstream, which
	// is a process of its own; a node has two, the client's and the upstream's.
	filesBeside = 200
)

// howManySockets is how many this machine's limits and the environment allow,
// and how many nodes that takes.
func howManySockets(t *testing.T) (sockets, nodes int) {
	var files syscall.Rlimit
	if err := syscall.Getrlimit(syscall.RLIMIT_NOFILE, &files); err != nil {
		t.Fatal(err)
	}
	possible := int(min(files.Max, 1<<20) - filesBeside)
	wanted := socketsInCI
	if v := os.Getenv("SIGNALBOX_E2E_SOCKETS"); v != "" {
		n, err := strconv.Atoi(v)
		if err != nil || n < 1 {
			t.Fatalf("SIGNALBOX_E2E_SOCKETS: %q is not a number of sockets", v)
		}
		wanted = n
	}
	sockets = min(wanted, possible)
	nodes = (2*sockets + possible - 1) / possible
	t.Logf("%d WebSockets through %d node(s): %d are wanted, and %d open files per process allow %d, %d through one node",
		sockets, nodes, wanted, files.Max, possible, possible/2)
	if sockets < socketsWanted {
		t.Logf("the promised %d are held with SIGNALBOX_E2E_SOCKETS=%d and %d open files", socketsWanted, socketsWanted, socketsWanted+filesBeside)
	}
	return sockets, nodes
}

// newEcho starts an upstream in a process of its own, and returns its URL.
func (l *lab) newEcho() string {
	l.t.Helper()
	self, err := os.Executable()
	if err != nil {
		l.t.Fatal(err)
	}
	p := l.process("echo", []string{echoOnly + "=1"})
	p.path = self
	p.start()
	var url string
	eventually(l.t, "the upstream says where it is", func(context.Context) error {
		out, err := os.ReadFile(p.out)
		url = strings.TrimSpace(string(out))
		if err == nil && !strings.HasSuffix(string(out), "\n") {
			err = errors.New("not yet")
		}
		return err
	})
	return url
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
	n, nodes := howManySockets(t)
	c := newCluster(t, 1, nodes)
	to, other := c.newEcho(), newUpstream(t, "other")
	api := c.services(0)
	sockets := make([]*socket, n)
	t.Cleanup(func() {
		for _, s := range sockets {
			if s != nil {
				s.close()
			}
		}
	})
	api.put(t, route("sockets", "/sockets", to))
	if err := each(n, func(i int) (err error) {
		if sockets[i], err = openSocket(c.nodes[i%nodes].public, "/sockets"); err == nil {
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
		api.put(t, route(name, fmt.Sprintf("/sockets/%d/deeper", i), to, other.url))
		api.put(t, route("root", "/", []string{other.url, to}[i%2]))
		if _, err := api.routes.DeleteRoute(t.Context(), &signalboxv1.DeleteRouteRequest{Name: name, Wait: signalboxv1.Wait_WAIT_NODES, WaitTimeout: durationpb.New(patience)}); err != nil {
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
