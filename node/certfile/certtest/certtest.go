// Package certtest makes certificates for tests.
package certtest

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

// A Signer makes certificates in files of a folder.
type Signer struct {
	// Pool holds the authority.
	Pool *x509.CertPool

	t    testing.TB
	dir  string
	cert *x509.Certificate
	key  *ecdsa.PrivateKey
}

// New returns a signer; its authority is in the files ca.pem and ca.key.
func New(t testing.TB) *Signer {
	t.Helper()
	s := &Signer{t: t, dir: t.TempDir(), Pool: x509.NewCertPool()}
	s.cert, s.key = s.make("ca", 1)
	s.Pool.AddCert(s.cert)
	return s
}

// File is the path of a certificate or key.
func (s *Signer) File(name string) string { return filepath.Join(s.dir, name) }

// Make writes NAME.pem and NAME.key, for localhost and the loopback address.
func (s *Signer) Make(name string, serial int64) { s.make(name, serial) }

func (s *Signer) make(name string, serial int64) (*x509.Certificate, *ecdsa.PrivateKey) {
	s.t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		s.t.Fatal(err)
	}
	c := &x509.Certificate{
		SerialNumber: big.NewInt(serial), Subject: pkix.Name{CommonName: name}, DNSNames: []string{"localhost"}, IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)},
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
	s.Write(name+".pem", pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}))
	s.Write(name+".key", pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: private}))
	cert, err := x509.ParseCertificate(der)
	if err != nil {
		s.t.Fatal(err)
	}
	return cert, key
}

// Write writes a file.
func (s *Signer) Write(name string, b []byte) {
	s.t.Helper()
	if err := os.WriteFile(s.File(name), b, 0o600); err != nil {
		s.t.Fatal(err)
	}
}

// Pair reads a certificate.
func (s *Signer) Pair(name string) tls.Certificate {
	s.t.Helper()
	pair, err := tls.LoadX509KeyPair(s.File(name+".pem"), s.File(name+".key"))
	if err != nil {
		s.t.Fatal(err)
	}
	return pair
}
