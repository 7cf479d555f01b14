//go:build e2e

package faults

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"syscall"
	"testing"
	"time"

	"go.uber.org/zap"

	clientv3 "go.etcd.io/etcd/client/v3"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/metadata"

	signalboxv1 "signalbox/proto/gen/signalbox/v1"
)

// patience is how long the suite waits for what must come.
const patience = 40 * time.Second

// A lab is the cluster: three etcd members, two control planes with a gateway
// in each, a gateway by itself, three nodes.
type lab struct {
	t testing.TB
	driver
	operator
	host  string // address of this test, as parts reach it
	admin string // key "bootstrap"
	parts []*part
	// tls is how the APIs are reached, etcdTLS how etcd is, nil for without.
	tls, etcdTLS *tls.Config

	up    *upstream
	calls map[*part]*grpc.ClientConn // by control plane
	http  *http.Client
	store *clientv3.Client
	links *links
	root  bool // whether networks can be broken
	// members are etcd's, as --initial-cluster names them; state is the
	// directory in which a part keeps what it keeps.
	members string
	state   func(*part) string
}

// newLab starts the cluster. All of it works when it returns; it ends with the
// test, whatever happens.
func newLab(ctx context.Context, t testing.TB) *lab {
	t.Helper()
	l, err := chooseDriver(t)
	if err != nil {
		t.Fatal(err)
	}
	l.t, l.root, l.calls = t, os.Geteuid() == 0, map[*part]*grpc.ClientConn{}
	t.Cleanup(func() {
		if t.Failed() {
			l.keepLogs()
		}
		l.driver.close()
	})
	l.up = newUpstream(t, l.host)
	l.links = &links{lab: l}
	t.Cleanup(l.links.mendAll)
	for _, p := range l.parts {
		if err := l.driver.start(p, release{}); err != nil {
			t.Fatalf("start %s: %v", p.name, err)
		}
	}
	l.http = l.client(t)
	for _, p := range l.of(plane) {
		l.calls[p] = l.dial(p)
	}
	l.store, err = clientv3.New(clientv3.Config{
		Endpoints: l.endpoints(), TLS: l.etcdTLS, Logger: zap.NewNop(), DialTimeout: patience,
		DialOptions: []grpc.DialOption{
			grpc.WithContextDialer(func(ctx context.Context, addr string) (net.Conn, error) { return l.connect(ctx, "tcp", addr) }),
			grpc.WithConnectParams(grpc.ConnectParams{Backoff: quickBackoff, MinConnectTimeout: time.Second}),
		},
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = l.store.Close() })
	l.whole(ctx, t)
	return l
}

// keepLogs writes the parts' logs to a directory that stays, and says where.
func (l *lab) keepLogs() {
	dir, err := os.MkdirTemp("", "signalbox-faults-") //nolint:usetesting // it is for whoever looks into a failure
	if err != nil {
		l.t.Error(err)
		return
	}
	for _, p := range l.parts {
		if err := os.WriteFile(filepath.Join(dir, p.name+".log"), []byte(l.driver.log(p)), 0o600); err != nil {
			l.t.Error(err)
		}
	}
	l.t.Logf("the parts' logs are in %s", dir)
}

// of is the parts of a kind.
func (l *lab) of(k kind) []*part {
	return slices.DeleteFunc(slices.Clone(l.parts), func(p *part) bool { return p.kind != k })
}

// named is the part of a name.
func (l *lab) named(name string) *part {
	if i := slices.IndexFunc(l.parts, func(p *part) bool { return p.name == name }); i >= 0 {
		return l.parts[i]
	}
	return nil
}

// Ports that parts listen on.
const (
	grpcPort, apiPort, publicPort, clientPort, peerPort = "8002", "8001", "8000", "2379", "2380"
)

// connect dials PART:PORT, wherever the part is now; other addresses as they
// are.
func (l *lab) connect(ctx context.Context, _, addr string) (net.Conn, error) {
	host, port, err := net.SplitHostPort(addr)
	if err != nil {
		return nil, err
	}
	if p := l.named(host); p != nil {
		addr = net.JoinHostPort(p.addrs()[0], port)
	}
	return (&net.Dialer{Timeout: 5 * time.Second}).DialContext(ctx, "tcp", addr)
}

// client is an HTTP client that knows parts by their names.
func (l *lab) client(t testing.TB) *http.Client {
	transport := &http.Transport{DialContext: l.connect, TLSClientConfig: l.tls.Clone(), MaxIdleConnsPerHost: 16, IdleConnTimeout: time.Minute}
	t.Cleanup(transport.CloseIdleConnections)
	return &http.Client{Transport: transport}
}

// api is the URL of a control plane's or gateway's HTTP APIs.
func (l *lab) api(p *part) string {
	if l.tls != nil {
		return "https://" + p.name + ":" + apiPort
	}
	return "http://" + p.name + ":" + apiPort
}

// dial is a connection to a control plane's gRPC API, with the admin key.
func (l *lab) dial(p *part) *grpc.ClientConn {
	creds := insecure.NewCredentials()
	if l.tls != nil {
		creds = credentials.NewTLS(l.tls.Clone())
	}
	key := func(ctx context.Context) context.Context {
		return metadata.AppendToOutgoingContext(ctx, "authorization", "Bearer "+l.admin)
	}
	conn, err := grpc.NewClient("passthrough:///"+p.name+":"+grpcPort, grpc.WithTransportCredentials(creds),
		grpc.WithContextDialer(func(ctx context.Context, addr string) (net.Conn, error) { return l.connect(ctx, "tcp", addr) }),
		grpc.WithConnectParams(grpc.ConnectParams{Backoff: quickBackoff, MinConnectTimeout: time.Second}),
		grpc.WithUnaryInterceptor(func(ctx context.Context, method string, req, reply any, cc *grpc.ClientConn, invoke grpc.UnaryInvoker, opts ...grpc.CallOption) error {
			return invoke(key(ctx), method, req, reply, cc, opts...)
		}))
	if err != nil {
		l.t.Fatal(err)
	}
	l.t.Cleanup(func() { _ = conn.Close() })
	return conn
}

func (l *lab) routes(p *part) signalboxv1.RouteServiceClient {
	return signalboxv1.NewRouteServiceClient(l.calls[p])
}

func (l *lab) nodes(p *part) signalboxv1.NodeServiceClient {
	return signalboxv1.NewNodeServiceClient(l.calls[p])
}

// endpoints are etcd's client URLs.
func (l *lab) endpoints() []string {
	var urls []string
	for _, p := range l.of(member) {
		urls = append(urls, l.endpoint(p))
	}
	return urls
}

func (l *lab) endpoint(p *part) string {
	scheme := "http://"
	if l.etcdTLS != nil {
		scheme = "https://"
	}
	return scheme + p.name + ":" + clientPort
}

// start starts a part that was killed or stopped.
func (l *lab) start(t testing.TB, p *part, r release) {
	t.Helper()
	if err := l.driver.start(p, r); err != nil {
		t.Fatalf("start %s: %v", p.name, err)
	}
}

// signal sends a signal to a part; one that ends it is waited for. It returns
// the exit code then.
func (l *lab) signal(t testing.TB, p *part, s syscall.Signal) int {
	t.Helper()
	if s != syscall.SIGCONT {
		p.goDown()
	}
	if err := l.driver.signal(p, s); err != nil {
		t.Fatalf("%v to %s: %v", s, p.name, err)
	}
	if s == syscall.SIGSTOP || s == syscall.SIGCONT {
		return 0
	}
	code, err := l.driver.wait(p)
	if err != nil {
		t.Fatal(err)
	}
	return code
}

// whole waits until every part does what it is there for.
func (l *lab) whole(ctx context.Context, t testing.TB) {
	t.Helper()
	began := time.Now()
	for _, check := range []func(context.Context) error{l.membersWell, l.gatewaysReady, l.nodesLive} {
		eventually(ctx, t, "the cluster is whole", check)
	}
	for _, p := range l.parts {
		p.comeUp()
	}
	if took := time.Since(began); took > time.Second {
		t.Logf("the cluster is whole after %v", took.Round(100*time.Millisecond))
	}
}

// membersWell fails unless all members of etcd follow one leader, with no alarm.
func (l *lab) membersWell(ctx context.Context) error {
	leaders := map[uint64]bool{}
	for _, p := range l.of(member) {
		s, err := l.store.Status(ctx, l.endpoint(p))
		if err != nil {
			return fmt.Errorf("%s: %w", p.name, err)
		}
		if s.Leader == 0 || len(s.Errors) > 0 {
			return fmt.Errorf("%s: leader %x, %v", p.name, s.Leader, s.Errors)
		}
		leaders[s.Leader] = true
	}
	if len(leaders) != 1 {
		return errors.New("members follow different leaders")
	}
	return nil
}

// leader is the member that leads etcd.
func (l *lab) leader(ctx context.Context, t testing.TB) *part {
	t.Helper()
	for _, p := range l.of(member) {
		s, err := l.store.Status(ctx, l.endpoint(p))
		if err == nil && s.Leader == s.Header.MemberId {
			return p
		}
	}
	t.Fatal("no member of etcd leads")
	return nil
}

// gatewaysReady fails unless every gateway reaches a control plane that serves.
func (l *lab) gatewaysReady(ctx context.Context) error {
	for _, p := range append(l.of(plane), l.of(gateway)...) {
		a, err := send(ctx, l.http, "GET", l.api(p)+"/readyz", "")
		if err == nil && a.status != http.StatusOK {
			err = fmt.Errorf("%d %s", a.status, a.body)
		}
		if err != nil {
			return fmt.Errorf("%s: %w", p.name, err)
		}
	}
	return nil
}

// nodesLive fails unless every control plane sees all nodes live, ready, and
// at the newest version.
func (l *lab) nodesLive(ctx context.Context) error {
	for _, p := range l.of(plane) {
		res, err := l.nodes(p).ListNodes(ctx, &signalboxv1.ListNodesRequest{})
		if err != nil {
			return fmt.Errorf("%s: %w", p.name, err)
		}
		seen := map[string]*signalboxv1.NodeObserved{}
		for _, n := range res.GetNodes() {
			seen[n.GetName()] = n.GetObserved()
		}
		for _, n := range l.of(node) {
			o := seen[n.id]
			if o.GetState() != signalboxv1.NodeState_NODE_STATE_LIVE || !o.GetReady() || o.GetControlPlane() == "" || o.GetServing().GetEpoch() != res.GetVersion().GetEpoch() {
				return fmt.Errorf("%s sees %s so: %v", p.name, n.name, o)
			}
		}
	}
	return nil
}

// feeder is the control plane that feeds the most nodes.
func (l *lab) feeder(ctx context.Context, t testing.TB) *part {
	t.Helper()
	fed := map[string]int{}
	res, err := l.nodes(l.of(plane)[0]).ListNodes(ctx, &signalboxv1.ListNodesRequest{})
	if err != nil {
		t.Fatal(err)
	}
	for _, n := range res.GetNodes() {
		fed[n.GetObserved().GetControlPlane()]++
	}
	return slices.MaxFunc(l.of(plane), func(a, b *part) int { return fed[a.id] - fed[b.id] })
}

// eventually tries until there is no error, for as long as the suite waits.
func eventually(ctx context.Context, t testing.TB, what string, try func(context.Context) error) {
	t.Helper()
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	var last error
	for {
		once, done := context.WithTimeout(ctx, 3*time.Second)
		err := try(once)
		done()
		if err == nil {
			return
		}
		if last == nil || ctx.Err() == nil {
			last = err
		}
		if !pause(ctx, 50*time.Millisecond) {
			t.Fatalf("%s: %v", what, last)
		}
	}
}

// pause waits for a time, and reports whether ctx has not ended meanwhile.
func pause(ctx context.Context, d time.Duration) bool {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return true
	case <-ctx.Done():
		return false
	}
}
