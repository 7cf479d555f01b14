package feed

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"math/big"
	"net"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials"
)

// An authority signs certificates.
type authority struct {
	t    *testing.T
	cert *x509.Certificate
	key  *ecdsa.PrivateKey
	pool *x509.CertPool
}

func newAuthority(t *testing.T) *authority {
	a := &authority{t: t, pool: x509.NewCertPool()}
	own := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "test"}, IsCA: true, BasicConstraintsValid: true,
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour), KeyUsage: x509.KeyUsageCertSign,
	}
	pair := a.sign(own)
	cert, err := x509.ParseCertificate(pair.Certificate[0])
	if err != nil {
		t.Fatal(err)
	}
	a.cert, a.key = cert, pair.PrivateKey.(*ecdsa.PrivateKey)
	a.pool.AddCert(cert)
	return a
}

// sign signs a certificate, by itself if there is no authority yet.
func (a *authority) sign(c *x509.Certificate) tls.Certificate {
	a.t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		a.t.Fatal(err)
	}
	parent, signer := a.cert, a.key
	if parent == nil {
		parent, signer = c, key
	}
	der, err := x509.CreateCertificate(rand.Reader, c, parent, &key.PublicKey, signer)
	if err != nil {
		a.t.Fatal(err)
	}
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}
}

// leaf is a certificate for a host.
func (a *authority) leaf(host string) tls.Certificate {
	return a.sign(&x509.Certificate{
		SerialNumber: big.NewInt(2), Subject: pkix.Name{CommonName: host}, DNSNames: []string{host},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth},
	})
}

// A control plane's certificate must be for the host of the seed, whatever
// address that stands for, and the node shows its own.
func TestClientUsesTLSBothWays(t *testing.T) {
	ca := newAuthority(t)
	p := newPlane(t, "cp1", grpc.Creds(credentials.NewTLS(&tls.Config{
		Certificates: []tls.Certificate{ca.leaf("localhost")}, ClientCAs: ca.pool, ClientAuth: tls.RequireAndVerifyClientCert,
	})))
	_, port, err := net.SplitHostPort(p.serve())
	if err != nil {
		t.Fatal(err)
	}
	r := newRig(t, "localhost:"+port)
	r.conf.TLS = &tls.Config{RootCAs: ca.pool, Certificates: []tls.Certificate{ca.leaf("n")}}
	r.start()
	p.session().feed()
}
