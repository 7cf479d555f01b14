//go:build e2e

// Nodes that were cut off while the store lost its history, or was put back to
// an older one, serve on, and are sent the whole state when they are back.

package e2e

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"syscall"
	"testing"

	clientv3 "go.etcd.io/etcd/client/v3"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	signalboxv1 "signalbox/proto/gen/signalbox/v1"
)

// newWired is a cluster on an etcd whose nodes reach control planes by wires,
// which can be cut.
func newWired(t *testing.T, planes, nodes int) (*cluster, []*wire) {
	t.Helper()
	c := emptyCluster(t)
	c.startEtcd(1)
	var wires []*wire
	for range planes {
		w := newWire(t, "")
		p := c.addPlane("--advertise", w.addr)
		w.to, p.told = p.grpc, w.addr
		wires = append(wires, w)
		p.start()
	}
	c.complete(nodes)
	return c, wires
}

// holdOpen opens a WebSocket through each node, and returns what fails unless
// all of them work.
func (c *cluster) holdOpen(path string) (work func()) {
	c.t.Helper()
	sockets := map[string]*socket{}
	for _, n := range c.nodes {
		s, err := openSocket(n.public, path)
		if err != nil {
			c.t.Fatal(err)
		}
		c.t.Cleanup(s.close)
		sockets[n.id] = s
	}
	return func() {
		c.t.Helper()
		for node, s := range sockets {
			if err := s.echoes("through " + node); err != nil {
				c.t.Errorf("the WebSocket through %s: %v", node, err)
			}
		}
	}
}

// answers fails unless all nodes answer a path with a status.
func (c *cluster) answers(path string, want int) {
	c.t.Helper()
	for _, n := range c.nodes {
		if a, err := c.get(c.t.Context(), n, path); err != nil || a.status != want {
			c.t.Errorf("%s through %s: %d %q %v, want %d", path, n.id, a.status, a.body, err, want)
		}
	}
}

// arrives waits until all nodes serve a path.
func (c *cluster) arrives(path string) {
	c.t.Helper()
	for _, n := range c.nodes {
		eventually(c.t, n.id+" serves "+path, func(ctx context.Context) error {
			a, err := c.get(ctx, n, path)
			if err == nil && a.status != 200 {
				err = fmt.Errorf("%d %s", a.status, a.body)
			}
			return err
		})
	}
}

// write writes a route through a control plane, when it can, without a wait.
func (c *cluster) write(plane int, r *signalboxv1.Route) {
	c.t.Helper()
	api := c.services(plane).routes
	eventually(c.t, "a write through "+c.planes[plane].id, func(ctx context.Context) error {
		_, err := api.PutRoute(ctx, &signalboxv1.PutRouteRequest{Route: r})
		return err
	})
}

func TestNodesCutOffDuringARestoreComeToWhatIsStored(t *testing.T) {
	c, wires := newWired(t, 2, 2)
	first, second := newUpstream(t, "first"), newUpstream(t, "second")
	api := c.services(0)
	for _, name := range []string{"stays", "changes", "goes"} {
		api.put(t, route(name, "/"+name, first.url))
	}
	work := c.holdOpen("/stays")

	t.Log("a backup is made, and more is written")
	store, data, backup := c.part("etcd"), filepath.Join(c.dir, "etcd"), filepath.Join(c.dir, "backup")
	if code := store.stop(syscall.SIGTERM); code != 0 {
		t.Errorf("etcd exits with %d", code)
	}
	if err := os.CopyFS(backup, os.DirFS(data)); err != nil {
		t.Fatal(err)
	}
	store.start()
	c.converge("later", second)
	api.put(t, route("changes", "/changes", second.url))
	if _, err := api.routes.DeleteRoute(t.Context(), &signalboxv1.DeleteRouteRequest{Name: "goes"}); err != nil {
		t.Fatal(err)
	}
	api.put(t, route("last", "/last", second.url))

	t.Log("the nodes are cut off, and the backup is put in place")
	for _, w := range wires {
		w.sever()
	}
	store.kill()
	if err := errors.Join(os.RemoveAll(data), os.Rename(backup, data)); err != nil {
		t.Fatal(err)
	}
	store.start()
	for i := range c.planes {
		api := c.services(i).routes
		eventually(t, "a control plane has what was restored", func(ctx context.Context) error {
			_, err := api.GetRoute(ctx, &signalboxv1.GetRouteRequest{Name: "last"})
			if status.Code(err) != codes.NotFound {
				return fmt.Errorf("asked for a route that is not in the backup: %w", err)
			}
			return nil
		})
	}
	c.write(1, route("new", "/new", first.url))
	for _, path := range []string{"/changes", "/later/0", "/last"} {
		c.served(path, second)
	}
	c.answers("/goes", 404)
	work()

	t.Log("the nodes are back")
	for _, w := range wires {
		w.mend()
	}
	c.arrives("/new")
	for _, path := range []string{"/stays", "/changes", "/goes"} {
		c.served(path, first)
	}
	for _, path := range []string{"/later/0", "/later/1", "/last"} {
		c.answers(path, 404)
	}
	work()
	c.converge("again", second)
}

func TestNodesCutOffDuringACompactionMissNothing(t *testing.T) {
	const routes = 60
	c, wires := newWired(t, 2, 2)
	first, second := newUpstream(t, "first"), newUpstream(t, "second")
	api := c.services(0)
	for i := range routes {
		api.put(t, route(fmt.Sprintf("r%d", i), fmt.Sprintf("/r%d", i), first.url))
	}
	api.put(t, route("stays", "/stays", first.url))
	work := c.holdOpen("/stays")

	// One control plane and all nodes miss changes whose history is gone when
	// they are back; the other control plane is not there any more.
	for _, w := range wires {
		w.sever()
	}
	missed := c.planes[1]
	missed.signal(syscall.SIGSTOP)
	for i := range routes {
		switch i % 3 {
		case 0:
			c.write(0, route(fmt.Sprintf("r%d", i), fmt.Sprintf("/r%d", i), second.url))
		case 1:
			if _, err := api.routes.DeleteRoute(t.Context(), &signalboxv1.DeleteRouteRequest{Name: fmt.Sprintf("r%d", i)}); err != nil {
				t.Fatal(err)
			}
		}
	}
	c.compact()
	store := c.part("etcd")
	store.kill()
	store.start()
	c.planes[0].kill()
	missed.signal(syscall.SIGCONT)
	c.served("/r1", first) // as they were
	for _, w := range wires {
		w.mend()
	}
	c.write(1, route("new", "/new", first.url))
	c.arrives("/new")
	for i := range routes {
		path := fmt.Sprintf("/r%d", i)
		switch i % 3 {
		case 0:
			c.served(path, second)
		case 1:
			c.answers(path, 404)
		default:
			c.served(path, first)
		}
	}
	work()
	c.planes[0].start()
	c.converge("again", second)
}

// compact makes etcd forget how it came to what it holds.
func (c *cluster) compact() {
	c.t.Helper()
	client, err := clientv3.New(clientv3.Config{Endpoints: c.store})
	if err != nil {
		c.t.Fatal(err)
	}
	defer func() { _ = client.Close() }()
	ctx, cancel := context.WithTimeout(c.t.Context(), patience)
	defer cancel()
	at, err := client.Get(ctx, "any")
	if err == nil {
		_, err = client.Compact(ctx, at.Header.GetRevision(), clientv3.WithCompactPhysical())
	}
	if err != nil {
		c.t.Fatal(err)
	}
}
