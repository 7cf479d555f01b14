package e2e

import (
	"bytes"
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"

	"signalbox/controlplane"
	"signalbox/gateway"
	"signalbox/node"
	signalboxv1 "signalbox/proto/gen/signalbox/v1"
	"signalbox/store/mem"
)

// A system is control planes, gateways and nodes in this process, over a store
// in memory, on real sockets.
type system struct {
	t      *testing.T
	keeper *mem.Keeper
	log    *journal
	client *http.Client
	// admin is the key "bootstrap", nodeKey the key all nodes join with.
	admin, nodeKey string
	planes         []*plane
	nodes          []*member
	// hidden control planes tell nobody their addresses, so that nodes reach
	// them only where they were told.
	hidden bool
}

// A plane is one control plane with its gateway. It can be stopped and started
// again at the same addresses.
type plane struct {
	system    *system
	id        string
	grpc, api string
	rest      *caller
	stop      func() // nil while it is stopped
}

// A member is one node of a system. It can be stopped and started again.
type member struct {
	system        *system
	config        node.Config
	id            string
	public, admin string
	stop          func() // nil while it is stopped
}

// newSystem starts control planes, and nodes that know all of them. All are
// ready when it returns.
func newSystem(t *testing.T, planes, nodes int) *system {
	t.Helper()
	s := emptySystem(t)
	for range planes {
		s.addPlane().start()
	}
	for range nodes {
		s.addNode(node.Config{}).start()
	}
	for _, n := range s.nodes {
		s.awaitReady(n)
	}
	s.awaitLive()
	return s
}

// awaitLive waits until every control plane knows that every node that runs is
// live: writes wait for those that are known to be.
func (s *system) awaitLive() {
	s.t.Helper()
	for i, p := range s.planes {
		if p.stop == nil {
			continue
		}
		api := s.services(i).nodes
		for _, n := range s.nodes {
			if n.stop == nil {
				continue
			}
			eventually(s.t, p.id+" knows that "+n.id+" is live", func(ctx context.Context) error {
				known, err := api.GetNode(ctx, &signalboxv1.GetNodeRequest{Name: n.id})
				if state := known.GetNode().GetObserved().GetState(); err == nil && state != signalboxv1.NodeState_NODE_STATE_LIVE {
					err = errors.New(state.String())
				}
				return err
			})
		}
	}
}

// emptySystem is a system without parts.
func emptySystem(t *testing.T) *system {
	s := &system{t: t, keeper: mem.New(), log: &journal{}, client: newHTTP(t), admin: rand.Text(), nodeKey: rand.Text()}
	t.Cleanup(s.searchLog)
	return s
}

func (s *system) addPlane() *plane {
	p := &plane{system: s, id: fmt.Sprintf("cp%d", len(s.planes)), grpc: freeAddr(s.t), api: freeAddr(s.t)}
	p.rest = &caller{t: s.t, base: "http://" + p.api, key: s.admin, client: s.client}
	s.planes = append(s.planes, p)
	s.t.Cleanup(p.end)
	return p
}

// addNode adds a node that is not started; what c leaves out is filled in.
func (s *system) addNode(c node.Config) *member {
	n := &member{system: s, config: c, public: freeAddr(s.t), admin: freeAddr(s.t)}
	if n.config.ID == "" {
		n.config.ID = fmt.Sprintf("node%d", len(s.nodes))
	}
	n.id = n.config.ID
	if n.config.Key == "" {
		n.config.Key = s.nodeKey
	}
	if n.config.ControlPlanes == nil {
		for _, p := range s.planes {
			n.config.ControlPlanes = append(n.config.ControlPlanes, p.grpc)
		}
	}
	n.config.Listeners = map[string]node.Listener{"public": {Addr: n.public}}
	n.config.AdminAddr, n.config.DrainTimeout, n.config.Log = n.admin, time.Second, s.log.logger()
	s.nodes = append(s.nodes, n)
	s.t.Cleanup(n.end)
	return n
}

// running runs a part until it is stopped, and waits for its end.
func (s *system) running(name string, run func(context.Context) error) (stop func()) {
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- run(ctx) }()
	return func() {
		cancel()
		if err := <-ended; err != nil {
			s.t.Errorf("%s ended with %v", name, err)
		}
	}
}

func (p *plane) start() {
	s := p.system
	s.t.Helper()
	ln, err := net.Listen("tcp", p.grpc)
	if err != nil {
		s.t.Fatal(err)
	}
	front, err := net.Listen("tcp", p.api)
	if err != nil {
		s.t.Fatal(err)
	}
	conn, err := grpc.NewClient(p.grpc, grpc.WithTransportCredentials(insecure.NewCredentials()))
	if err != nil {
		s.t.Fatal(err)
	}
	gw, err := gateway.New(conn, gateway.Config{Log: s.log.logger(), WaitTimeout: patience, Heartbeat: 100 * time.Millisecond})
	if err != nil {
		s.t.Fatal(err)
	}
	ready, keeper, told := make(chan string, 1), s.keeper.Another(), p.grpc
	if s.hidden {
		told = ""
	}
	cp := controlplane.New(controlplane.Config{
		ID: p.id, Address: told, Records: keeper, Notes: keeper, AdminKey: s.admin, NodeKey: s.nodeKey,
		LeaseTTL: time.Second, ReportInterval: 20 * time.Millisecond, Log: s.log.logger(),
		Ready: func(made string) { ready <- made },
	})
	server := gw.Server(nil)
	var serving sync.WaitGroup
	serving.Go(func() { _ = server.Serve(front) })
	stop := s.running(p.id, func(ctx context.Context) error {
		return cp.Run(ctx, controlplane.Endpoint{Listener: ln})
	})
	p.stop = func() {
		gw.Close()
		_ = server.Close()
		serving.Wait()
		_ = conn.Close()
		stop()
		p.stop = nil
	}
	select {
	case <-ready:
	case <-time.After(patience):
		s.t.Fatalf("%s does not become ready", p.id)
	}
}

func (p *plane) end() {
	if p.stop != nil {
		p.stop()
	}
}

func (n *member) start() {
	s := n.system
	s.t.Helper()
	running, err := node.New(n.config)
	if err == nil {
		err = running.Listen(s.t.Context())
	}
	if err != nil {
		s.t.Fatal(err)
	}
	stop := s.running(n.id, running.Run)
	n.stop = func() {
		stop()
		n.stop = nil
	}
}

func (n *member) end() {
	if n.stop != nil {
		n.stop()
	}
}

// services are the gRPC API of a control plane, with the admin key.
func (s *system) services(plane int) *services {
	return dialGRPC(s.t, s.planes[plane].grpc, s.admin, nil)
}

// awaitReady waits until a node calls itself ready.
func (s *system) awaitReady(n *member) {
	s.t.Helper()
	eventually(s.t, n.id+" becomes ready", func(ctx context.Context) error {
		a, err := send(ctx, s.client, "GET", "http://"+n.admin+"/readyz", "")
		if err == nil && a.status != http.StatusOK {
			err = fmt.Errorf("%d %s", a.status, a.body)
		}
		return err
	})
}

// get asks a node for a path.
func (s *system) get(n *member, path string) answer {
	s.t.Helper()
	a, err := send(s.t.Context(), s.client, "GET", "http://"+n.public+path, "")
	if err != nil {
		s.t.Fatalf("GET %s through %s: %v", path, n.id, err)
	}
	return a
}

// served fails unless every node that runs serves a path from an upstream.
func (s *system) served(path string, from *upstream) {
	s.t.Helper()
	for _, n := range s.nodes {
		if n.stop == nil {
			continue
		}
		if a := s.get(n, path); a.body != from.name+" took 0\n" {
			s.t.Errorf("%s through %s: got %d %q, want it from %s", path, n.id, a.status, a.body, from.name)
		}
	}
}

// A journal is what all parts of a system log.
type journal struct {
	mu   sync.Mutex
	text bytes.Buffer
}

func (j *journal) logger() *slog.Logger {
	return slog.New(slog.NewTextHandler(j, &slog.HandlerOptions{Level: slog.LevelDebug}))
}

func (j *journal) Write(p []byte) (int, error) {
	j.mu.Lock()
	defer j.mu.Unlock()
	return j.text.Write(p)
}

func (j *journal) lines() []string {
	j.mu.Lock()
	defer j.mu.Unlock()
	return strings.Split(j.text.String(), "\n")
}

// searchLog looks for secrets in what was logged, and shows its end if the
// test failed.
func (s *system) searchLog() {
	all := s.log.lines()
	for _, line := range all {
		if strings.Contains(line, s.admin) || strings.Contains(line, s.nodeKey) {
			s.t.Errorf("a secret is in the log: %s", line)
		}
	}
	if s.t.Failed() {
		s.t.Logf("---- the end of the log\n%s", strings.Join(all[max(0, len(all)-100):], "\n"))
	}
}
