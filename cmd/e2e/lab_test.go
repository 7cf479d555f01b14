//go:build e2e

package e2e

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"math/big"
	"net/http"
	"path/filepath"
	"strings"
	"testing"

	signalboxv1 "signalbox/proto/gen/signalbox/v1"
)

// A cluster is an etcd, control planes and nodes, each a process.
type cluster struct {
	*lab
	client *http.Client
	store  []string // client URLs of etcd; none when the only control plane has one inside
	planes []*planeProcess
	nodes  []*nodeProcess
	// admin is the key "bootstrap"; node the key all nodes join with; chp the
	// token of the CHP API.
	admin, node, chp string
}

// A planeProcess is one control plane with its gateway.
type planeProcess struct {
	*process
	id        string
	grpc, api string // addresses
	told      string // address that nodes are told, grpc unless a wire leads there
	rest      *caller
}

// A nodeProcess is one node.
type nodeProcess struct {
	*process
	id            string
	public, admin string // addresses
	state         string // directory, empty for none
}

// newCluster starts control planes, on an etcd of their own if there are
// several, and nodes that know all of them. All are ready when it returns.
func newCluster(t testing.TB, planes, nodes int) *cluster {
	t.Helper()
	c := emptyCluster(t)
	if planes > 1 {
		c.startEtcd(1)
	}
	for range planes {
		c.addPlane().start()
	}
	c.complete(nodes)
	return c
}

// emptyCluster is a cluster without parts.
func emptyCluster(t testing.TB) *cluster {
	t.Helper()
	c := &cluster{lab: newLab(t), client: newHTTP(t)}
	c.admin, c.chp = c.secret("the admin key", rand.Text()), c.secret("the CHP token", rand.Text())
	return c
}

// complete adds nodes to control planes that were started. All are ready when
// it returns.
func (c *cluster) complete(nodes int) {
	c.t.Helper()
	for _, p := range c.planes {
		c.awaitPlane(p)
	}
	key := c.createKey(&signalboxv1.ApiKey{Name: "nodes", Scopes: []string{"node"}})
	c.node = c.secret("the nodes' key", key)
	for range nodes {
		c.addNode(true).start()
	}
	for _, n := range c.nodes {
		c.awaitNode(n)
	}
	c.awaitLive()
}

// awaitLive waits until every control plane that runs knows that every node
// that runs is live: writes wait for those that are known to be.
func (c *cluster) awaitLive() {
	c.t.Helper()
	for i, p := range c.planes {
		if !p.running() {
			continue
		}
		api := c.services(i).nodes
		for _, n := range c.nodes {
			if !n.running() {
				continue
			}
			eventually(c.t, p.id+" knows that "+n.id+" is live", func(ctx context.Context) error {
				known, err := api.GetNode(ctx, &signalboxv1.GetNodeRequest{Name: n.id})
				if state := known.GetNode().GetObserved().GetState(); err == nil && state != signalboxv1.NodeState_NODE_STATE_LIVE {
					err = errors.New(state.String())
				}
				return err
			})
		}
	}
}

// createKey makes an API key and returns its secret.
func (c *cluster) createKey(key *signalboxv1.ApiKey) string {
	c.t.Helper()
	res, err := c.services(0).keys.CreateApiKey(c.t.Context(), &signalboxv1.CreateApiKeyRequest{Key: key})
	if err != nil {
		c.t.Fatal(err)
	}
	return c.secret("the key "+key.GetName(), res.GetSecret())
}

// startEtcd starts an etcd: "etcd" if it has one member, "etcd0" and so on if it
// has several. Each is given args, too.
func (c *cluster) startEtcd(members int, args ...string) {
	c.t.Helper()
	var names, peers, all []string
	for i := range members {
		names = append(names, fmt.Sprintf("etcd%d", i))
		if members == 1 {
			names[i] = "etcd"
		}
		c.store = append(c.store, "http://"+freeAddr(c.t))
		peers = append(peers, "http://"+freeAddr(c.t))
		all = append(all, names[i]+"="+peers[i])
	}
	for i, name := range names {
		c.process(name, nil, append([]string{"etcd", "--name", name, "--data-dir", filepath.Join(c.dir, name),
			"--listen-client", c.store[i], "--listen-peer", peers[i], "--initial-cluster", strings.Join(all, ",")}, args...)...).start()
	}
}

// addPlane adds a control plane that is not started.
func (c *cluster) addPlane(args ...string) *planeProcess {
	p := &planeProcess{id: fmt.Sprintf("cp%d", len(c.planes)), grpc: freeAddr(c.t), api: freeAddr(c.t)}
	p.told = p.grpc
	store := []string{"--etcd", strings.Join(c.store, ",")}
	if c.store == nil {
		store = []string{"--data-dir", filepath.Join(c.dir, "store")}
	}
	p.process = c.process(p.id, []string{"SIGNALBOX_ADMIN_KEY=" + c.admin, "SIGNALBOX_CHP_TOKEN=" + c.chp},
		append(append([]string{"controlplane", "--controlplane-id", p.id, "--grpc-listen", p.grpc, "--api-listen", p.api, "--chp-wait", patience.String()}, store...), args...)...)
	p.rest = &caller{t: c.t, base: "http://" + p.api, key: c.admin, client: c.client}
	c.planes = append(c.planes, p)
	return p
}

// addNode adds a node that is not started, with a directory for its
// last-known-good file or without.
func (c *cluster) addNode(keeps bool, args ...string) *nodeProcess {
	n := &nodeProcess{id: fmt.Sprintf("node%d", len(c.nodes)), public: freeAddr(c.t), admin: freeAddr(c.t)}
	if keeps {
		n.state = filepath.Join(c.dir, n.id)
		args = append(args, "--state-dir", n.state)
	}
	var planes []string
	for _, p := range c.planes {
		planes = append(planes, p.told)
	}
	n.process = c.process(n.id, []string{"SIGNALBOX_KEY=" + c.node},
		append([]string{"node", "--id", n.id, "--listen", n.public, "--admin-listen", n.admin,
			"--controlplane", strings.Join(planes, ","), "--drain-timeout", "5s"}, args...)...)
	c.nodes = append(c.nodes, n)
	return n
}

func (c *cluster) awaitPlane(p *planeProcess) {
	c.t.Helper()
	c.await(p.process, "http://"+p.api+"/readyz")
}

func (c *cluster) awaitNode(n *nodeProcess) {
	c.t.Helper()
	c.await(n.process, "http://"+n.admin+"/readyz")
}

// await waits until a process answers a readiness check.
func (c *cluster) await(p *process, url string) {
	c.t.Helper()
	eventually(c.t, p.name+" becomes ready", func(ctx context.Context) error {
		if !p.running() {
			c.t.Fatalf("%s has ended", p.name)
		}
		a, err := send(ctx, c.client, "GET", url, "")
		if err == nil && a.status != http.StatusOK {
			err = fmt.Errorf("%d %s", a.status, a.body)
		}
		return err
	})
}

// services are the gRPC API of a control plane, with the admin key.
func (c *cluster) services(plane int) *services {
	return dialGRPC(c.t, c.planes[plane].grpc, c.admin, nil)
}

// get asks a node for a path.
func (c *cluster) get(ctx context.Context, n *nodeProcess, path string) (answer, error) {
	return send(ctx, c.client, "GET", "http://"+n.public+path, "")
}

// anyNode is a node taken at random.
func (c *cluster) anyNode() *nodeProcess {
	i, err := rand.Int(rand.Reader, big.NewInt(int64(len(c.nodes))))
	if err != nil {
		c.t.Fatal(err)
	}
	return c.nodes[i.Int64()]
}

// served fails unless every node serves a path from an upstream.
func (c *cluster) served(path string, from *upstream) {
	c.t.Helper()
	for _, n := range c.nodes {
		a, err := c.get(c.t.Context(), n, path)
		if err != nil || a.body != from.name+" took 0\n" {
			c.t.Errorf("%s through %s: got %d %q %v, want it from %s", path, n.id, a.status, a.body, err, from.name)
		}
	}
}

// cli runs the operator's client against a control plane, and returns what it
// printed and its exit code.
func (c *cluster) cli(plane int, args ...string) (string, int) {
	c.t.Helper()
	return c.run([]string{"SIGNALBOX_KEY=" + c.admin}, append(args, "--controlplane", c.planes[plane].grpc)...)
}

// run runs a command to its end, and returns what it printed and its exit
// code.
func (l *lab) run(env []string, args ...string) (string, int) {
	l.t.Helper()
	p := l.process(fmt.Sprintf("cli%d", len(l.all)), env, args...)
	p.start()
	select {
	case <-p.ended:
	case <-l.t.Context().Done():
	}
	return string(tail(p.out, 10_000)) + string(tail(p.log, 10_000)), p.cmd.ProcessState.ExitCode()
}

// does is run of a command that must succeed.
func (l *lab) does(env []string, args ...string) string {
	l.t.Helper()
	text, code := l.run(env, args...)
	if code != 0 {
		l.t.Fatalf("signalbox %v: exit code %d\n%s", args, code, text)
	}
	return text
}
