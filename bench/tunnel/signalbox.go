package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/metadata"

	"signalbox/bench/program"
	signalboxv1 "signalbox/proto/gen/signalbox/v1"
)

// key is the admin key of the run, with which nodes join too.
const key = "a-key-for-one-benchmark-run"

// ours are the ways through nodes. Parameters are those of the server's URL,
// and its wire is the client's too; no parameters are a single end.
var ours = []struct{ name, group, wire, parameters string }{
	{"single end", one, "", ""},
	{"wire=1.4", chain, "1.4", "&tls=0"},
	{"wire=1.14", chain, "1.14", "&tls=0"},
	{"wire=signalbox", sealed, "signalbox", ""},
	{"wire=1.14, tls=1", sealed, "1.14", "&tls=1"},
}

// A cluster is a control plane with its own etcd, and nodes that are processes
// of their own.
type cluster struct {
	lab  *lab
	bin  string
	addr string // of the control plane
	api  signalboxv1.InstanceServiceClient
}

// startCluster starts the control plane, on the load's core.
func (l *lab) startCluster(ctx context.Context) (*cluster, error) {
	bin, err := filepath.Abs(l.o.signalbox)
	if err != nil {
		return nil, err
	}
	if _, err := os.Stat(bin); err != nil {
		return nil, fmt.Errorf("there is no program to measure; run `make build`: %w", err)
	}
	c := &cluster{lab: l, bin: bin}
	if c.addr, err = program.FreeAddr(ctx); err != nil {
		return nil, err
	}
	p, err := program.Start(ctx, "controlplane", l.dir, []string{"SIGNALBOX_ADMIN_KEY=" + key},
		append(program.Pin(l.o.loadCPU), bin, "controlplane", "--data-dir", filepath.Join(l.dir, "store"), "--grpc-listen", c.addr, "--api-listen", "off")...)
	if err != nil {
		return nil, err
	}
	l.closes = append(l.closes, func() error { p.Close(); return nil })
	conn, err := grpc.NewClient(c.addr, grpc.WithTransportCredentials(insecure.NewCredentials()))
	if err != nil {
		return nil, err
	}
	l.closes = append(l.closes, conn.Close)
	c.api = signalboxv1.NewInstanceServiceClient(conn)
	return c, p.Serves(ctx, func(ctx context.Context) error {
		_, err := c.api.ListInstances(withKey(ctx), &signalboxv1.ListInstancesRequest{}, grpc.WaitForReady(true))
		return err
	})
}

// withKey adds the admin key to all calls.
func withKey(ctx context.Context) context.Context {
	return metadata.AppendToOutgoingContext(ctx, "authorization", "Bearer "+key)
}

// A pair is two nodes: at the first users come in, from the second they reach
// the target.
type pair struct {
	names     [2]string
	processes []*program.Program
}

// startPair starts two nodes with names of their own.
func (c *cluster) startPair(ctx context.Context) (p pair, err error) {
	for i, end := range []string{"entry", "exit"} {
		c.lab.programs++
		p.names[i] = fmt.Sprintf("%s-%d", end, c.lab.programs)
		started, err := c.lab.run(ctx, p.names[i], []string{"SIGNALBOX_KEY=" + key, "GOMAXPROCS=1"},
			c.bin, "node", "--controlplane", c.addr, "--id", p.names[i], "--listen", "127.0.0.1:0", "--drain-timeout", "1s")
		if err != nil {
			return p, err
		}
		p.processes = append(p.processes, started)
	}
	return p, nil
}

// write writes the instances of one of ours onto a pair, for a way.
func (c *cluster) write(ctx context.Context, p pair, w *way, wire, parameters string) error {
	w.udp, w.ours, w.processes = true, true, p.processes
	if w.group == one {
		w.processes = p.processes[:1]
		return c.put(ctx, p.names[0], fmt.Sprintf("client://%s/%s?mode=1&log=none", w.addr, w.target))
	}
	between, err := program.FreeAddr(ctx)
	if err != nil {
		return err
	}
	return errors.Join(
		c.put(ctx, p.names[0], fmt.Sprintf("server://secret@%s/%s?mode=1&log=none&wire=%s%s", between, w.addr, wire, parameters)),
		c.put(ctx, p.names[1], fmt.Sprintf("client://secret@%s/%s?mode=2&log=none&wire=%s", between, w.target, wire)),
	)
}

// put writes one instance for one node.
func (c *cluster) put(ctx context.Context, node, url string) error {
	ctx, cancel := context.WithTimeout(withKey(ctx), program.Patience)
	defer cancel()
	_, err := c.api.PutInstance(ctx, &signalboxv1.PutInstanceRequest{Instance: &signalboxv1.Instance{
		Url: url, Placement: &signalboxv1.Placement{Nodes: []string{node}},
	}})
	return err
}

// standing says how all instances stand that do not run, to explain why
// something is not served.
func (c *cluster) standing(ctx context.Context) string {
	ctx, cancel := context.WithTimeout(withKey(context.WithoutCancel(ctx)), time.Second)
	defer cancel()
	all, err := c.api.ListInstances(ctx, &signalboxv1.ListInstancesRequest{})
	if err != nil {
		return err.Error()
	}
	text := ""
	for _, i := range all.GetInstances() {
		if s := i.GetObserved(); s.GetState() != signalboxv1.InstanceState_INSTANCE_STATE_RUNNING {
			text += fmt.Sprintf("; %s: %s %s", i.GetUrl(), s.GetState(), s.GetReason())
		}
	}
	return text
}
