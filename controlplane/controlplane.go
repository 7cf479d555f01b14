// Package controlplane is one control plane replica: it follows the store,
// serves the gRPC API, feeds nodes and gathers what they report. Any number of
// replicas work on one store, and none needs another to be there.
package controlplane

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"sync/atomic"
	"time"

	"golang.org/x/sync/errgroup"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/health"
	healthv1 "google.golang.org/grpc/health/grpc_health_v1"

	"signalbox/controlplane/api"
	"signalbox/controlplane/assign"
	"signalbox/controlplane/auth"
	"signalbox/controlplane/logs"
	"signalbox/controlplane/observe"
	"signalbox/controlplane/presence"
	"signalbox/controlplane/replica"
	"signalbox/controlplane/tally"
	signalboxv1 "signalbox/proto/gen/signalbox/v1"
	"signalbox/store"
)

// Config is what a replica is made of.
type Config struct {
	// ID names the replica; no two may have the same.
	ID string
	// Address is where nodes reach its gRPC listener from elsewhere,
	// "host:port". Empty: only nodes that were told of it find it.
	Address string
	// Version of the software.
	Version string

	// Records and Notes are the store.
	Records store.Records
	Notes   store.Notes
	// Backups copies the store. Nil: it cannot be copied.
	Backups store.Backups

	// AdminKey is the secret of the key "bootstrap". Empty: one is made where
	// there is no admin key, and handed to Ready.
	AdminKey string
	// CHPToken is the secret of the key "chp", which may read and write
	// routes. Empty: no such key is written. The same as AdminKey: there is no
	// such key.
	CHPToken string
	// NodeKey is the secret of the key "node", with which nodes of this
	// installation may join. Empty: no such key is written.
	NodeKey string

	// Certifier makes nodes' certificates, and lets nodes connect with nothing
	// else. Nil: they connect with API keys.
	Certifier *api.Certifier
	// NeedCertificate refuses callers over TLS who show no certificate, but for
	// health and a node's first; see [auth.Certificates]. Endpoints' credentials
	// say whose are taken, and must let in who has none.
	NeedCertificate bool

	// LeaseTTL is how long a silent replica counts as present. Default 5 s.
	LeaseTTL time.Duration
	// ReportInterval is how often nodes report. Default 1 s.
	ReportInterval time.Duration

	// Ready is called once, when calls are answered, with the secret of the
	// admin key if this process has just made one. May be nil.
	Ready func(adminKey string)

	Log *slog.Logger
}

// An Endpoint is a listener for the gRPC API. Without credentials it is for
// callers inside this process, or behind what protects it otherwise.
type Endpoint struct {
	Listener    net.Listener
	Credentials credentials.TransportCredentials
}

// ControlPlane is one replica. It does nothing until Run.
type ControlPlane struct {
	config  Config
	replica *replica.Replica
	nodes   *observe.Nodes
	runs    *observe.Instances
	logs    *logs.Hub
	stand   *presence.Presence
	tally   *tally.Book
	keys    *auth.Keys
	metrics metrics
	begun   atomic.Bool // the first keys are made
}

// New returns a replica.
func New(c Config) *ControlPlane {
	m := newMetrics()
	c.Records, c.Notes = meteredRecords{c.Records, m.store}, meteredNotes{c.Notes, m.store}
	cp := &ControlPlane{
		config: c, metrics: m, replica: replica.New(c.Records, c.Log), nodes: observe.NewNodes(), runs: observe.NewInstances(), logs: logs.New(),
	}
	cp.tally = tally.New(tally.Config{Exists: cp.exists, Running: cp.nodes.Live, ID: c.ID, Feeder: cp.nodes.Feeder, Log: c.Log})
	cp.stand = presence.New(presence.Config{ID: c.ID, Address: c.Address, Version: c.Version, TTL: c.LeaseTTL}, c.Notes, c.Log, present{cp.nodes, cp.runs})
	certs := auth.Certificates{Needed: c.NeedCertificate}
	if c.Certifier != nil {
		certs.Nodes = c.Certifier.Authority
	}
	cp.keys = auth.New(cp.replica, certs)
	return cp
}

// Run serves the endpoints until ctx ends, or something that it cannot do
// without fails. When it returns, everything it started has stopped, and the
// endpoints are closed.
func (cp *ControlPlane) Run(ctx context.Context, endpoints ...Endpoint) error {
	// The parts live until the API has stopped: calls that end take them.
	parts, stopParts := context.WithCancel(context.WithoutCancel(ctx))
	defer stopParts()
	g, gctx := errgroup.WithContext(parts)

	// 1. what is kept, and who is there
	g.Go(func() error { return cp.replica.Run(gctx) })
	g.Go(func() error { return cp.stand.Run(gctx) })
	g.Go(func() error { return cp.tally.Run(gctx, cp.config.Notes, cp.lead) })
	g.Go(func() error { return cp.keys.Run(gctx) })
	g.Go(func() error { return cp.forget(gctx) })
	g.Go(func() error {
		a := assign.New(assign.Config{Store: cp.config.Records, Replica: cp.replica, Nodes: cp.nodes, Runs: cp.runs, Log: cp.config.Log})
		return a.Run(gctx, cp.lead)
	})

	// 2. who may do what
	serving, stopServing := context.WithCancelCause(ctx)
	defer stopServing(nil)
	defer context.AfterFunc(gctx, func() { stopServing(context.Cause(gctx)) })()
	err := cp.serve(serving, endpoints)

	// 3. and the way back
	stopParts()
	if perr := g.Wait(); !errors.Is(perr, context.Canceled) {
		err = errors.Join(err, perr)
	}
	return err
}

// serve answers calls until ctx ends. Until the first keys are made, which may
// take as long as the store is away, it refuses all of them but those for its
// health.
func (cp *ControlPlane) serve(ctx context.Context, endpoints []Endpoint) error {
	g, gctx := errgroup.WithContext(ctx)
	condition := health.NewServer()
	condition.SetServingStatus("", healthv1.HealthCheckResponse_NOT_SERVING)
	for _, e := range endpoints {
		server := cp.server(gctx, e.Credentials, condition)
		g.Go(func() error {
			// It may have been told to stop before it began.
			if err := server.Serve(e.Listener); err != nil && !errors.Is(err, grpc.ErrServerStopped) {
				return fmt.Errorf("serve the gRPC API: %w", err)
			}
			return nil
		})
		g.Go(func() error {
			<-gctx.Done()
			stop(server)
			return nil
		})
		cp.config.Log.Info("gRPC API listening", "addr", e.Listener.Addr().String(), "tls", e.Credentials != nil)
	}
	g.Go(func() error {
		defer condition.Shutdown()
		return cp.begin(gctx, condition)
	})
	return g.Wait()
}

// begin makes the first keys, lets calls in and tells of this replica's health
// until ctx ends.
func (cp *ControlPlane) begin(ctx context.Context, condition *health.Server) error {
	made, err := cp.bootstrap(ctx)
	if err != nil {
		if ctx.Err() != nil {
			err = nil // it was told to stop while it started
		}
		return err
	}
	cp.begun.Store(true)
	if cp.config.Ready != nil {
		cp.config.Ready(made)
	}
	cp.tellHealth(ctx, condition)
	return nil
}

// bootstrap writes the keys that this process was given, and the first.
func (cp *ControlPlane) bootstrap(ctx context.Context) (made string, err error) {
	c := &cp.config
	ring := auth.Keyring{Views: cp.replica, Store: c.Records, Log: c.Log}
	// The admin key does for CHP calls, too; an older token must not.
	if c.CHPToken != "" && c.CHPToken == c.AdminKey {
		if err = ring.Remove(ctx, auth.CHPName); err != nil {
			return "", err
		}
	}
	if made, err = ring.Bootstrap(ctx, c.AdminKey); err != nil {
		return "", err
	}
	if c.CHPToken != "" && c.CHPToken != c.AdminKey {
		err = ring.Put(ctx, c.CHPToken, auth.CHPName, "routes:read", "routes:write")
	}
	if c.NodeKey != "" && err == nil {
		err = ring.Put(ctx, c.NodeKey, nodeKeyName, "node")
	}
	return made, err
}

// present is who is there, with the instances that they run.
type present struct {
	*observe.Nodes
	runs *observe.Instances
}

// Leased implements [presence.Nodes].
func (p present) Leased(node string, lease *signalboxv1.NodeLease) {
	p.Nodes.Leased(node, lease)
	if lease != nil {
		p.runs.Leased(node, lease)
	}
}

// Told implements [presence.Nodes].
func (p present) Told(lease *signalboxv1.NodeLease, node string) {
	p.Nodes.Told(lease, node)
	if lease.GetServing() != nil {
		p.runs.Told(lease, node)
	}
}

// given names the keys that bootstrap writes with secrets this process was given.
func (cp *ControlPlane) given() []string {
	var names []string
	for name, secret := range map[string]string{
		auth.BootstrapName: cp.config.AdminKey, auth.CHPName: cp.config.CHPToken, nodeKeyName: cp.config.NodeKey,
	} {
		if secret != "" {
			names = append(names, name)
		}
	}
	return names
}

// nodeKeyName is the name of the key with which nodes of this installation join.
const nodeKeyName = "node"

// stopGrace is how long running calls may take to end.
const stopGrace = 3 * time.Second

// stop lets running calls end, and cuts those that do not.
func stop(server *grpc.Server) {
	cut := time.AfterFunc(stopGrace, server.Stop)
	defer cut.Stop()
	server.GracefulStop()
}
