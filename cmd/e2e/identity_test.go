// A node is known by a certificate of its own, where control planes ask for
// one: it gets it with a key, renews it by itself, and nobody who steals it can
// be another node, or this one once it is revoked or has ended.

package e2e

import (
	"bytes"
	"context"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"io"
	"net"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/status"

	"signalbox/controlplane"
	"signalbox/controlplane/api"
	"signalbox/controlplane/pki"
	"signalbox/node"
	"signalbox/node/certfile"
	"signalbox/proto/certificate"
	signalboxv1 "signalbox/proto/gen/signalbox/v1"
	"signalbox/store/mem"
)

// A certifiedSystem is control planes that certify nodes, and the files of
// their authority.
type certifiedSystem struct {
	t           *testing.T
	dir         string
	authority   *pki.Authority // of nodes
	trusted     *x509.CertPool // the root
	keeper      *mem.Keeper
	log         *journal
	admin, join string // keys
	addresses   []string
}

// newCertified starts control planes whose certificates for nodes live so long.
func newCertified(t *testing.T, planes int, life time.Duration) *certifiedSystem {
	t.Helper()
	s := &certifiedSystem{t: t, dir: t.TempDir(), keeper: mem.New(), log: &journal{}, admin: rand.Text(), join: rand.Text(), trusted: x509.NewCertPool()}
	t.Cleanup(func() {
		if t.Failed() {
			all := s.log.lines()
			t.Logf("---- the end of the log\n%s", strings.Join(all[max(0, len(all)-100):], "\n"))
		}
	})
	root, err := pki.NewRoot("root", time.Now(), 24*time.Hour)
	if err != nil {
		t.Fatal(err)
	}
	s.trusted.AppendCertsFromPEM(root.Certificate())
	if s.authority, err = pki.NewNodeAuthority("nodes", time.Now(), 24*time.Hour); err != nil {
		t.Fatal(err)
	}
	key, err := certificate.NewKey()
	if err != nil {
		t.Fatal(err)
	}
	private, err := certificate.EncodeKey(key)
	if err != nil {
		t.Fatal(err)
	}
	cert, err := root.Issue(pki.Party{Name: "cp", Hosts: []string{"127.0.0.1"}}, key.Public(), time.Now(), time.Hour)
	if err != nil {
		t.Fatal(err)
	}
	err = errors.Join(root.Save(s.file("ca.pem"), s.file("ca.key")), s.authority.Save(s.file("nodes.pem"), s.file("nodes.key")),
		pki.WritePair(s.file("cp.pem"), cert, s.file("cp.key"), private))
	if err != nil {
		t.Fatal(err)
	}
	for i := range planes {
		s.startPlane(string(rune('a'+i)), life)
	}
	return s
}

func (s *certifiedSystem) file(name string) string { return filepath.Join(s.dir, name) }

func (s *certifiedSystem) startPlane(id string, life time.Duration) {
	s.t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		s.t.Fatal(err)
	}
	conf, err := certfile.Server{Cert: s.file("cp.pem"), Key: s.file("cp.key"), ClientCA: s.file("nodes.pem"), ClientOptional: true}.Config(nil)
	if err != nil {
		s.t.Fatal(err)
	}
	authority, err := pki.Keep(s.file("nodes.pem"), s.file("nodes.key"), func(err error) { s.log.logger().Error("authority", "err", err) })
	if err != nil {
		s.t.Fatal(err)
	}
	ready, keeper := make(chan string, 1), s.keeper.Another()
	cp := controlplane.New(controlplane.Config{
		ID: id, Address: ln.Addr().String(), Records: keeper, Notes: keeper, AdminKey: s.admin, NodeKey: s.join,
		Certifier: &api.Certifier{Authority: authority, Life: life},
		LeaseTTL:  time.Second, ReportInterval: 20 * time.Millisecond, Log: s.log.logger(),
		Ready: func(made string) { ready <- made },
	})
	s.t.Cleanup(s.running(id, func(ctx context.Context) error {
		return cp.Run(ctx, controlplane.Endpoint{Listener: ln, Credentials: credentials.NewTLS(conf)})
	}))
	<-ready
	s.addresses = append(s.addresses, ln.Addr().String())
}

// startNode runs a node until the test ends, or what it returns is called.
func (s *certifiedSystem) startNode(id string) (stop func()) {
	s.t.Helper()
	n, err := node.New(node.Config{
		ID: id, ControlPlanes: s.addresses, Key: s.join, IdentityDir: s.file(id), TLS: certfile.Client{CA: s.file("ca.pem")},
		Listeners: map[string]node.Listener{"public": {Addr: "127.0.0.1:0"}}, Log: s.log.logger(),
	})
	if err != nil {
		s.t.Fatal(err)
	}
	stop = s.running(id, n.Run)
	s.t.Cleanup(stop)
	return stop
}

// running runs a part until what it returns is called, which waits for its end.
func (s *certifiedSystem) running(name string, run func(context.Context) error) (stop func()) {
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- run(ctx) }()
	return sync.OnceFunc(func() {
		cancel()
		if err := <-ended; err != nil {
			s.t.Errorf("%s ended with %v", name, err)
		}
	})
}

// identity is the certificate that a node keeps.
func (s *certifiedSystem) identity(id string) (*tls.Certificate, error) {
	file := filepath.Join(s.file(id), "identity.pem")
	pair, err := tls.LoadX509KeyPair(file, file)
	return &pair, err
}

// as dials the first control plane with a certificate, if any, and a key, if
// any.
func (s *certifiedSystem) as(pair *tls.Certificate, key string) *services {
	conf := &tls.Config{RootCAs: s.trusted, MinVersion: tls.VersionTLS12}
	if pair != nil {
		conf.Certificates = []tls.Certificate{*pair}
	}
	return dialGRPC(s.t, s.addresses[0], key, credentials.NewTLS(conf))
}

// connects says hello as a node, and returns what came of it.
func connects(t *testing.T, to *services, node string) error {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	stream, err := to.feed.Connect(ctx)
	if err == nil {
		hello := &signalboxv1.Hello{Node: node, Epoch: time.Now().UnixNano()}
		err = stream.Send(&signalboxv1.ConnectRequest{Message: &signalboxv1.ConnectRequest_Hello{Hello: hello}})
	}
	if err == nil || errors.Is(err, io.EOF) { // which tells nothing: Recv does
		_, err = stream.Recv()
	}
	return err
}

// live waits until a node has acknowledged something.
func (s *certifiedSystem) live(id string) {
	s.t.Helper()
	admin := s.as(nil, s.admin)
	eventually(s.t, id+" is live", func(ctx context.Context) error {
		n, err := admin.nodes.GetNode(ctx, &signalboxv1.GetNodeRequest{Name: id})
		if state := n.GetNode().GetObserved().GetState(); err == nil && state != signalboxv1.NodeState_NODE_STATE_LIVE {
			err = errors.New(state.String())
		}
		return err
	})
}

func TestANodeIsKnownByACertificateThatItGotWithAKey(t *testing.T) {
	s := newCertified(t, 2, time.Hour)
	stop := s.startNode("n1")
	s.live("n1")
	info, err := os.Stat(filepath.Join(s.file("n1"), "identity.pem"))
	if err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("its file is %v, %v", info.Mode(), err)
	}
	if err := connects(t, s.as(nil, s.join), "n2"); status.Code(err) != codes.PermissionDenied {
		t.Errorf("a node with the key alone: %v", err)
	}

	// The key has done its work.
	if _, err := s.as(nil, s.admin).keys.DeleteApiKey(t.Context(), &signalboxv1.DeleteApiKeyRequest{Name: "node"}); err != nil {
		t.Fatal(err)
	}
	stop()
	s.startNode("n1")
	s.live("n1")
}

func TestACertificateIsForOneNodeAndNothingElse(t *testing.T) {
	s := newCertified(t, 1, time.Hour)
	s.startNode("n1")
	s.live("n1")
	pair, err := s.identity("n1")
	if err != nil {
		t.Fatal(err)
	}
	as := s.as(pair, "")
	if err := connects(t, as, "n1"); err != nil {
		t.Errorf("as itself: %v", err)
	}
	if err := connects(t, as, "n2"); status.Code(err) != codes.PermissionDenied {
		t.Errorf("as another node: %v", err)
	}
	request := newRequest(t)
	for name, want := range map[string]codes.Code{"n1": codes.OK, "n2": codes.PermissionDenied} {
		if _, err := as.certs.IssueNodeCertificate(t.Context(), &signalboxv1.IssueNodeCertificateRequest{Node: name, Request: request}); status.Code(err) != want {
			t.Errorf("asking for a certificate of %s: %v", name, err)
		}
	}
	if _, err := as.routes.ListRoutes(t.Context(), &signalboxv1.ListRoutesRequest{}); status.Code(err) != codes.PermissionDenied {
		t.Errorf("listing routes: %v", err)
	}
}

func newRequest(t *testing.T) []byte {
	t.Helper()
	key, err := certificate.NewKey()
	if err != nil {
		t.Fatal(err)
	}
	der, err := certificate.NewRequest(key)
	if err != nil {
		t.Fatal(err)
	}
	return der
}

func TestACertificateIsRenewedWhileItIsServed(t *testing.T) {
	s := newCertified(t, 2, 6*time.Second)
	s.startNode("n1")
	s.live("n1")
	first, err := s.identity("n1")
	if err != nil {
		t.Fatal(err)
	}
	seen := map[string]bool{first.Leaf.SerialNumber.String(): true}
	admin := s.as(nil, s.admin)
	eventually(t, "it has its third certificate", func(ctx context.Context) error {
		// Nobody has to be left out of a write meanwhile.
		res, err := admin.routes.PutRoute(ctx, &signalboxv1.PutRouteRequest{Route: route("r", "/r", "http://127.0.0.1:1"), Wait: signalboxv1.Wait_WAIT_NODES})
		if err != nil || res.GetResult().GetNodesServing() != 1 {
			t.Fatalf("a write while it is renewed: %v, %v", res, err)
		}
		pair, err := s.identity("n1")
		if err != nil {
			return err
		}
		if seen[pair.Leaf.SerialNumber.String()] = true; len(seen) < 3 {
			return errors.New("not yet")
		}
		return nil
	})
}

func TestAStolenCertificateIsWorthlessOnceItIsRevoked(t *testing.T) {
	s := newCertified(t, 1, time.Hour)
	s.startNode("n1")
	s.live("n1")
	stolen, err := s.identity("n1")
	if err != nil {
		t.Fatal(err)
	}
	thief, admin := s.as(stolen, ""), s.as(nil, s.admin)
	if _, err := admin.certs.RevokeNodeCertificates(t.Context(), &signalboxv1.RevokeNodeCertificatesRequest{Node: "n1"}); err != nil {
		t.Fatal(err)
	}
	eventually(t, "the node has a new certificate, with its key", func(context.Context) error {
		pair, err := s.identity("n1")
		if err == nil && bytes.Equal(pair.Certificate[0], stolen.Certificate[0]) {
			err = errors.New("not yet")
		}
		return err
	})
	s.live("n1")
	if err := connects(t, thief, "n1"); status.Code(err) != codes.Unauthenticated {
		t.Errorf("who has the old one connects: %v", err)
	}
	if _, err := thief.certs.IssueNodeCertificate(t.Context(), &signalboxv1.IssueNodeCertificateRequest{Node: "n1", Request: newRequest(t)}); status.Code(err) != codes.Unauthenticated {
		t.Errorf("who has the old one gets another: %v", err)
	}

	// Whatever else is written of the node does not take it back.
	node := &signalboxv1.Node{Name: "n1", Wanted: &signalboxv1.NodeWanted{Labels: map[string]string{"a": "b"}}}
	put, err := admin.nodes.PutNode(t.Context(), &signalboxv1.PutNodeRequest{Node: node})
	if err != nil || put.GetNode().GetMeta().GetRevision() == 0 {
		t.Fatal(put, err)
	}
	if _, err := admin.nodes.DeleteNode(t.Context(), &signalboxv1.DeleteNodeRequest{Name: "n1"}); err != nil {
		t.Fatal(err)
	}
	if err := connects(t, thief, "n1"); status.Code(err) != codes.Unauthenticated {
		t.Errorf("once the node was forgotten, who has the old one connects: %v", err)
	}
	if got, err := admin.nodes.GetNode(t.Context(), &signalboxv1.GetNodeRequest{Name: "n1"}); err != nil || got.GetNode().GetRevokeTime() == nil {
		t.Errorf("the node is %v, %v", got, err)
	}
	// Nor does another revocation, and a node cannot revoke.
	second, err := s.identity("n1")
	if err != nil {
		t.Fatal(err)
	}
	revoke := &signalboxv1.RevokeNodeCertificatesRequest{Node: "n1"}
	if _, err := s.as(nil, s.join).certs.RevokeNodeCertificates(t.Context(), revoke); status.Code(err) != codes.PermissionDenied {
		t.Errorf("a node revokes: %v", err)
	}
	if _, err := admin.certs.RevokeNodeCertificates(t.Context(), revoke); err != nil {
		t.Fatal(err)
	}
	for _, pair := range []*tls.Certificate{stolen, second} {
		if err := connects(t, s.as(pair, ""), "n1"); status.Code(err) != codes.Unauthenticated {
			t.Errorf("revoked again: %v", err)
		}
	}
}

func TestACertificateThatHasEndedIsRefused(t *testing.T) {
	s := newCertified(t, 1, time.Hour)
	key, err := certificate.NewKey()
	if err != nil {
		t.Fatal(err)
	}
	private, err := certificate.EncodeKey(key)
	if err != nil {
		t.Fatal(err)
	}
	for name, c := range map[string]struct {
		made time.Time
		want codes.Code
	}{
		"one that is good":    {time.Now(), codes.OK},
		"one that ended":      {time.Now().Add(-time.Hour), codes.Unavailable}, // TLS ends
		"one of another root": {time.Now(), codes.Unavailable},
	} {
		by := s.authority
		if name == "one of another root" {
			if by, err = pki.NewRoot("nodes", time.Now(), time.Hour); err != nil {
				t.Fatal(err)
			}
		}
		chain, _, err := by.IssueNode(certificate.Node{Name: "n1"}, key.Public(), c.made, 10*time.Minute)
		if err != nil {
			t.Fatal(err)
		}
		pair, err := tls.X509KeyPair(chain, private)
		if err != nil {
			t.Fatal(err)
		}
		if err := connects(t, s.as(&pair, ""), "n1"); status.Code(err) != c.want {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestAStreamEndsWithItsCertificate(t *testing.T) {
	s := newCertified(t, 1, time.Hour)
	key, err := certificate.NewKey()
	if err != nil {
		t.Fatal(err)
	}
	private, err := certificate.EncodeKey(key)
	if err != nil {
		t.Fatal(err)
	}
	chain, _, err := s.authority.IssueNode(certificate.Node{Name: "n1"}, key.Public(), time.Now(), 2*time.Second)
	if err != nil {
		t.Fatal(err)
	}
	pair, err := tls.X509KeyPair(chain, private)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	stream, err := s.as(&pair, "").feed.Connect(ctx)
	if err != nil {
		t.Fatal(err)
	}
	hello := &signalboxv1.Hello{Node: "n1", Epoch: 1}
	if err := stream.Send(&signalboxv1.ConnectRequest{Message: &signalboxv1.ConnectRequest_Hello{Hello: hello}}); err != nil {
		t.Fatal(err)
	}
	for err == nil {
		_, err = stream.Recv()
	}
	if status.Code(err) != codes.Unauthenticated {
		t.Errorf("it ends with %v", err)
	}
}

// An authority for nodes is replaced in its files while everything runs: both
// are trusted, then the new one signs, and once nodes have renewed, the old one
// goes.
func TestTheAuthorityForNodesIsReplacedWithoutLosingANode(t *testing.T) {
	s := newCertified(t, 2, 9*time.Second)
	s.startNode("n1")
	s.live("n1")
	key, err := certificate.NewKey()
	if err != nil {
		t.Fatal(err)
	}
	private, err := certificate.EncodeKey(key)
	if err != nil {
		t.Fatal(err)
	}
	chain, _, err := s.authority.IssueNode(certificate.Node{Name: "n2"}, key.Public(), time.Now(), time.Hour)
	if err != nil {
		t.Fatal(err)
	}
	old, err := tls.X509KeyPair(chain, private)
	if err != nil {
		t.Fatal(err)
	}
	asks := func(ctx context.Context) codes.Code { // what becomes of who has it
		_, err := s.as(&old, "").certs.IssueNodeCertificate(ctx, &signalboxv1.IssueNodeCertificateRequest{Node: "n2", Request: newRequest(t)})
		return status.Code(err)
	}
	// Nodes need no key for it.
	admin := s.as(nil, s.admin)
	if _, err := admin.keys.DeleteApiKey(t.Context(), &signalboxv1.DeleteApiKeyRequest{Name: "node"}); err != nil {
		t.Fatal(err)
	}
	young, err := pki.NewNodeAuthority("nodes 2", time.Now(), time.Hour)
	if err != nil {
		t.Fatal(err)
	}
	if err := young.Save(s.file("young.pem"), s.file("young.key")); err != nil {
		t.Fatal(err)
	}
	signs, err := os.ReadFile(s.file("young.key"))
	if err != nil {
		t.Fatal(err)
	}
	write := func(name string, text ...[]byte) {
		t.Helper()
		if err := os.WriteFile(s.file(name), bytes.Join(text, nil), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	served := func() {
		t.Helper()
		res, err := admin.routes.PutRoute(t.Context(), &signalboxv1.PutRouteRequest{Route: route("r", "/r", "http://127.0.0.1:1"), Wait: signalboxv1.Wait_WAIT_NODES})
		if err != nil || res.GetResult().GetNodesServing() != 1 {
			t.Fatalf("a write: %v, %v", res, err)
		}
	}
	by := func(a *pki.Authority) func(context.Context) error {
		block, _ := pem.Decode(a.Certificate())
		signer, err := x509.ParseCertificate(block.Bytes)
		if err != nil {
			t.Fatal(err)
		}
		return func(context.Context) error {
			served()
			pair, err := s.identity("n1")
			if err == nil {
				err = pair.Leaf.CheckSignatureFrom(signer)
			}
			return err
		}
	}
	write("nodes.pem", s.authority.Certificate(), young.Certificate())
	served()
	write("nodes.key", signs)
	write("nodes.pem", young.Certificate(), s.authority.Certificate())
	eventually(t, "the node has a certificate by the new authority", by(young))
	if code := asks(t.Context()); code != codes.OK {
		t.Errorf("meanwhile, a certificate by the old one is answered %s", code)
	}
	write("nodes.pem", young.Certificate())
	eventually(t, "a certificate by the old one is refused", func(ctx context.Context) error {
		served()
		if asks(ctx) == codes.OK {
			return errors.New("it is good still")
		}
		return nil
	})
	s.live("n1")
	served()
}
