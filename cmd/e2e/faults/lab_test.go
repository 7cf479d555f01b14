//go:build e2e

package faults

import (
	"context"
	"crypto/tls"
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

// keepLogs writes the parts' logs to a directory that outlives the test, and
// says where.
func (l *lab) keepLogs() {
	dir, err := os.MkdirTemp("", "signalbox-faults-")
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
