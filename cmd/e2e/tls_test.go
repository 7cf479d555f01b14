//go:build e2e

// Every API and every public listener speaks TLS, and asks for certificates
// where it is told to; without TLS nothing but loopback is listened on, unless
// somebody insists.

package e2e

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"errors"
	"math/big"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/status"

	"signalbox/controlplane/pki"
	signalboxv1 "signalbox/proto/gen/signalbox/v1"
)

// An authority signs certificates for a test.
type authority struct {
	t    *testing.T
	dir  string
	file string // its own certificate
	cert *x509.Certificate
	key  *ecdsa.PrivateKey
}

func newAuthority(t *testing.T, dir, name string) *authority {
	t.Helper()
	a := &authority{t: t, dir: dir}
	a.cert = &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: name}, NotAfter: time.Now().Add(time.Hour),
		IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign,
	}
	a.file, _, a.key = a.write(name, a.cert, nil)
	return a
}

// issue makes a certificate for this machine, of use to servers and clients.
func (a *authority) issue(name string) (certFile, keyFile string) {
	a.t.Helper()
	certFile, keyFile, _ = a.write(name, &x509.Certificate{
		SerialNumber: big.NewInt(time.Now().UnixNano()), Subject: pkix.Name{CommonName: name}, NotAfter: time.Now().Add(time.Hour),
		DNSNames: []string{"localhost"}, IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)},
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth},
	}, a.key)
	return certFile, keyFile
}

// write signs and writes a certificate; signer nil is its own key.
func (a *authority) write(name string, c *x509.Certificate, signer *ecdsa.PrivateKey) (certFile, keyFile string, key *ecdsa.PrivateKey) {
	a.t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		a.t.Fatal(err)
	}
	if signer == nil {
		signer = key
	}
	der, err := x509.CreateCertificate(rand.Reader, c, a.cert, &key.PublicKey, signer)
	if err != nil {
		a.t.Fatal(err)
	}
	private, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		a.t.Fatal(err)
	}
	certFile, keyFile = filepath.Join(a.dir, name+".pem"), filepath.Join(a.dir, name+".key")
	for file, block := range map[string]*pem.Block{certFile: {Type: "CERTIFICATE", Bytes: der}, keyFile: {Type: "PRIVATE KEY", Bytes: private}} {
		if err := os.WriteFile(file, pem.EncodeToMemory(block), 0o600); err != nil {
			a.t.Fatal(err)
		}
	}
	return certFile, keyFile, key
}

// trusting is a client's configuration that trusts the authority, and shows a
// certificate if there is one.
func (a *authority) trusting(certFile, keyFile string) *tls.Config {
	a.t.Helper()
	text, err := os.ReadFile(a.file)
	if err != nil {
		a.t.Fatal(err)
	}
	pool := x509.NewCertPool()
	pool.AppendCertsFromPEM(text)
	c := &tls.Config{RootCAs: pool, MinVersion: tls.VersionTLS12}
	if certFile != "" {
		pair, err := tls.LoadX509KeyPair(certFile, keyFile)
		if err != nil {
			a.t.Fatal(err)
		}
		c.Certificates = []tls.Certificate{pair}
	}
	return c
}

// overTLS is an HTTP client of a configuration.
func overTLS(t *testing.T, c *tls.Config) *http.Client {
	client := newHTTP(t)
	transport, _ := client.Transport.(*http.Transport)
	transport.TLSClientConfig, transport.ForceAttemptHTTP2 = c, true
	return client
}

func TestEverythingOverTLS(t *testing.T) {
	c := &cluster{lab: newLab(t), client: newHTTP(t)}
	c.admin = c.secret("the admin key", rand.Text())
	ca, strangers := newAuthority(t, c.dir, "authority"), newAuthority(t, c.dir, "strangers")
	serverCert, serverKey := ca.issue("server")
	clientCert, clientKey := ca.issue("client")
	strangeCert, strangeKey := strangers.issue("stranger")

	// Both APIs ask for certificates; so does the public listener.
	p := c.addPlane("--grpc-tls-cert", serverCert, "--grpc-tls-key", serverKey, "--grpc-tls-client-ca", ca.file,
		"--api-tls-cert", serverCert, "--api-tls-key", serverKey, "--api-tls-client-ca", ca.file)
	p.start()
	known, anonymous, stranger := ca.trusting(clientCert, clientKey), ca.trusting("", ""), ca.trusting(strangeCert, strangeKey)
	client := overTLS(t, known)
	eventually(t, "the control plane is ready", func(ctx context.Context) error {
		a, err := send(ctx, client, "GET", "https://"+p.api+"/readyz", "")
		if err == nil && a.status != http.StatusOK {
			err = errors.New(a.body)
		}
		return err
	})
	api := dialGRPC(t, p.grpc, c.admin, credentials.NewTLS(known))
	made, err := api.keys.CreateApiKey(t.Context(), &signalboxv1.CreateApiKeyRequest{Key: &signalboxv1.ApiKey{Name: "nodes", Scopes: []string{"node"}}})
	if err != nil {
		t.Fatal(err)
	}
	c.node = c.secret("the nodes' key", made.GetSecret())
	n := c.addNode(true, "--tls-cert", serverCert, "--tls-key", serverKey, "--tls-client-ca", ca.file,
		"--controlplane-ca", ca.file, "--controlplane-cert", clientCert, "--controlplane-cert-key", clientKey)
	n.start()
	c.awaitNode(n)
	to := newUpstream(t, "up")
	rest := &caller{t: t, base: "https://" + p.api, key: c.admin, client: client}
	rest.want(200, "POST", "/v1/routes", `{"route":{"name":"r","match":{"pathPrefix":"/r"},"upstreams":[{"url":"`+to.url+`"}]},"wait":"nodes"}`)
	a, err := send(t.Context(), client, "GET", "https://"+n.public+"/r", "")
	if r := to.asked(); err != nil || a.status != 200 || r.Header.Get("X-Forwarded-Proto") != "https" {
		t.Errorf("public traffic over TLS: %d %v %v", a.status, err, r)
	}

	for name, config := range map[string]*tls.Config{"no certificate": anonymous, "another's certificate": stranger} {
		for what, url := range map[string]string{"the HTTP API": "https://" + p.api + "/readyz", "public traffic": "https://" + n.public + "/r"} {
			if a, err := send(t.Context(), overTLS(t, config), "GET", url, ""); err == nil {
				t.Errorf("%s with %s: got %d %s", what, name, a.status, a.body)
			}
		}
		ctx, cancel := context.WithTimeout(t.Context(), 5*time.Second)
		_, err := dialGRPC(t, p.grpc, c.admin, credentials.NewTLS(config)).routes.ListRoutes(ctx, &signalboxv1.ListRoutesRequest{})
		cancel()
		if c := status.Code(err); c != codes.Unavailable && c != codes.DeadlineExceeded {
			t.Errorf("the gRPC API with %s: got %v", name, err)
		}
	}
	for what, addr := range map[string]string{"the HTTP API": p.api, "public traffic": n.public} {
		if a, err := send(t.Context(), c.client, "GET", "http://"+addr+"/r", ""); err == nil && a.status < 400 {
			t.Errorf("%s in plaintext: got %d %s", what, a.status, a.body)
		}
	}
	// A key is needed all the same.
	if a, err := send(t.Context(), client, "GET", "https://"+p.api+"/v1/routes", ""); err != nil || a.status != 401 {
		t.Errorf("a certificate without a key: got %d %v", a.status, err)
	}
	c.grpcurlOverTLS(p, ca, clientCert, clientKey)
}

// Where nodes have certificates of their own, everybody else can be asked for
// one too; whoever is in the process has none, and needs none.
func TestEverybodyElsewhereShowsACertificate(t *testing.T) {
	l := newLab(t)
	ca := newAuthority(t, l.dir, "authority")
	serverCert, serverKey := ca.issue("server")
	clientCert, clientKey := ca.issue("client")
	nodes, err := pki.NewNodeAuthority("nodes", time.Now(), time.Hour)
	if err == nil {
		err = nodes.Save(filepath.Join(l.dir, "nodes.pem"), filepath.Join(l.dir, "nodes.key"))
	}
	if err != nil {
		t.Fatal(err)
	}
	admin := l.secret("the admin key", rand.Text())
	u := newUp(l, "--grpc-tls-cert", serverCert, "--grpc-tls-key", serverKey, "--grpc-tls-client-ca", ca.file, "--node-ca-cert", "nodes.pem", "--node-ca-key", "nodes.key")
	u.env = append(u.env, "SIGNALBOX_ADMIN_KEY="+admin)
	u.started()
	_, err = dialGRPC(t, u.grpc, admin, credentials.NewTLS(ca.trusting("", ""))).nodes.ListNodes(t.Context(), &signalboxv1.ListNodesRequest{})
	if status.Code(err) != codes.Unauthenticated {
		t.Errorf("the admin key without a certificate: %v", err)
	}

	n := l.process("n2", []string{"SIGNALBOX_KEY=" + admin}, "node", "--id", "n2", "--controlplane", u.grpc, "--controlplane-ca", ca.file, "--identity-dir", "n2", "--listen", freeAddr(t))
	n.start()
	api := freeAddr(t)
	l.process("gateway", nil, "gateway", "--controlplane", u.grpc, "--controlplane-ca", ca.file, "--controlplane-cert", clientCert, "--controlplane-cert-key", clientKey, "--api-listen", api).start()
	for what, addr := range map[string]string{"the gateway in the process": u.api, "a gateway elsewhere": api} {
		eventually(t, what+" shows two nodes that are live", func(ctx context.Context) error {
			a, err := send(ctx, newHTTP(t), "GET", "http://"+addr+"/v1/nodes", "", "Authorization", "Bearer "+admin)
			if err == nil && strings.Count(a.body, "NODE_STATE_LIVE") != 2 {
				err = errors.New(a.body)
			}
			return err
		})
	}
}

// grpcurlOverTLS uses reflection and health as an operator would.
func (c *cluster) grpcurlOverTLS(p *planeProcess, ca *authority, cert, key string) {
	t := ca.t
	t.Run("grpcurl", func(t *testing.T) {
		tool, err := grpcurl(t)
		if err != nil {
			t.Skipf("SKIPPED: grpcurl cannot be built here: %v", err)
		}
		for want, args := range map[string][]string{
			"signalbox.v1.RouteService": {"list"},
			"message Route {":           {"describe", "signalbox.v1.Route"},
			"SERVING":                   {"grpc.health.v1.Health/Check"},
		} {
			args = append([]string{"-cacert", ca.file, "-cert", cert, "-key", key, p.grpc}, args...)
			out, err := exec.CommandContext(t.Context(), tool, args...).CombinedOutput()
			if err != nil || !strings.Contains(string(out), want) {
				t.Errorf("grpcurl %v: %v %s, want %s", args, err, out, want)
			}
		}
	})
}

func TestPlaintextIsForLoopbackUnlessInsistedOn(t *testing.T) {
	for name, args := range map[string][]string{
		"the gRPC API":       {"up", "--grpc-listen", "0.0.0.0:0"},
		"the HTTP API":       {"up", "--api-listen", "0.0.0.0:0"},
		"a gateway":          {"gateway", "--api-listen", "0.0.0.0:0"},
		"an etcd":            {"etcd", "--data-dir", "etcd", "--listen-client", "http://0.0.0.0:0"},
		"a node's admin end": {"node", "--controlplane", "127.0.0.1:1", "--key", "k", "--listen", "127.0.0.1:0", "--admin-listen", "0.0.0.0:0"},
	} {
		t.Run(name, func(t *testing.T) {
			l := newLab(t)
			p := l.process("refused", nil, args...)
			p.start()
			select {
			case <-p.ended:
			case <-time.After(patience):
				t.Fatalf("it runs: %s", tail(p.log, 10))
			}
			if code := p.cmd.ProcessState.ExitCode(); code == 0 {
				t.Errorf("it exits with %d: %s", code, tail(p.log, 10))
			}
		})
	}
	t.Run("a node keeps its key to itself", func(t *testing.T) {
		l := newLab(t)
		// The address is no machine's (RFC 5737); nobody is asked.
		p := l.process("node", nil, "node", "--controlplane", "192.0.2.1:8002", "--key", "k", "--listen", "127.0.0.1:0")
		p.start()
		eventually(t, "it says why it does not join", func(context.Context) error {
			if log := string(tail(p.log, 10)); !strings.Contains(log, "without TLS the key would travel there in the clear") {
				return errors.New(log)
			}
			return nil
		})
	})
	t.Run("insisted on, it listens", func(t *testing.T) {
		l := newLab(t)
		u := newUp(l)
		u.args = append(u.args, "--allow-plaintext", "--api-listen", "0.0.0.0:"+port(u.api), "--grpc-listen", "0.0.0.0:"+port(u.grpc))
		u.started()
	})
}

func port(addr string) string {
	_, p, _ := net.SplitHostPort(addr)
	return p
}
