package etcd_test

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"

	"signalbox/store"
	"signalbox/store/etcd"
	"signalbox/store/etcd/embedded"
)

func TestTwoPrefixesAreTwoStores(t *testing.T) {
	t.Parallel()
	m := member(t, embedded.Config{})
	one := open(t, etcd.Config{Endpoints: m.ClientAddrs(), Prefix: "/one"})
	two := open(t, etcd.Config{Endpoints: m.ClientAddrs(), Prefix: "/two"})
	tb := follow(t, two)
	tb.first()
	commit(t, one, route("a", "one"))
	rev := commit(t, two, route("b", "one"))
	tb.reach(head(t, two))
	if len(tb.routes) != 1 || tb.version.Revision != rev || head(t, one).Epoch == tb.version.Epoch {
		t.Errorf("a follower of the second sees %v at %+v", tb.routes, tb.version)
	}
	if _, err := etcd.Open(etcd.Config{Endpoints: m.ClientAddrs(), Prefix: strings.Repeat("p", 65)}); err == nil {
		t.Error("a prefix of 65 bytes is no error")
	}
	if _, err := etcd.Open(etcd.Config{}); err == nil {
		t.Error("no endpoints are no error")
	}
}

func TestEtcdCanAskForAPassword(t *testing.T) {
	t.Parallel()
	m := member(t, embedded.Config{})
	c := m.Client()
	ctx := t.Context()
	for _, err := range []error{
		second(c.UserAdd(ctx, "root", "r")),
		second(c.UserGrantRole(ctx, "root", "root")),
		second(c.UserAdd(ctx, "signalbox", "secret")),
		second(c.RoleAdd(ctx, "signalbox")),
		second(c.RoleGrantPermission(ctx, "signalbox", "/one/signalbox/", "/one/signalbox0", clientv3.PermissionType(clientv3.PermReadWrite))),
		second(c.UserGrantRole(ctx, "signalbox", "signalbox")),
		second(c.AuthEnable(ctx)),
	} {
		if err != nil {
			t.Fatal(err)
		}
	}
	cfg := etcd.Config{Endpoints: m.ClientAddrs(), Prefix: "/one", Username: "signalbox", Password: "secret"}
	k := open(t, cfg)
	tb := follow(t, k)
	tb.first()
	commit(t, k, route("a", "one"))
	tb.reach(head(t, k))
	session, err := k.Session(ctx, time.Minute)
	if err != nil {
		t.Fatal(err)
	}
	if err := session.Put(ctx, "n", nil); err != nil {
		t.Error(err)
	}
	if err := session.Close(ctx); err != nil {
		t.Error(err)
	}

	cfg.Prefix = "/two"
	_, err = open(t, cfg).Commit(ctx, route("a", "one"))
	if err == nil || !strings.Contains(err.Error(), "permission denied") || strings.Contains(err.Error(), store.ErrUnavailable.Error()) {
		t.Errorf("outside what is permitted: %v", err)
	}
	cfg.Password = "wrong"
	_, err = open(t, cfg).Head(ctx)
	if err == nil || !strings.Contains(err.Error(), "authentication failed") || strings.Contains(err.Error(), "wrong") {
		t.Errorf("with a wrong password: %v", err)
	}
}

// second drops an answer.
func second[T any](_ T, err error) error { return err }

func TestEtcdCanBeReachedWithTLSAlone(t *testing.T) {
	t.Parallel()
	files, conf := certificate(t)
	m := member(t, embedded.Config{ListenClientURLs: []string{"https://127.0.0.1:0"}, ClientTLS: files})
	k := open(t, etcd.Config{Endpoints: []string{"https://" + m.ClientAddrs()[0]}, TLS: conf})
	tb := follow(t, k)
	tb.first()
	commit(t, k, route("a", "one"))
	tb.reach(head(t, k))

	port := m.ClientAddrs()[0][strings.LastIndexByte(m.ClientAddrs()[0], ':'):]
	elsewhere := conf.Clone()
	elsewhere.ServerName = "etcd.internal"
	commit(t, open(t, etcd.Config{Endpoints: []string{"https://localhost" + port}, TLS: elsewhere}), route("a", "two"))

	conf = conf.Clone()
	conf.Certificates = nil
	stranger := open(t, etcd.Config{Endpoints: []string{"https://" + m.ClientAddrs()[0]}, TLS: conf})
	ctx, cancel := contextFor(t, time.Second)
	defer cancel()
	if _, err := stranger.Head(ctx); err == nil {
		t.Error("a stranger without a certificate is let in")
	}
}

// certificate makes one that signs itself, as files for a member and as the
// configuration of a client.
func certificate(t *testing.T) (embedded.TLS, *tls.Config) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber:          big.NewInt(1),
		Subject:               pkix.Name{CommonName: "test"},
		NotAfter:              time.Now().Add(time.Hour),
		IPAddresses:           []net.IP{net.IPv4(127, 0, 0, 1)},
		DNSNames:              []string{"etcd.internal"},
		IsCA:                  true,
		BasicConstraintsValid: true,
		KeyUsage:              x509.KeyUsageDigitalSignature | x509.KeyUsageCertSign,
		ExtKeyUsage:           []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth},
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	keyDER, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	files := embedded.TLS{
		CertFile: filepath.Join(dir, "cert.pem"),
		KeyFile:  filepath.Join(dir, "key.pem"),
		CAFile:   filepath.Join(dir, "cert.pem"),
	}
	certPEM := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})
	keyPEM := pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: keyDER})
	for file, data := range map[string][]byte{files.CertFile: certPEM, files.KeyFile: keyPEM} {
		if err := os.WriteFile(file, data, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	pair, err := tls.X509KeyPair(certPEM, keyPEM)
	if err != nil {
		t.Fatal(err)
	}
	roots := x509.NewCertPool()
	roots.AppendCertsFromPEM(certPEM)
	return files, &tls.Config{Certificates: []tls.Certificate{pair}, RootCAs: roots}
}
