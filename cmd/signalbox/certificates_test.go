package main

import (
	"context"
	"crypto/tls"
	"errors"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	healthv1 "google.golang.org/grpc/health/grpc_health_v1"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"

	"signalbox/controlplane/pki"
	"signalbox/node/certfile"
	"signalbox/proto/certificate"
	signalboxv1 "signalbox/proto/gen/signalbox/v1"
)

// A folder has the certificates of an installation, or of a stranger's.
type folder string

// newFolder makes authorities, and certificates of a control plane and of an
// operator.
func newFolder(t *testing.T) folder {
	t.Helper()
	dir := filepath.Join(t.TempDir(), "pki")
	for _, args := range []string{"init", "issue cp --host 127.0.0.1", "issue operator"} {
		if err := outcome(t.Context(), append([]string{"pki", "--dir", dir}, strings.Fields(args)...)...); err != nil {
			t.Fatal(err)
		}
	}
	return folder(dir)
}

func (f folder) file(name string) string { return filepath.Join(string(f), name) }

// node writes a certificate of a node, by one of the authorities.
func (f folder) node(t *testing.T, name, authority string) {
	t.Helper()
	by, err := pki.Load(inFolder(string(f), authority))
	if err != nil {
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
	chain, _, err := by.IssueNode(certificate.Node{Name: "n1"}, key.Public(), time.Now(), time.Hour)
	if err != nil {
		t.Fatal(err)
	}
	certFile, keyFile := inFolder(string(f), name)
	if err := pki.WritePair(certFile, chain, keyFile, private); err != nil {
		t.Fatal(err)
	}
}

// serve runs a control plane that knows nodes by one authority and asks all
// others for a certificate of the other.
func (f folder) serve(t *testing.T) (addr string) {
	t.Helper()
	return f.serveFor(t, f.file("ca.pem"))
}

// serveFor is serve for clients of an authority, empty for asking none.
func (f folder) serveFor(t *testing.T, clients string) (addr string) {
	t.Helper()
	p := planeFlags{grpc: "127.0.0.1:0", admin: adminKey, nodes: nodeCAFlags{cert: f.file("nodes-ca.pem"), key: f.file("nodes-ca.key"), life: time.Hour}}
	p.grpcTLS.Server = certfile.Server{Cert: f.file("cp.pem"), Key: f.file("cp.key"), ClientCA: clients}
	addr, _ = servePlane(t, t.TempDir(), p)
	if err := reach(t.Context(), f.as(t, addr, ""), []string{addr}, 30*time.Second); err != nil {
		t.Fatal(err)
	}
	return addr
}

// as connects, with a certificate if it has a name.
func (f folder) as(t *testing.T, addr, cert string) *grpc.ClientConn {
	t.Helper()
	files := certfile.Client{CA: f.file("ca.pem")}
	if cert != "" {
		files.Cert, files.Key = inFolder(string(f), cert)
	}
	conf, err := files.Config()
	if err != nil {
		t.Fatal(err)
	}
	conn, err := dial([]string{addr}, conf, everyReplica)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = conn.Close() })
	return conn
}

// asked are the calls of the table: one that anybody needs, one of everybody's,
// an operator's and a node's.
var asked = map[string]func(context.Context, *testing.T, *grpc.ClientConn) error{
	"IssueNodeCertificate": func(ctx context.Context, t *testing.T, conn *grpc.ClientConn) error {
		key, err := certificate.NewKey()
		if err != nil {
			t.Fatal(err)
		}
		request, err := certificate.NewRequest(key)
		if err != nil {
			t.Fatal(err)
		}
		_, err = signalboxv1.NewCertificateServiceClient(conn).IssueNodeCertificate(ctx, &signalboxv1.IssueNodeCertificateRequest{Node: "n1", Request: request})
		return err
	},
	"health": func(ctx context.Context, _ *testing.T, conn *grpc.ClientConn) error {
		_, err := healthv1.NewHealthClient(conn).Check(ctx, new(healthv1.HealthCheckRequest))
		return err
	},
	"ListRoutes": func(ctx context.Context, _ *testing.T, conn *grpc.ClientConn) error {
		_, err := signalboxv1.NewRouteServiceClient(conn).ListRoutes(ctx, new(signalboxv1.ListRoutesRequest))
		return err
	},
	"Connect": func(ctx context.Context, _ *testing.T, conn *grpc.ClientConn) error {
		stream, err := signalboxv1.NewFeedServiceClient(conn).Connect(ctx)
		if err == nil {
			hello := &signalboxv1.Hello{Node: "n1", Epoch: time.Now().UnixNano()}
			err = stream.Send(&signalboxv1.ConnectRequest{Message: &signalboxv1.ConnectRequest_Hello{Hello: hello}})
		}
		if err == nil || errors.Is(err, io.EOF) { // which tells nothing: Recv does
			_, err = stream.Recv()
		}
		return err
	},
}

const (
	letIn    = codes.OK
	unknown  = codes.Unauthenticated
	denied   = codes.PermissionDenied
	cannotBe = codes.Unavailable // TLS ends
)

// A certificate opens the door, the key decides what may be done; a node's is
// for the node alone, and nodes get their first by a key.
func TestWhoMayCallWithWhichCertificate(t *testing.T) {
	f, strange := newFolder(t), newFolder(t)
	f.node(t, "n1", nodesName)
	f.node(t, "pretender", rootName)
	for _, end := range []string{".pem", ".key"} {
		b, err := os.ReadFile(strange.file("operator" + end))
		if err == nil {
			err = os.WriteFile(f.file("stranger"+end), b, 0o600)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	addr := f.serve(t)
	type row struct{ issue, health, list, connect codes.Code }
	for _, c := range []struct {
		cert, key string
		want      row
	}{
		{"", "", row{unknown, letIn, unknown, unknown}},
		{"", adminKey, row{letIn, letIn, unknown, unknown}},
		{"operator", "", row{unknown, letIn, unknown, unknown}},
		{"operator", "wrong", row{unknown, letIn, unknown, unknown}},
		{"operator", adminKey, row{letIn, letIn, letIn, denied}},
		{"n1", "", row{letIn, letIn, denied, letIn}},
		{"n1", adminKey, row{letIn, letIn, unknown, unknown}},
		{"pretender", "", row{unknown, letIn, unknown, unknown}},
		{"pretender", adminKey, row{letIn, letIn, unknown, unknown}},
		{"stranger", adminKey, row{cannotBe, cannotBe, cannotBe, cannotBe}},
	} {
		conn := f.as(t, addr, c.cert)
		for method, want := range map[string]codes.Code{
			"IssueNodeCertificate": c.want.issue, "health": c.want.health, "ListRoutes": c.want.list, "Connect": c.want.connect,
		} {
			ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
			if c.key != "" {
				ctx = metadata.AppendToOutgoingContext(ctx, "x-api-key", c.key)
			}
			err := asked[method](ctx, t, conn)
			cancel()
			if status.Code(err) != want {
				t.Errorf("%s with the certificate %q and the key %q: %v, want %v", method, c.cert, c.key, err, want)
			}
			if c.key == adminKey && want == unknown && reasonOf(status.Convert(err)) == "" {
				t.Errorf("%s with the certificate %q: %v does not say that it is for want of another", method, c.cert, err)
			}
		}
	}
}

// Whoever calls without a certificate is told by which flags to show one, and
// whoever shows one needs the key all the same.
func TestOperatorsShowACertificate(t *testing.T) {
	f := newFolder(t)
	addr := f.serve(t)
	trust := []string{"route", "list", "--controlplane-ca", f.file("ca.pem")}
	shown := slices.Concat(trust, []string{"--controlplane-cert", f.file("operator.pem"), "--controlplane-cert-key", f.file("operator.key")})
	for says, args := range map[string][]string{
		"give --controlplane-cert and --controlplane-cert-key": trust,
		"an API key is needed":                                 slices.Concat(shown, []string{"--key", ""}),
		"key is not valid":                                     slices.Concat(shown, []string{"--key", "wrong"}),
		"":                                                     shown,
	} {
		_, err := told(t, addr, args...)
		if says == "" && err != nil || says != "" && (exitCode(err) != exitRefused || !strings.Contains(describe(err), says)) {
			t.Errorf("%v: %v, want %q", args, err, says)
		}
	}
	strange := newFolder(t)
	_, err := told(t, addr, slices.Concat(trust, []string{"--connect-timeout", "2s", "--controlplane-cert", strange.file("operator.pem"), "--controlplane-cert-key", strange.file("operator.key")})...)
	if exitCode(err) != exitUnavailable || !strings.Contains(describe(err), "--controlplane-cert)") {
		t.Errorf("with a certificate of somebody else's: %v", err)
	}
	if said, err := askHealth(t.Context(), "grpcs://"+addr, certfile.Client{CA: f.file("ca.pem")}); err != nil {
		t.Errorf("its health, without a certificate: %s, %v", said, err)
	}
}

// A gateway elsewhere shows its own certificate, for all who call through it.
func TestAGatewayShowsItsCertificate(t *testing.T) {
	f := newFolder(t)
	addr := f.serve(t)
	client := &http.Client{Transport: &http.Transport{DisableKeepAlives: true}, Timeout: 30 * time.Second}
	for want, args := range map[int][]string{
		http.StatusUnauthorized: nil,
		http.StatusOK:           {"--controlplane-cert", f.file("operator.pem"), "--controlplane-cert-key", f.file("operator.key")},
	} {
		base := runGateway(t, append(args, "--controlplane", addr, "--controlplane-ca", f.file("ca.pem"))...)
		req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, base+"/v1/routes", nil)
		if err != nil {
			t.Fatal(err)
		}
		req.Header.Set("Authorization", "Bearer "+adminKey)
		res, err := client.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		body, _ := io.ReadAll(res.Body)
		_ = res.Body.Close()
		if res.StatusCode != want || want != http.StatusOK && !strings.Contains(string(body), "client certificate") {
			t.Errorf("with %q: %d %s, want %d", args, res.StatusCode, body, want)
		}
	}
}

// runGateway runs one until the test ends, and returns its URL.
func runGateway(t *testing.T, args ...string) string {
	t.Helper()
	log, write := io.Pipe()
	root := newRoot()
	root.SetArgs(append([]string{"gateway", "--api-listen", "127.0.0.1:0"}, args...))
	root.SetErr(write)
	ctx, stop := context.WithCancel(context.Background())
	var running sync.WaitGroup
	running.Go(func() {
		_ = write.CloseWithError(root.ExecuteContext(ctx))
	})
	found := make(chan string, 1)
	running.Go(func() {
		said := make([]byte, 0, 1<<10)
		for buf := make([]byte, 1<<10); ; {
			n, err := log.Read(buf)
			said = append(said, buf[:n]...)
			if at := regexp.MustCompile(`HTTP APIs listening.*(127\.0\.0\.1:\d+)`).FindSubmatch(said); at != nil {
				select {
				case found <- "http://" + string(at[1]):
				default:
				}
			}
			if err != nil {
				close(found)
				return
			}
		}
	})
	t.Cleanup(func() {
		stop()
		running.Wait()
	})
	base, ok := <-found
	if !ok {
		t.Fatal("the gateway does not listen")
	}
	return base
}

// Whose certificates are taken is read again: an authority is replaced while
// callers who are connected go on.
func TestTheAuthorityOfClientsIsReplacedWhileItServes(t *testing.T) {
	f, next := newFolder(t), newFolder(t)
	addr := f.serve(t)
	list := func(conn *grpc.ClientConn) error {
		ctx, cancel := context.WithTimeout(metadata.AppendToOutgoingContext(t.Context(), "x-api-key", adminKey), 30*time.Second)
		defer cancel()
		return asked["ListRoutes"](ctx, t, conn)
	}
	connected := f.as(t, addr, "operator")
	if err := list(connected); err != nil {
		t.Fatal(err)
	}
	theirs, err := next.pair("operator")
	if err != nil {
		t.Fatal(err)
	}
	b, err := os.ReadFile(next.file("ca.pem"))
	if err != nil {
		t.Fatal(err)
	}
	trusted := certfile.Client{CA: f.file("was.pem")} // the server's stays
	if err := os.Rename(f.file("ca.pem"), trusted.CA); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(f.file("ca.pem"), b, 0o600); err != nil {
		t.Fatal(err)
	}
	soon(t, func() error {
		conf, err := trusted.Config()
		if err != nil {
			t.Fatal(err)
		}
		conf.Certificates = []tls.Certificate{theirs}
		conn, err := dial([]string{addr}, conf, everyReplica)
		if err != nil {
			t.Fatal(err)
		}
		defer func() { _ = conn.Close() }()
		return list(conn)
	})
	if err := list(connected); err != nil {
		t.Errorf("who was connected: %v", err)
	}
}

// soon tries something until it succeeds.
func soon(t *testing.T, try func() error) {
	t.Helper()
	patience, again := time.After(30*time.Second), time.NewTicker(50*time.Millisecond)
	defer again.Stop()
	for {
		err := try()
		if err == nil {
			return
		}
		select {
		case <-again.C:
		case <-patience:
			t.Fatal(err)
		}
	}
}

// Clients' certificates are taken before they are asked for, where their
// authority is put behind that of nodes: so nobody is refused while everybody
// gets one.
func TestClientsHaveCertificatesBeforeTheyAreAskedForThem(t *testing.T) {
	f := newFolder(t)
	addr := f.serveFor(t, "")
	f.node(t, "n1", nodesName)
	ctx, cancel := context.WithTimeout(metadata.AppendToOutgoingContext(t.Context(), "x-api-key", adminKey), time.Minute)
	defer cancel()
	if err := asked["ListRoutes"](ctx, t, f.as(t, addr, "")); err != nil {
		t.Errorf("without a certificate: %v", err)
	}
	if err := asked["ListRoutes"](ctx, t, f.as(t, addr, "operator")); status.Code(err) != cannotBe {
		t.Errorf("with one that is not trusted: %v", err)
	}
	both, err := os.ReadFile(f.file("nodes-ca.pem"))
	if err != nil {
		t.Fatal(err)
	}
	more, err := os.ReadFile(f.file("ca.pem"))
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(f.file("nodes-ca.pem"), append(both, more...), 0o600); err != nil {
		t.Fatal(err)
	}
	soon(t, func() error { return asked["ListRoutes"](ctx, t, f.as(t, addr, "operator")) })
	if err := asked["ListRoutes"](ctx, t, f.as(t, addr, "")); err != nil {
		t.Errorf("without a certificate: %v", err)
	}
	n1 := f.as(t, addr, "n1")
	if err := asked["Connect"](t.Context(), t, n1); err != nil {
		t.Errorf("a node: %v", err)
	}
}

func (f folder) pair(name string) (tls.Certificate, error) {
	return tls.LoadX509KeyPair(inFolder(string(f), name))
}
