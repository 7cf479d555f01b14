// Package api is the gRPC services by which operators are served: it checks
// what they ask for, keeps it in one transaction, waits for nodes where that
// was asked, and answers. Who may call is not its business but auth's.
//
// A write is planned on the view that the replica has, and committed under
// the condition that what was planned on still holds; so most cost one round
// trip to the store. Where it does not hold, and before anything is refused
// because of what a view says, the plan is made anew on a current view. A
// write is answered once it is durable, whether or not this replica has read
// it back; only those of API keys are waited for, since keys are looked up in
// whatever view there is. Reads are answered from a current view alone.
package api

import (
	"context"
	"log/slog"
	"time"

	"google.golang.org/grpc"

	"signalbox/controlplane/logs"
	"signalbox/controlplane/observe"
	"signalbox/controlplane/replica"
	"signalbox/controlplane/tally"
	signalboxv1 "signalbox/proto/gen/signalbox/v1"
	"signalbox/store"
)

// Committer writes records.
type Committer interface {
	Commit(ctx context.Context, txn store.Txn) (store.Revision, error)
}

// Totals knows what routes and instances carried.
type Totals interface {
	// Totals returns what nodes report of a route since it was created, at a
	// revision.
	Totals(route string, created int64) tally.Totals
	// InstanceTotals returns what they report of one incarnation of an
	// instance: its created revision plus its resets.
	InstanceTotals(name string, incarnation int64) tally.Totals
}

// Config is what the services are made of.
type Config struct {
	// Store takes the writes; Replica, which must be running, follows it.
	Store   Committer
	Replica *replica.Replica
	// Backups copies the store. Nil: it cannot be copied.
	Backups store.Backups
	// Nodes is who is there. Nil: nobody ever is.
	Nodes *observe.Nodes
	// Instances is how instances stand on nodes. Nil: none ever runs.
	Instances *observe.Instances
	// Logs is what instances say. Nil: they never say anything.
	Logs *logs.Hub
	// Totals is what routes and instances carried. Nil: nothing.
	Totals Totals
	// Given names the API keys whose secrets this process was started with, and
	// would write again.
	Given []string
	// Certifier signs nodes' certificates. Nil: they get none here.
	Certifier *Certifier
	Log       *slog.Logger
	// StoreTimeout bounds how long a call waits for the store. Default 4 s: with
	// the way there and back, whoever calls has an answer within 5.
	StoreTimeout time.Duration
	// Heartbeat is how often a stream of events says that it is alive.
	// Default 15 s.
	Heartbeat time.Duration
}

// core is what all services share.
type core struct{ Config }

// Register makes the services of c and registers them: routes, listeners,
// nodes, their certificates, tunnel instances, API keys, events and backups.
func Register(r grpc.ServiceRegistrar, c Config) {
	if c.StoreTimeout == 0 {
		c.StoreTimeout = 4 * time.Second
	}
	if c.Heartbeat == 0 {
		c.Heartbeat = 15 * time.Second
	}
	if c.Nodes == nil {
		c.Nodes = observe.NewNodes()
	}
	if c.Instances == nil {
		c.Instances = observe.NewInstances()
	}
	if c.Logs == nil {
		c.Logs = logs.New()
	}
	shared := &core{c}
	signalboxv1.RegisterRouteServiceServer(r, &routes{core: shared})
	signalboxv1.RegisterListenerServiceServer(r, &listeners{core: shared})
	signalboxv1.RegisterNodeServiceServer(r, &nodes{core: shared})
	signalboxv1.RegisterCertificateServiceServer(r, &certificates{core: shared})
	signalboxv1.RegisterInstanceServiceServer(r, &instances{core: shared})
	signalboxv1.RegisterApiKeyServiceServer(r, &apiKeys{core: shared})
	signalboxv1.RegisterEventServiceServer(r, &events{core: shared})
	signalboxv1.RegisterBackupServiceServer(r, &backups{core: shared})
}
