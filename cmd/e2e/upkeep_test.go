//go:build e2e

// What can happen to an etcd is mended by the commands that are documented,
// while nodes serve, and no acknowledged write is lost by it.

package e2e

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/types/known/durationpb"

	signalboxv1 "signalbox/proto/gen/signalbox/v1"
)

// upkeep runs a command that looks after etcd.
func (c *cluster) upkeep(args ...string) (string, int) {
	c.t.Helper()
	return c.run([]string{"SIGNALBOX_ETCD=" + strings.Join(c.store, ",")}, append([]string{"etcd"}, args...)...)
}

// mends is upkeep that must succeed.
func (c *cluster) mends(args ...string) string {
	c.t.Helper()
	text, code := c.upkeep(args...)
	if code != 0 {
		c.t.Fatalf("signalbox etcd %v: exit code %d\n%s", args, code, text)
	}
	return text
}

// fill writes routes until etcd takes no more, and returns their names and
// the answer to the one that was refused.
func (c *cluster) fill(to string) (acked []string, refused error) {
	c.t.Helper()
	data := fmt.Sprintf(`{"text":%q}`, strings.Repeat("0123456789abcdef", 16_000))
	for i := range 1000 {
		r := route(fmt.Sprintf("fill/%d", i%20), fmt.Sprintf("/fill/%d", i%20), to)
		r.Data = data
		_, err := c.services(0).routes.PutRoute(c.t.Context(), &signalboxv1.PutRouteRequest{Route: r, Wait: signalboxv1.Wait_WAIT_NODES, WaitTimeout: durationpb.New(patience)})
		if err != nil {
			return acked, err
		}
		acked = append(acked, r.GetName())
	}
	c.t.Fatal("etcd does not fill")
	return nil, nil
}

func TestAFullQuotaIsToldAndRecoveredFrom(t *testing.T) {
	const lease = time.Second
	c := emptyCluster(t)
	c.startEtcd(3, "--quota-bytes", fmt.Sprint(24<<20))
	for range 2 {
		c.addPlane("--lease-ttl", lease.String()).start()
	}
	c.complete(2)
	to := newUpstream(t, "up")
	c.services(0).put(t, route("steady", "/steady", to.url))
	traffic := newLoad(t, "/steady", c.nodes[0].public, c.nodes[1].public)
	acked, err := c.fill(to.url)
	if status.Code(err) != codes.ResourceExhausted || !strings.Contains(err.Error(), "quota") || !strings.Contains(err.Error(), "signalbox etcd") {
		t.Errorf("a write to a full etcd: %v", err)
	}
	t.Logf("after %d writes: %v", len(acked), err)

	t.Log("control planes keep their leases, answer reads, and say that they cannot write")
	for i, p := range c.planes {
		if _, err := c.services(i).routes.GetRoute(t.Context(), &signalboxv1.GetRouteRequest{Name: "steady"}); err != nil {
			t.Errorf("%s answers a read with %v", p.id, err)
		}
		_, err := c.services(i).routes.DeleteRoute(t.Context(), &signalboxv1.DeleteRouteRequest{Name: acked[0]})
		if status.Code(err) != codes.ResourceExhausted {
			t.Errorf("%s answers a removal with %v", p.id, err)
		}
	}
	c.staysLive(5 * lease)
	text, code := c.upkeep("status")
	if code != 1 || strings.Count(text, "NOSPACE") < 3 {
		t.Errorf("the status of a full etcd: %d\n%s", code, text)
	}
	t.Log("\n" + text)
	if text, code := c.upkeep("disarm"); code != 5 || !strings.Contains(text, "no room yet") {
		t.Errorf("disarmed before room was made: %d %s", code, text)
	}
	file := filepath.Join(c.dir, "full.db")
	c.does([]string{"SIGNALBOX_KEY=" + c.admin}, "backup", file, "--controlplane", c.planes[0].grpc)

	t.Log("room is made")
	t.Log("compact\n" + c.mends("compact"))
	t.Log("defragment\n" + c.mends("defragment"))
	silent := c.part("etcd2")
	silent.kill()
	if text, code := c.upkeep("disarm"); code != 6 || !strings.Contains(text, "at etcd2 is not known") {
		t.Errorf("disarmed while nobody knows of etcd2: %d %s", code, text)
	}
	silent.start()
	eventually(t, "etcd2 is back", func(context.Context) error {
		if text, _ := c.upkeep("status"); strings.Contains(text, "does not answer") {
			return errors.New(text)
		}
		return nil
	})
	for _, step := range []string{"disarm", "status"} {
		t.Log(step + "\n" + c.mends(step))
	}
	c.converge("after", to)
	slices.Sort(acked)
	for _, name := range slices.Compact(acked) {
		for i, p := range c.planes {
			if _, err := c.services(i).routes.GetRoute(t.Context(), &signalboxv1.GetRouteRequest{Name: name}); err != nil {
				t.Errorf("%s has lost %s: %v", p.id, name, err)
			}
		}
		c.served("/"+name, to)
	}
	c.staysLive(lease)
	t.Logf("%d requests went through the nodes", traffic.stop(t))
}

// staysLive fails if, within so long, a control plane takes a node for lost or
// loses its own lease.
func (c *cluster) staysLive(long time.Duration) {
	c.t.Helper()
	before := map[string]int{}
	for _, p := range c.planes {
		before[p.id] = len(p.lines())
	}
	ctx, cancel := context.WithTimeout(c.t.Context(), long)
	defer cancel()
	tick := time.NewTicker(100 * time.Millisecond)
	defer tick.Stop()
	for {
		for i, p := range c.planes {
			all, err := c.services(i).nodes.ListNodes(c.t.Context(), &signalboxv1.ListNodesRequest{})
			for _, n := range all.GetNodes() {
				if state := n.GetObserved().GetState(); state != signalboxv1.NodeState_NODE_STATE_LIVE {
					err = errors.Join(err, fmt.Errorf("%s is %s", n.GetName(), state))
				}
			}
			if err != nil || len(all.GetNodes()) != len(c.nodes) {
				c.t.Fatalf("by %s: %v, of %d nodes", p.id, err, len(all.GetNodes()))
			}
		}
		select {
		case <-tick.C:
			continue
		case <-ctx.Done():
		}
		for _, p := range c.planes {
			for _, line := range p.lines()[before[p.id]:] {
				if strings.Contains(line, "lease") {
					c.t.Errorf("%s says: %s", p.id, line)
				}
			}
		}
		return
	}
}

func TestADeadMemberIsReplaced(t *testing.T) {
	c := emptyCluster(t)
	c.startEtcd(3)
	for range 2 {
		c.addPlane().start()
	}
	c.complete(2)
	to := newUpstream(t, "up")
	c.services(0).put(t, route("steady", "/steady", to.url))
	traffic := newLoad(t, "/steady", c.nodes[0].public, c.nodes[1].public)
	more, end := c.writes(to.url)
	more(writesPerSecond / 4)
	dead := c.part("etcd2")
	dead.kill() // and its disk with it
	if text, code := c.upkeep("status"); code != 6 || !strings.Contains(text, "etcd2 does not answer") {
		t.Errorf("status: %d\n%s", code, text)
	}
	if text, code := c.upkeep("defragment"); code != 6 || !strings.Contains(text, "nothing was done") {
		t.Errorf("defragmented: %d\n%s", code, text)
	}
	more(writesPerSecond / 4)

	c.mends("remove", "etcd2")
	if text, code := c.upkeep("remove", "etcd2"); code != 4 {
		t.Errorf("removed twice: %d %s", code, text)
	}
	peer := "http://" + freeAddr(t)
	told := c.mends("add", "etcd2", peer)
	_, rest, _ := strings.Cut(told, "--initial-cluster ")
	cluster, _, _ := strings.Cut(rest, " ")
	if !strings.Contains(told, "--initial-cluster-state existing") || strings.Count(cluster, "=") != 3 {
		t.Fatalf("told to start it by %s", told)
	}
	fresh := c.process("fresh", nil, "etcd", "--name", "etcd2", "--data-dir", filepath.Join(c.dir, "fresh"),
		"--listen-client", c.store[2], "--listen-peer", peer, "--initial-cluster", cluster, "--initial-cluster-state", "existing")
	fresh.start()
	c.healthy(3)
	more(writesPerSecond / 4)

	// It counts: with another one gone, there is a quorum by it.
	c.part("etcd0").kill()
	more(writesPerSecond / 4)
	c.part("etcd0").start()
	c.healthy(3)
	acked := end()
	c.mends("defragment")
	c.converge("last", to)
	c.holdsAll(acked, to)
	t.Logf("%d requests went through the nodes", traffic.stop(t))
}

// A store of one member becomes one of two, and stays writable all the while.
func TestAMemberBecomesTwo(t *testing.T) {
	c := emptyCluster(t)
	c.startEtcd(1)
	c.addPlane().start()
	c.complete(1)
	to := newUpstream(t, "up")
	more, end := c.writes(to.url)
	peer := "http://" + freeAddr(t)
	told := c.mends("add", "second", peer)
	more(writesPerSecond / 4) // before it is there
	_, rest, _ := strings.Cut(told, "--initial-cluster ")
	cluster, _, _ := strings.Cut(rest, " ")
	c.process("second", nil, "etcd", "--name", "second", "--data-dir", filepath.Join(c.dir, "second"),
		"--listen-client", "http://"+freeAddr(t), "--listen-peer", peer, "--initial-cluster", cluster, "--initial-cluster-state", "existing").start()
	eventually(t, "it has its vote", func(context.Context) error {
		text, code := c.upkeep("promote", "second")
		if code != 0 {
			return errors.New(text)
		}
		return nil
	})
	c.healthy(2)
	more(writesPerSecond / 4)
	c.holdsAll(end(), to)
}

// Two of three members are lost with their disks: the third goes on with what
// it has, and becomes three again.
func TestTheLastMemberGoesOnAlone(t *testing.T) {
	c := emptyCluster(t)
	c.startEtcd(3)
	c.addPlane().start()
	c.complete(1)
	to := newUpstream(t, "up")
	more, end := c.writes(to.url)
	more(writesPerSecond / 4)
	acked := end()
	c.healthy(3) // whoever was last to hear of a write has heard of it
	for _, name := range []string{"etcd1", "etcd2"} {
		c.part(name).kill()
	}
	last := c.part("etcd0")
	if code := last.stop(syscall.SIGTERM); code != 0 {
		t.Errorf("etcd exits with %d", code)
	}
	last.args = append(last.args, "--force-new-cluster")
	last.start()
	c.healthy(1)
	last.kill() // and then as ever
	last.args = last.args[:len(last.args)-1]
	last.start()
	c.healthy(1)
	c.converge("alone", to)
	for _, name := range []string{"etcd1", "etcd2"} {
		lost := c.part(name)
		told := c.mends("add", name, lost.argument("--listen-peer"))
		_, rest, _ := strings.Cut(told, "--initial-cluster ")
		cluster, _, _ := strings.Cut(rest, " ")
		if err := os.RemoveAll(lost.argument("--data-dir")); err != nil {
			t.Fatal(err)
		}
		lost.args = append(lost.args, "--initial-cluster", cluster, "--initial-cluster-state", "existing")
		lost.start()
		if strings.Contains(told, "promote") {
			eventually(t, "it has its vote", func(context.Context) error {
				text, code := c.upkeep("promote", name)
				if code != 0 {
					return errors.New(text)
				}
				return nil
			})
		}
	}
	c.healthy(3)
	c.converge("again", to)
	c.holdsAll(acked, to)
}

// healthy waits until etcd says that it has so many members, all well.
func (c *cluster) healthy(members int) {
	c.t.Helper()
	eventually(c.t, "all members are well", func(context.Context) error {
		text, code := c.upkeep("status")
		if code != 0 || strings.Count(text, "\n") != members+1 {
			return errors.New(text)
		}
		return nil
	})
}
