package node

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
	"testing"
	"time"
)

// A signer makes certificates in files of a folder.
type signer struct {
	t    *testing.T
	dir  string
	cert *x509.Certificate
	key  *ecdsa.PrivateKey
	pool *x509.CertPool
}

func newSigner(t *testing.T) *signer {
	s := &signer{t: t, dir: t.TempDir(), pool: x509.NewCertPool()}
	s.cert, s.key = s.make("ca", 1)
	s.pool.AddCert(s.cert)
	return s
}

// file is the path of a certificate or key.
func (s *signer) file(name string) string { return filepath.Join(s.dir, name) }

// make writes name.pem and name.key; the first one is the authority.
func (s *signer) make(name string, serial int64) (*x509.Certificate, *ecdsa.PrivateKey) {
	s.t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		s.t.Fatal(err)
	}
	c := &x509.Certificate{
		SerialNumber: big.NewInt(serial), Subject: pkix.Name{CommonName: name}, DNSNames: []string{"localhost"},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
		IsCA: s.cert == nil, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign | x509.KeyUsageDigitalSignature,
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth},
	}
	parent, by := s.cert, s.key
	if parent == nil {
		parent, by = c, key
	}
	der, err := x509.CreateCertificate(rand.Reader, c, parent, &key.PublicKey, by)
	if err != nil {
		s.t.Fatal(err)
	}
	private, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		s.t.Fatal(err)
	}
	s.write(name+".pem", pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}))
	s.write(name+".key", pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: private}))
	cert, err := x509.ParseCertificate(der)
	if err != nil {
		s.t.Fatal(err)
	}
	return cert, key
}

func (s *signer) write(name string, b []byte) {
	s.t.Helper()
	if err := os.WriteFile(s.file(name), b, 0o600); err != nil {
		s.t.Fatal(err)
	}
}

// pair reads a certificate.
func (s *signer) pair(name string) tls.Certificate {
	s.t.Helper()
	pair, err := tls.LoadX509KeyPair(s.file(name+".pem"), s.file(name+".key"))
	if err != nil {
		s.t.Fatal(err)
	}
	return pair
}

func TestListenerSpeaksTLSToClientsItKnows(t *testing.T) {
	s := newSigner(t)
	s.make("server", 2)
	s.make("client", 3)
	p := newPlane(t, "cp1")
	n := start(t, Config{ControlPlanes: []string{p.addr}, Listeners: map[string]Listener{"public": {
		Addr: "127.0.0.1:0", CertFile: s.file("server.pem"), KeyFile: s.file("server.key"), ClientCAFile: s.file("ca.pem"),
	}}})
	shake := func(conf *tls.Config) (tls.ConnectionState, error) {
		conf.RootCAs, conf.ServerName = s.pool, "localhost"
		c, err := net.Dial("tcp", n.Addr("public"))
		if err != nil {
			t.Fatal(err)
		}
		defer func() { _ = c.Close() }()
		conn := tls.Client(c, conf)
		if err := conn.HandshakeContext(t.Context()); err != nil {
			return tls.ConnectionState{}, err
		}
		// A refused certificate is only told with the first byte read.
		if conn.ConnectionState().NegotiatedProtocol != "h2" { // there the server speaks first
			if _, err := conn.Write([]byte("GET / HTTP/1.1\r\nHost: a\r\n\r\n")); err != nil {
				return tls.ConnectionState{}, err
			}
		}
		_, err = conn.Read(make([]byte, 1))
		return conn.ConnectionState(), err
	}
	if _, err := shake(&tls.Config{}); err == nil {
		t.Error("a client without a certificate is let in")
	}
	state, err := shake(&tls.Config{Certificates: []tls.Certificate{s.pair("client")}})
	if err != nil || state.PeerCertificates[0].SerialNumber.Int64() != 2 {
		t.Errorf("a client with a certificate gets %v", err)
	}
	state, err = shake(&tls.Config{Certificates: []tls.Certificate{s.pair("client")}, NextProtos: []string{"h2"}})
	if err != nil || state.NegotiatedProtocol != "h2" {
		t.Errorf("negotiated is %q, %v; want h2", state.NegotiatedProtocol, err)
	}
}

func TestCertificateIsReadAgainWhenItChanges(t *testing.T) {
	s := newSigner(t)
	s.make("server", 2)
	failures := 0
	c := &certificate{certFile: s.file("server.pem"), keyFile: s.file("server.key"), failed: func(error) { failures++ }}
	serial := func() int64 {
		t.Helper()
		c.looked = time.Time{} // as if a while had passed
		pair, err := c.get()
		if err != nil {
			t.Fatal(err)
		}
		return pair.Leaf.SerialNumber.Int64()
	}
	if got := serial(); got != 2 {
		t.Errorf("the serial is %d, want 2", got)
	}
	s.make("server", 1_000_003)
	if got := serial(); got != 1_000_003 {
		t.Errorf("after a change the serial is %d, want 1000003", got)
	}
	s.write("server.pem", []byte("nonsense"))
	if got := serial(); got != 1_000_003 || failures != 1 {
		t.Errorf("with nonsense in the file the serial is %d, and %d failures were told", got, failures)
	}
	if serial(); failures != 1 {
		t.Error("the same nonsense is told twice")
	}
	if _, err := (&certificate{certFile: s.file("server.pem"), keyFile: s.file("server.key")}).get(); err == nil {
		t.Error("nonsense is taken at the start")
	}
}

func TestTrustIsReadAgainWhenItChanges(t *testing.T) {
	s, other := newSigner(t), newSigner(t)
	failures := 0
	tr := &trust{caFile: s.file("ca.pem"), base: &tls.Config{MinVersion: tls.VersionTLS13}, failed: func(error) { failures++ }}
	get := func() *tls.Config {
		t.Helper()
		tr.looked = time.Time{}
		conf, err := tr.get()
		if err != nil {
			t.Fatal(err)
		}
		return conf
	}
	if conf := get(); !conf.ClientCAs.Equal(s.pool) || conf.ClientAuth != tls.RequireAndVerifyClientCert || conf != get() {
		t.Error("the first file is not what is trusted, or is read again")
	}
	s.write("ca.pem", []byte("nonsense"))
	if conf := get(); !conf.ClientCAs.Equal(s.pool) || failures != 1 {
		t.Errorf("nonsense took the place of what was trusted; %d failures were told", failures)
	}
	ca, err := os.ReadFile(other.file("ca.pem"))
	if err != nil {
		t.Fatal(err)
	}
	s.write("ca.pem", ca)
	if !get().ClientCAs.Equal(other.pool) {
		t.Error("the new file is not what is trusted")
	}
}
