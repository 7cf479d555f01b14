//go:build e2e

// What was written before a backup is there after it is restored, on every
// node and control plane, what was written after it is gone, and nobody who
// served stopped serving for it.

package e2e

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	signalboxv1 "signalbox/proto/gen/signalbox/v1"
)

// argument is what follows a flag in a process's command line.
func (p *process) argument(flag string) string {
	i := slices.Index(p.args, flag)
	if i < 0 {
		p.t.Fatalf("%s has no %s", p.name, flag)
	}
	return p.args[i+1]
}

// restore makes a new data directory for an etcd member from a backup.
func (c *cluster) restore(file string, member *process, token string) {
	c.t.Helper()
	c.does(nil, "restore", file, "--data-dir", member.argument("--data-dir"), "--name", member.argument("--name"),
		"--advertise-peer", member.argument("--listen-peer"), "--initial-cluster", member.argument("--initial-cluster"),
		"--cluster-token", token)
}

// ackedNow is a copy of what was acknowledged so far.
func (w *writer) ackedNow() []string {
	w.mu.Lock()
	defer w.mu.Unlock()
	return slices.Clone(w.acked)
}

// await waits until there are n more writes acknowledged.
func (w *writer) await(t testing.TB, n int) {
	t.Helper()
	n += w.count()
	eventually(t, "writes are acknowledged", func(context.Context) error {
		if got := w.count(); got < n {
			return fmt.Errorf("%d of %d", got, n)
		}
		return nil
	})
}

func TestABackupRestoredOnEveryMember(t *testing.T) {
	c := emptyCluster(t)
	c.startEtcd(3)
	for range 2 {
		c.addPlane().start()
	}
	c.complete(2)
	first, second := newUpstream(t, "first"), newUpstream(t, "second")
	api := c.services(0)
	for _, name := range []string{"stays", "changes", "goes"} {
		api.put(t, route(name, "/"+name, first.url))
	}
	work := c.holdOpen("/stays")
	traffic := newLoad(t, "/stays", c.nodes[0].public, c.nodes[1].public)

	t.Log("a backup is made under writes, and more is written")
	w := &writer{}
	ctx, stop := context.WithCancel(t.Context())
	var writing sync.WaitGroup
	writing.Go(func() { w.run(ctx, c, first.url) })
	t.Cleanup(func() { stop(); writing.Wait() })
	w.await(t, writesPerSecond/2)
	before := w.ackedNow()
	file := filepath.Join(c.dir, "backup.db")
	t.Log(strings.TrimSpace(c.does([]string{"SIGNALBOX_KEY=" + c.admin}, "backup", file, "--controlplane", c.planes[1].grpc)))
	during := w.ackedNow()
	w.await(t, writesPerSecond/2)
	stop()
	writing.Wait()
	after := w.ackedNow()[len(during):]
	if info, err := os.Stat(file); err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("the backup is %v, %v", info.Mode(), err)
	}
	api.put(t, route("changes", "/changes", second.url))
	if _, err := api.routes.DeleteRoute(t.Context(), &signalboxv1.DeleteRouteRequest{Name: "goes"}); err != nil {
		t.Fatal(err)
	}
	late := c.createKey(&signalboxv1.ApiKey{Name: "late", Scopes: []string{"routes:read"}})
	last := api.put(t, route("last", "/last", second.url)).GetVersion()

	t.Log("all of etcd is lost; nodes and control planes go on")
	var members []*process
	for i := range c.store {
		members = append(members, c.part(fmt.Sprintf("etcd%d", i)))
	}
	for _, m := range members {
		m.kill()
		if err := os.RemoveAll(m.argument("--data-dir")); err != nil {
			t.Fatal(err)
		}
	}
	c.refusesBackups(codes.Unavailable, c.admin)
	c.served("/last", second)
	for _, m := range members {
		c.restore(file, m, "restored-once")
		m.start()
	}
	c.cameBack(last, first)
	c.areGone(after)
	for _, path := range []string{"/stays", "/changes", "/goes"} {
		c.served(path, first)
	}
	c.answers("/last", 404)
	for _, name := range before {
		c.served("/"+name, first)
	}
	c.holdsAll(before, first)
	if _, err := dialGRPC(t, c.planes[0].grpc, late, nil).routes.ListRoutes(t.Context(), &signalboxv1.ListRoutesRequest{}); status.Code(err) != codes.Unauthenticated {
		t.Errorf("a key made after the backup: %v", err)
	}
	work()
	t.Logf("%d writes before the backup, %d after it; %d requests went through the nodes", len(before), len(after), traffic.stop(t))

	t.Log("and everything that is started anew agrees")
	c.planes[0].kill()
	c.nodes[0].kill()
	if err := os.RemoveAll(c.nodes[0].state); err != nil {
		t.Fatal(err)
	}
	c.planes[0].start()
	c.awaitPlane(c.planes[0])
	c.nodes[0].start()
	c.awaitNode(c.nodes[0])
	c.awaitLive()
	c.converge("again", second)
	c.served("/changes", first)
	c.refusesBackups(codes.PermissionDenied, c.node)
	c.refusesBackups(codes.PermissionDenied, c.createKey(&signalboxv1.ApiKey{Name: "writer", Scopes: []string{"routes:write", "keys:write"}}))
}

// cameBack waits until both control planes and all nodes have what was
// restored, in another epoch than what they last had, and then write above
// it.
func (c *cluster) cameBack(last *signalboxv1.Version, to *upstream) {
	c.t.Helper()
	for i, p := range c.planes {
		api := c.services(i).routes
		eventually(c.t, p.id+" has what was restored", func(ctx context.Context) error {
			_, err := api.GetRoute(ctx, &signalboxv1.GetRouteRequest{Name: "last"})
			if status.Code(err) != codes.NotFound {
				return fmt.Errorf("asked for a route that is not in the backup: %w", err)
			}
			return nil
		})
	}
	var now *signalboxv1.Version
	eventually(c.t, "a write is served by all nodes", func(ctx context.Context) error {
		res, err := c.services(1).routes.PutRoute(ctx, &signalboxv1.PutRouteRequest{Route: route("new", "/new", to.url), Wait: signalboxv1.Wait_WAIT_NODES})
		now = res.GetResult().GetVersion()
		if err == nil && int(res.GetResult().GetNodesServing()) != len(c.nodes) {
			err = fmt.Errorf("%v", res.GetResult())
		}
		return err
	})
	if now.GetEpoch() == last.GetEpoch() || now.GetRevision() <= last.GetRevision() {
		c.t.Errorf("the first write is at %v, the last before was at %v", now, last)
	}
	c.served("/new", to)
}

// areGone fails if a control plane has one of the routes, or a node serves it.
func (c *cluster) areGone(names []string) {
	c.t.Helper()
	for _, name := range names {
		c.answers("/"+name, 404)
	}
	for i, p := range c.planes {
		_, err := c.services(i).routes.GetRoute(c.t.Context(), &signalboxv1.GetRouteRequest{Name: names[0]})
		if status.Code(err) != codes.NotFound {
			c.t.Errorf("%s: %s is still there: %v", p.id, names[0], err)
		}
	}
}

// refusesBackups fails unless every control plane does.
func (c *cluster) refusesBackups(want codes.Code, key string) {
	c.t.Helper()
	for _, p := range c.planes {
		stream, err := signalboxv1.NewBackupServiceClient(dialGRPC(c.t, p.grpc, key, nil).conn).CreateBackup(c.t.Context(), new(signalboxv1.CreateBackupRequest))
		if err == nil {
			_, err = stream.Recv()
		}
		if status.Code(err) != want {
			c.t.Errorf("%s answers with %v, want %v", p.id, err, want)
		}
	}
}

// What `signalbox up` keeps can be put back as what another directory keeps.
func TestABackupOfUpRestoredElsewhere(t *testing.T) {
	l := newLab(t)
	to := newUpstream(t, "first")
	u := newUp(l)
	u.started()
	key := func(u *upProcess) []string {
		return []string{"SIGNALBOX_KEY_FILE=" + filepath.Join(u.dir, u.argument("--data-dir"), "admin.key"), "SIGNALBOX_CONTROLPLANE=" + u.grpc}
	}
	l.does(key(u), "route", "put", "kept", "--path", "/kept", "--to", to.url, "--wait")
	file := filepath.Join(l.dir, "backup.db")
	l.does(key(u), "backup", file)

	t.Log("a backup is not overwritten, but by force; a disk that is full is told of")
	if text, code := l.run(key(u), "backup", file); code != 5 || !strings.Contains(text, "--force") {
		t.Errorf("over a file that is there: %d %s", code, text)
	}
	l.does(key(u), "backup", file, "--force")
	if text, code := l.run(key(u), "backup", filepath.Join(l.dir, "no", "such")); code == 0 {
		t.Errorf("into a directory that is not there: %s", text)
	}
	out, err := bash(t, l.dir, program(t)+" backup - >/dev/full", key(u)...)
	if err == nil || !strings.Contains(out, "no space left on device") {
		t.Errorf("onto a full disk: %v %s", err, out)
	}
	l.does(key(u), "route", "put", "later", "--path", "/later", "--to", to.url, "--wait")
	if left, _ := filepath.Glob(file + ".*"); left != nil {
		t.Errorf("left behind: %v", left)
	}

	t.Log("a damaged file is refused")
	whole, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	for what, text := range map[string][]byte{
		"checksum": append([]byte{1}, whole[1:]...), "end is missing": whole[:len(whole)-100], "damaged": bytes.Repeat([]byte("x"), 1000),
	} {
		bad := filepath.Join(l.dir, "bad.db")
		if err := os.WriteFile(bad, text, 0o600); err != nil {
			t.Fatal(err)
		}
		if said, code := l.run(nil, "restore", bad, "--data-dir", "data/bad"); code != 2 || !strings.Contains(said, what) {
			t.Errorf("%s: %d %s", what, code, said)
		}
	}
	if _, code := l.run(nil, "restore", file, "--data-dir", "data/up/etcd"); code == 0 {
		t.Error("restored into a directory that is in use")
	}

	t.Log("restored elsewhere")
	l.does(nil, "restore", file, "--data-dir", "data/other/etcd")
	if code := u.stop(syscall.SIGTERM); code != 0 {
		t.Errorf("up exits with %d", code)
	}
	other := newUp(l, "--data-dir", "data/other")
	other.args = slices.DeleteFunc(other.args, func(a string) bool { return a == "data/up" })
	other.args = slices.Delete(other.args, 1, 2) // its --data-dir
	other.name, other.log, other.out = "other", filepath.Join(l.dir, "other.log"), filepath.Join(l.dir, "other.out")
	other.started()
	client := newHTTP(t)
	for path, want := range map[string]int{"/kept": 200, "/later": 404} {
		eventually(t, path+" is as restored", func(ctx context.Context) error {
			a, err := send(ctx, client, "GET", "http://"+other.public+path, "")
			if err == nil && a.status != want {
				err = fmt.Errorf("%d %s", a.status, a.body)
			}
			return err
		})
	}
	if text := l.does(key(other), "route", "list"); !strings.Contains(text, "kept") {
		t.Errorf("the admin key lists %s", text)
	}
	l.does(key(other), "route", "put", "new", "--path", "/new", "--to", to.url, "--wait")
}

// A large store goes through a control plane without staying in it, and one
// that is killed in the middle leaves no file.
func TestALargeBackup(t *testing.T) {
	c := emptyCluster(t)
	p := c.addPlane()
	p.env = append(p.env, "GOGC=10") // garbage is not what is measured
	p.start()
	c.complete(0)
	data := strings.Repeat("0123456789abcdef", 16_000)
	api := c.services(0).routes
	for i := range 240 { // of 256 kB
		r := route(fmt.Sprintf("r%d", i), fmt.Sprintf("/r%d", i), "http://127.0.0.1:1")
		r.Data = fmt.Sprintf(`{"text":%q}`, data)
		if _, err := api.PutRoute(t.Context(), &signalboxv1.PutRouteRequest{Route: r}); err != nil {
			t.Fatal(err)
		}
	}
	file := filepath.Join(c.dir, "backup.db")
	before := c.planes[0].resident()
	t.Log(strings.TrimSpace(c.does([]string{"SIGNALBOX_KEY=" + c.admin}, "backup", file, "--controlplane", c.planes[0].grpc)))
	info, err := os.Stat(file)
	if err != nil || info.Size() < 50<<20 {
		t.Fatalf("%v %v", info, err)
	}
	if grown := c.planes[0].resident() - before; grown > info.Size()/4 {
		t.Errorf("while it made a backup of %d bytes, the control plane grew by %d", info.Size(), grown)
	}

	stream, err := signalboxv1.NewBackupServiceClient(dialGRPC(t, c.planes[0].grpc, c.admin, nil).conn).CreateBackup(t.Context(), new(signalboxv1.CreateBackupRequest))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := stream.Recv(); err != nil {
		t.Fatal(err)
	}
	c.planes[0].kill()
	for err == nil {
		_, err = stream.Recv()
	}
	if errors.Is(err, io.EOF) || status.Code(err) != codes.Unavailable {
		t.Errorf("a stream whose control plane was killed ends with %v", err)
	}
}

// resident is the process's memory that is not a file's, in bytes.
func (p *process) resident() int64 {
	p.t.Helper()
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", p.cmd.Process.Pid))
	if err != nil {
		p.t.Fatal(err)
	}
	_, rest, _ := strings.Cut(string(text), "RssAnon:")
	var kib int64
	if _, err := fmt.Sscan(rest, &kib); err != nil {
		p.t.Fatal(err)
	}
	return kib << 10
}
