// Package embedded runs an etcd member inside the process: alone, as the store
// of a small installation, or as one of several that make a cluster.
package embedded

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"sync"
	"sync/atomic"
	"time"

	"go.etcd.io/etcd/client/pkg/v3/fileutil"
	clientv3 "go.etcd.io/etcd/client/v3"
	"go.etcd.io/etcd/server/v3/embed"
	"go.etcd.io/etcd/server/v3/etcdserver/api/v3client"
	"go.etcd.io/etcd/server/v3/etcdserver/api/v3rpc"
	"go.etcd.io/etcd/server/v3/proxy/grpcproxy/adapter"
	"google.golang.org/grpc"

	"signalbox/store/etcd"
)

// Config is how a member is started. Only DataDir is needed: then it is alone,
// and can be reached from this process only, without any socket.
type Config struct {
	// DataDir holds everything. It is made if it does not exist.
	DataDir string
	// Name of the member. Default "signalbox".
	Name string

	// ListenClientURLs are where clients are served: "http://127.0.0.1:2379".
	// Default: nowhere. AdvertiseClientURLs are how they are told to reach it;
	// default: the same.
	ListenClientURLs, AdvertiseClientURLs []string
	// ListenPeerURLs are where other members are served. Default: nowhere.
	// AdvertisePeerURLs are how those reach it; default: the same.
	ListenPeerURLs, AdvertisePeerURLs []string
	// InitialCluster names all members, this one too, with their advertised
	// peer URLs: "a=http://10.0.0.1:2380,b=http://10.0.0.2:2380". It counts
	// when DataDir is empty. Default: this member alone.
	InitialCluster string
	// InitialClusterState is "new", or "existing" for a member that was added
	// to a running cluster. Default "new".
	InitialClusterState string
	// ForceNewCluster makes this member, with what it has, the only one of its
	// cluster: for when most of the others are lost for good.
	ForceNewCluster bool
	// Token keeps clusters apart that are made from the same URLs. Default
	// "signalbox".
	Token string
	// ClientTLS and PeerTLS are for URLs with https.
	ClientTLS, PeerTLS TLS

	// Tick is how often a leader is heard of; ten of them missed start an
	// election. Default 10 ms for a member alone, which makes it ready sooner,
	// and 100 ms in a cluster.
	Tick time.Duration
	// Retention is how long history is kept for followers that lag: at least
	// so, at most twice as long. Default 10 minutes.
	Retention time.Duration
	// QuotaBytes bounds the database; a store that reaches it takes no more
	// writes. Default 2 GiB.
	QuotaBytes int64
	// Unsafe loses writes when the machine fails, and hashes passwords badly,
	// but is faster. For tests.
	Unsafe bool
	// Logger is told of what ends the process, and of all else at debug level.
	// Default: nobody.
	Logger *slog.Logger
}

// TLS names the files of one side.
type TLS struct {
	// CertFile and KeyFile are this member's certificate, PEM.
	CertFile, KeyFile string
	// CAFile holds the certificates that sign those of clients or peers. When
	// it is given, they have to show one.
	CAFile string
}

// A Member is a running member.
type Member struct {
	server *embed.Etcd
	client *clientv3.Client
	lock   *fileutil.LockedFile

	mu   sync.Mutex
	rpcs []*grpc.Server // guarded by mu: what serves clients

	failed  chan error    // see Failed
	broken  atomic.Bool   // it cannot be closed as it should
	closing chan struct{} // closed when Close begins
	guard   sync.WaitGroup
	once    sync.Once
}

// closeGrace is how long Close lets calls of clients run.
const closeGrace = 500 * time.Millisecond

// Start starts a member and waits until it is ready: until most members of its
// cluster are there. It gives up when ctx ends.
func Start(ctx context.Context, cfg Config) (*Member, error) {
	if cfg.DataDir == "" {
		return nil, errors.New("etcd member: no data directory is given")
	}
	lock, err := lockDir(cfg.DataDir)
	if err != nil {
		return nil, fmt.Errorf("etcd member: %w", err)
	}
	m := &Member{lock: lock, failed: make(chan error, 1), closing: make(chan struct{})}
	if err := m.start(ctx, cfg); err != nil {
		m.Close()
		return nil, fmt.Errorf("etcd member: %w", err)
	}
	return m, nil
}

// lockDir makes a data directory if there is none, and makes sure that nobody
// else uses it: etcd would wait for the other to go, without a word.
func lockDir(dir string) (*fileutil.LockedFile, error) {
	if err := os.MkdirAll(dir, fileutil.PrivateDirMode); err != nil {
		return nil, err
	}
	lock, err := fileutil.TryLockFile(filepath.Join(dir, "lock"), os.O_RDWR|os.O_CREATE, fileutil.PrivateFileMode)
	if errors.Is(err, fileutil.ErrLocked) {
		return nil, fmt.Errorf("data directory %s is in use by another process", dir)
	}
	return lock, err
}

func (m *Member) start(ctx context.Context, cfg Config) error {
	settings, err := cfg.settings(m.broke)
	if err != nil {
		return err
	}
	settings.ServiceRegister = func(s *grpc.Server) {
		m.mu.Lock()
		defer m.mu.Unlock()
		m.rpcs = append(m.rpcs, s)
	}
	m.apart(func() { m.server, err = embed.StartEtcd(settings) })
	if err == nil && m.server == nil {
		err = errors.Unwrap(<-m.failed)
	}
	if err != nil {
		return err
	}
	select {
	case err := <-m.failed:
		return errors.Unwrap(err)
	case <-m.server.Server.ReadyNotify():
	case <-m.server.Server.StopNotify():
		return errors.New("it stopped while it started")
	case err := <-m.server.Err():
		return err
	case <-ctx.Done():
		return fmt.Errorf("it did not get ready: %w", context.Cause(ctx))
	}
	m.client = v3client.New(m.server.Server)
	m.guard.Go(m.watch)
	if cfg.alone() {
		return m.makeRoom(ctx)
	}
	return nil
}

// makeRoom lets a member that had filled its quota take writes again, if it
// can: nobody else may be able to reach it.
func (m *Member) makeRoom(ctx context.Context) error {
	alarms, err := m.client.AlarmList(ctx)
	if err != nil || len(alarms.Alarms) == 0 {
		return err
	}
	now, err := m.client.Get(ctx, "\x00")
	if err != nil {
		return err
	}
	// Fails if it is compacted already.
	_, _ = m.client.Compact(ctx, now.Header.Revision, clientv3.WithCompactPhysical())
	if err := m.server.Server.Backend().Defrag(); err != nil {
		return err
	}
	_, err = m.client.AlarmDisarm(ctx, &clientv3.AlarmMember{})
	return err
}

// Keeper returns a keeper of what the member holds, over a way inside the
// process. Of cfg it takes Prefix and Logger.
func (m *Member) Keeper(cfg etcd.Config) (*etcd.Keeper, error) {
	cfg.Streams = etcd.Streams{
		Watch: adapter.WatchServerToWatchClient(v3rpc.NewWatchServer(m.server.Server)),
		Lease: adapter.LeaseServerToLeaseClient(v3rpc.NewQuotaLeaseServer(m.server.Server)),
	}
	return etcd.New(m.client, cfg)
}

// Client returns a client of this member, over a way inside the process. It is
// closed with the member.
func (m *Member) Client() *clientv3.Client { return m.client }

// ClientAddrs returns the addresses at which clients are served.
func (m *Member) ClientAddrs() []string {
	var addrs []string
	for _, l := range m.server.Clients {
		addrs = append(addrs, l.Addr().String())
	}
	return addrs
}

// Failed says, once, that the member can serve no longer, and why. It says
// nothing when the member is closed.
func (m *Member) Failed() <-chan error { return m.failed }

// watch finds out about it.
func (m *Member) watch() {
	select {
	case <-m.closing:
	case err := <-m.server.Err():
		m.fail(err)
	case <-m.server.Server.StopNotify():
		m.fail(errors.New("it stopped by itself; perhaps it was removed from its cluster"))
	}
}

// broke is told that a part of the member has ended where it stood, as when a
// disk is full: what it held is held for ever, and waiting for it would be too.
func (m *Member) broke(err error) {
	m.broken.Store(true)
	m.fail(err)
}

// fail says it once.
func (m *Member) fail(err error) {
	select {
	case m.failed <- fmt.Errorf("etcd member: %w", err):
	default:
	}
}

// apart does something in a goroutine of its own, which etcd may end; see
// lastWords.
func (*Member) apart(do func()) {
	done := make(chan struct{})
	go func() {
		defer close(done)
		do()
	}()
	<-done
}

// Close ends the member and everything it started. If it leads, it first hands
// that over. Calls of clients that do not end by themselves, such as watches,
// are cut off after a moment, and so is an attempt to hand over to nobody.
func (m *Member) Close() { m.close(closeGrace) }

// Kill ends the member as if its process were killed: what it says to others
// breaks off in the middle, and nothing is handed over. But nothing is left
// behind either.
func (m *Member) Kill() { m.close(0) }

func (m *Member) close(grace time.Duration) {
	m.once.Do(func() {
		close(m.closing)
		m.guard.Wait()
		if m.client != nil {
			_ = m.client.Close() // says only that it was closed
		}
		if m.server != nil && !m.broken.Load() {
			if grace == 0 {
				m.cutOff()
			}
			cut := make(chan struct{})
			timer := time.AfterFunc(grace, func() {
				defer close(cut)
				m.cutOff()
			})
			m.apart(m.server.Close)
			if !timer.Stop() {
				<-cut
			}
		}
		_ = m.lock.Close()
	})
}

// cutOff ends the server, and the connections of clients.
func (m *Member) cutOff() {
	m.server.Server.HardStop()
	m.mu.Lock()
	defer m.mu.Unlock()
	for _, s := range m.rpcs {
		s.Stop()
	}
}

// alone reports whether the member is a cluster by itself.
func (c Config) alone() bool { return c.InitialCluster == "" }

// settings translates the configuration into etcd's.
func (c Config) settings(broken func(error)) (*embed.Config, error) {
	s := embed.NewConfig()
	s.Name = cmp.Or(c.Name, "signalbox")
	s.Dir = c.DataDir
	s.InitialClusterToken = cmp.Or(c.Token, "signalbox")
	s.ClusterState = cmp.Or(c.InitialClusterState, embed.ClusterStateFlagNew)
	s.ForceNewCluster = c.ForceNewCluster
	if c.Unsafe {
		s.UnsafeNoFsync = true
		s.BcryptCost = 4
	}
	s.QuotaBackendBytes = c.QuotaBytes
	s.AutoCompactionMode = embed.CompactorModePeriodic
	s.AutoCompactionRetention = cmp.Or(c.Retention, 10*time.Minute).String()
	s.BootstrapDefragThresholdMegabytes = 100
	s.EnableGRPCGateway = false
	s.ZapLoggerBuilder = embed.NewZapLoggerBuilder(newLogger(c.Logger, broken))

	tick := cmp.Or(c.Tick, 100*time.Millisecond)
	if c.alone() {
		tick = cmp.Or(c.Tick, 10*time.Millisecond)
	}
	s.TickMs, s.ElectionMs = uint(tick.Milliseconds()), uint(10*tick.Milliseconds())
	return s, c.addresses(s)
}
