package identity

import (
	"context"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"log/slog"
	"net"
	"strings"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/peer"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/types/known/timestamppb"

	"signalbox/controlplane/pki"
	"signalbox/proto/certificate"
	signalboxv1 "signalbox/proto/gen/signalbox/v1"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// patience is how long a test waits for what must come.
const patience = 20 * time.Second

// authorities are one of servers, and one of nodes.
type authorities struct {
	root, nodes *pki.Authority
	trusted     *x509.CertPool // the root, of servers
	server      tls.Certificate
}

func newAuthorities(t *testing.T) *authorities {
	t.Helper()
	root, err := pki.NewRoot("root", time.Now(), 24*time.Hour)
	if err != nil {
		t.Fatal(err)
	}
	nodes, err := pki.NewNodeAuthority("nodes", time.Now().Add(-12*time.Hour), 24*time.Hour)
	if err != nil {
		t.Fatal(err)
	}
	key, err := certificate.NewKey()
	if err != nil {
		t.Fatal(err)
	}
	chain, err := root.Issue(pki.Party{Name: "cp", Hosts: []string{"127.0.0.1"}}, key.Public(), time.Now(), time.Hour)
	if err != nil {
		t.Fatal(err)
	}
	a := &authorities{root: root, nodes: nodes, trusted: x509.NewCertPool(), server: pairOf(t, chain, key)}
	a.trusted.AppendCertsFromPEM(root.Certificate())
	return a
}

// A plane certifies nodes that have its key or a certificate of the authority's
// that was not revoked, on a real server.
type plane struct {
	signalboxv1.UnimplementedCertificateServiceServer
	*authorities
	addr string

	mu      sync.Mutex
	life    time.Duration // of the next certificate
	ahead   time.Duration // of this machine's clock, the control plane's is so much
	key     string        // that is good, empty for none
	mark    string        // of what is not revoked
	by      []string      // how each certificate was asked for: "key" or a mark
	refuses error         // the answer to all, if not nil
}

func newPlane(t *testing.T, a *authorities) *plane {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	clients := x509.NewCertPool()
	clients.AppendCertsFromPEM(a.nodes.Certificate())
	p := &plane{authorities: a, addr: ln.Addr().String(), life: time.Hour, key: "sekrit", mark: "1"}
	server := grpc.NewServer(grpc.Creds(credentials.NewTLS(&tls.Config{
		MinVersion: tls.VersionTLS12, Certificates: []tls.Certificate{a.server}, ClientCAs: clients, ClientAuth: tls.VerifyClientCertIfGiven,
		Time: p.clock,
	})))
	signalboxv1.RegisterCertificateServiceServer(server, p)
	var running sync.WaitGroup
	running.Go(func() { _ = server.Serve(ln) })
	t.Cleanup(func() { server.Stop(); running.Wait() })
	return p
}

// clock is what time it is for the plane.
func (p *plane) clock() time.Time {
	p.mu.Lock()
	defer p.mu.Unlock()
	return time.Now().Add(p.ahead)
}

func (p *plane) IssueNodeCertificate(ctx context.Context, req *signalboxv1.IssueNodeCertificateRequest) (*signalboxv1.IssueNodeCertificateResponse, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.refuses != nil {
		return nil, p.refuses
	}
	by, err := p.caller(ctx)
	if err != nil {
		return nil, err
	}
	public, err := certificate.ParseRequest(req.GetRequest())
	if err != nil {
		return nil, status.Error(codes.InvalidArgument, err.Error())
	}
	p.by = append(p.by, by)
	chain, end, err := p.nodes.IssueNode(certificate.Node{Name: req.GetNode(), Mark: p.mark}, public, time.Now().Add(p.ahead), p.life)
	return &signalboxv1.IssueNodeCertificateResponse{Chain: string(chain), ExpireTime: timestamppb.New(end)}, err
}

// caller is what a call was made with.
func (p *plane) caller(ctx context.Context) (string, error) {
	refused := status.Error(codes.Unauthenticated, "who is this?")
	if md, _ := metadata.FromIncomingContext(ctx); len(md["authorization"]) > 0 {
		if p.key == "" || md["authorization"][0] != "Bearer "+p.key {
			return "", refused
		}
		return "key", nil
	}
	from, _ := peer.FromContext(ctx)
	info, _ := from.AuthInfo.(credentials.TLSInfo)
	if len(info.State.VerifiedChains) == 0 {
		return "", refused
	}
	n, _ := certificate.NodeOf(info.State.PeerCertificates[0])
	if n.Mark != p.mark {
		return "", refused
	}
	return n.Mark, nil
}

// asked is how certificates were asked for.
func (p *plane) asked() string {
	p.mu.Lock()
	defer p.mu.Unlock()
	return strings.Join(p.by, " ")
}

// set changes what the plane does.
func (p *plane) set(change func()) {
	p.mu.Lock()
	defer p.mu.Unlock()
	change()
}

// pairOf is a certificate with its key.
func pairOf(t *testing.T, chain []byte, key any) tls.Certificate {
	t.Helper()
	pair, err := tls.X509KeyPair(chain, keyPEM(t, key))
	if err != nil {
		t.Fatal(err)
	}
	return pair
}

// A journal is a log that tests read.
type journal struct {
	mu   sync.Mutex
	text strings.Builder
}

func (j *journal) Write(b []byte) (int, error) {
	j.mu.Lock()
	defer j.mu.Unlock()
	return j.text.Write(b)
}

// count is how many lines hold a text.
func (j *journal) count(text string) int {
	j.mu.Lock()
	defer j.mu.Unlock()
	return strings.Count(j.text.String(), text)
}

// A running identity, and what it said.
type running struct {
	*Identity
	t       *testing.T
	log     *journal
	renewed chan struct{} // has an element for each new certificate
}

// run opens the identity of the node "n" and runs it until the test ends.
func run(t *testing.T, c Config) *running {
	t.Helper()
	r := &running{t: t, log: &journal{}, renewed: make(chan struct{}, 100)}
	c.Node, c.Log = "n", slog.New(slog.NewTextHandler(r.log, nil))
	if c.Dir == "" {
		c.Dir = t.TempDir()
	}
	var err error
	if r.Identity, err = Open(c); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	var wait sync.WaitGroup
	wait.Go(func() { r.Run(ctx, func() { r.renewed <- struct{}{} }) })
	t.Cleanup(func() {
		cancel()
		wait.Wait()
		if t.Failed() {
			t.Log(r.log.text.String())
		}
	})
	return r
}

// next waits for the next certificate.
func (r *running) next() *tls.Certificate {
	r.t.Helper()
	select {
	case <-r.renewed:
	case <-time.After(patience):
		r.t.Fatal("there is no new certificate")
	}
	pair, _ := r.standing()
	return pair
}

// eventually waits until ok, for what nobody tells.
func eventually(t *testing.T, what string, ok func() bool) {
	t.Helper()
	tick, timeout := time.NewTicker(10*time.Millisecond), time.After(patience)
	defer tick.Stop()
	for !ok() {
		select {
		case <-tick.C:
		case <-timeout:
			t.Fatalf("it never came to be that %s", what)
		}
	}
}

// nobody is an address at which nobody answers.
func nobody(t *testing.T) string {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = ln.Close() }()
	return ln.Addr().String()
}

// randomBytes are of no use to anybody.
func randomBytes() []byte {
	b := make([]byte, 300)
	_, _ = rand.Read(b)
	return b
}
