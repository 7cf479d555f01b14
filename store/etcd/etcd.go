// Package etcd keeps Signalbox's records in etcd (3.5.8 or newer, with its
// default limits or higher ones).
//
// Records are protobuf under /signalbox/v1/<kind>/<name>; layout.go has the
// whole map. Every transaction of records also writes the head, a key whose
// revision therefore is that of the newest change: leases and checkpoints
// raise etcd's revision too, but nobody's version. Records that somebody
// writes with etcdctl are followed, but do not move the head.
package etcd

import (
	"cmp"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"time"

	pb "go.etcd.io/etcd/api/v3/etcdserverpb"
	clientv3 "go.etcd.io/etcd/client/v3"
	"go.uber.org/zap"
	"google.golang.org/grpc"
	"google.golang.org/grpc/backoff"

	"signalbox/proto/probe"
	"signalbox/store"
)

const (
	// callTimeout bounds a call whose caller has set no earlier deadline;
	// etcd itself gives up a request after about seven seconds.
	callTimeout = 10 * time.Second
	// attemptTimeout bounds the first attempt at a read; each later one has
	// half as much time again. So a member that hangs is passed over for the
	// next. Writes cannot be tried twice.
	attemptTimeout = time.Second
	// withdrawTimeout bounds what remains to be done when a caller has gone.
	withdrawTimeout = 3 * time.Second

	// A silent connection is probed after keepAliveTime (gRPC takes no less)
	// and closed keepAliveTimeout later.
	keepAliveTime    = 10 * time.Second
	keepAliveTimeout = 3 * time.Second
	// maxReconnect bounds the pause between attempts to connect, so that an
	// etcd that comes back after hours is noticed at once.
	maxReconnect = 2 * time.Second
	// maxPrefix leaves room for it in every request that keeps to the limits.
	maxPrefix = 64
)

// Config says how etcd is reached. Only Endpoints is needed.
type Config struct {
	// Endpoints are the members' client URLs, or host:port.
	Endpoints []string
	// TLS is used for https endpoints, and for those without a scheme.
	TLS *tls.Config
	// Username and Password log in to an etcd with authentication.
	Username, Password string
	// Prefix is put before every key, so that several clusters can share an
	// etcd. At most 64 bytes; by convention it begins with a slash.
	Prefix string
	// Logger is told when touch with etcd is lost and found. Default: nobody.
	Logger *slog.Logger
	// DialTimeout bounds one attempt to connect to one member. Default 3 s.
	DialTimeout time.Duration
	// Streams is for New, with a client that has no connection.
	Streams Streams
}

// Streams are the parts of etcd's API that are used without the client's
// help, because it resumes a stream without a word.
type Streams struct {
	Watch pb.WatchClient
	Lease pb.LeaseClient
}

// A Keeper keeps records in etcd.
type Keeper struct {
	client  *clientv3.Client
	streams Streams
	owned   bool   // the client is closed with the keeper
	config  Config // what the client was made of, if it is owned
	keys    layout
	log     *slog.Logger
	seen    mark
}

var (
	_ store.Records = (*Keeper)(nil)
	_ store.Notes   = (*Keeper)(nil)
)

// Open returns a keeper of what the endpoints hold. They need not be up: every
// call reaches for them anew. Close it.
func Open(cfg Config) (*Keeper, error) {
	if len(cfg.Endpoints) == 0 {
		return nil, errors.New("etcd: no endpoints are given")
	}
	if (cfg.Username == "") != (cfg.Password == "") {
		return nil, errors.New("etcd: a user name and a password are given together, or neither")
	}
	// With a name and a password the client would insist on logging in now.
	// With a token it does not; etcd refuses this one, if it asks for any, and
	// then the client logs in.
	placeholder := ""
	if cfg.Username != "" {
		placeholder = "none yet"
	}
	client, err := clientv3.New(clientv3.Config{
		Endpoints:            cfg.Endpoints,
		TLS:                  cfg.TLS,
		Token:                placeholder,
		DialTimeout:          cmp.Or(cfg.DialTimeout, 3*time.Second),
		DialKeepAliveTime:    keepAliveTime,
		DialKeepAliveTimeout: keepAliveTimeout,
		Logger:               zap.NewNop(),
		DialOptions: append([]grpc.DialOption{
			grpc.WithConnectParams(grpc.ConnectParams{
				Backoff: backoff.Config{
					BaseDelay:  100 * time.Millisecond,
					Multiplier: 1.6,
					Jitter:     0.2,
					MaxDelay:   maxReconnect,
				},
				MinConnectTimeout: cmp.Or(cfg.DialTimeout, 3*time.Second),
			}),
			// The client's own policy sends to members that hang.
			grpc.WithDisableServiceConfig(),
			grpc.WithDefaultServiceConfig(`{"loadBalancingConfig": [{"` + probe.Policy + `": {}}]}`),
		}, ServerName(cfg.TLS)...),
	})
	if err != nil {
		return nil, fmt.Errorf("etcd: %w", err)
	}
	client.Token, client.Username, client.Password = "", cfg.Username, cfg.Password
	k, err := New(client, cfg)
	if err != nil {
		return nil, errors.Join(err, client.Close())
	}
	k.owned, k.config = true, cfg
	return k, nil
}

// New returns a keeper that uses client, which stays the caller's to close. Of
// cfg it takes Prefix, Logger and Streams.
func New(client *clientv3.Client, cfg Config) (*Keeper, error) {
	if len(cfg.Prefix) > maxPrefix {
		return nil, fmt.Errorf("etcd: the prefix is %d bytes long; the limit is %d", len(cfg.Prefix), maxPrefix)
	}
	if cfg.Streams == (Streams{}) {
		conn := client.ActiveConnection()
		if conn == nil {
			return nil, errors.New("etcd: the client has no connection, and Streams are not given")
		}
		cfg.Streams = Streams{Watch: pb.NewWatchClient(conn), Lease: pb.NewLeaseClient(conn)}
	}
	log := cfg.Logger
	if log == nil {
		log = slog.New(slog.DiscardHandler)
	}
	return &Keeper{client: client, streams: cfg.Streams, keys: layout{cfg.Prefix}, log: log}, nil
}

// Close ends the connections, if the keeper was made by Open. Followers and
// sessions must have ended.
func (k *Keeper) Close() error {
	if !k.owned {
		return nil
	}
	return k.client.Close()
}

// bounded gives a call without a deadline one.
func bounded(ctx context.Context) (context.Context, context.CancelFunc) {
	return context.WithTimeoutCause(ctx, callTimeout, fmt.Errorf("no answer within %v", callTimeout))
}
