package pki

import (
	"bytes"
	"crypto"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"errors"
	"fmt"
	"math/big"
	"net"
	"slices"
	"time"

	"signalbox/proto/certificate"
)

// An Authority signs certificates. It is safe for concurrent use.
type Authority struct {
	cert  *x509.Certificate
	key   crypto.Signer
	chain []byte // what goes after a certificate of its, PEM; empty for a root
	// trusted are the authorities in the file that it was read from, itself
	// among them; nil if it was not read.
	trusted []*x509.Certificate
}

// NewRoot returns an authority that nobody stands above. Its key is new.
func NewRoot(name string, now time.Time, life time.Duration) (*Authority, error) {
	return newAuthority(authorityTemplate(name), now, life)
}

// NewNodeAuthority returns an authority that can sign nodes only. Nobody stands
// above it, so that a node is known to those alone who are given this authority,
// and to nobody who trusts what signs servers. Its key is new.
func NewNodeAuthority(name string, now time.Time, life time.Duration) (*Authority, error) {
	c := authorityTemplate(name)
	c.MaxPathLenZero = true
	// Verifiers hold what is below to this (RFC 5280, section 4.2.1.12 says it
	// of certificates; Go, OpenSSL and others say it of whole chains).
	c.ExtKeyUsage = []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth}
	return newAuthority(c, now, life)
}

// newAuthority makes an authority of a template, signed by itself.
func newAuthority(c *x509.Certificate, now time.Time, life time.Duration) (*Authority, error) {
	key, err := certificate.NewKey()
	if err != nil {
		return nil, err
	}
	cert, err := sign(c, c, key.Public(), key, now, life)
	if err != nil {
		return nil, err
	}
	return &Authority{cert: cert, key: key}, nil
}

// Certificate is the authority's own, PEM.
func (a *Authority) Certificate() []byte { return encode(a.cert) }

// Signed reports whether a chain of certificates, which was verified, ends at or
// goes through this authority, or one that was in the same file: who replaces an
// authority trusts the old one still.
func (a *Authority) Signed(chains [][]*x509.Certificate) bool {
	return slices.ContainsFunc(slices.Concat(chains...), func(c *x509.Certificate) bool {
		return c.Equal(a.cert) || slices.ContainsFunc(a.trusted, c.Equal)
	})
}

// A Party is what a certificate says of its holder.
type Party struct {
	// Name is the common name; it decides nothing but in etcd, where it is the
	// user.
	Name string
	// Hosts are the DNS names and IP addresses a server is reached at. A party
	// without any is a client only.
	Hosts []string
}

// Issue signs a certificate for the holder of a public key, who is a client
// and, if it has hosts, a server too. The answer is the certificate and those
// between it and the root, PEM.
func (a *Authority) Issue(p Party, public crypto.PublicKey, now time.Time, life time.Duration) ([]byte, error) {
	if p.Name == "" {
		return nil, errors.New("a certificate needs a name")
	}
	if len(a.cert.ExtKeyUsage) > 0 {
		return nil, fmt.Errorf("the authority %q signs nodes only", a.cert.Subject.CommonName)
	}
	c := &x509.Certificate{
		Subject:     pkix.Name{CommonName: p.Name},
		KeyUsage:    x509.KeyUsageDigitalSignature,
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth},
	}
	for _, host := range p.Hosts {
		if ip := net.ParseIP(host); ip != nil {
			c.IPAddresses = append(c.IPAddresses, ip)
		} else {
			c.DNSNames = append(c.DNSNames, host)
		}
	}
	if len(p.Hosts) > 0 {
		c.ExtKeyUsage = append(c.ExtKeyUsage, x509.ExtKeyUsageServerAuth)
	}
	return a.issue(c, public, now, life)
}

// IssueNode signs a certificate that makes its holder that node until
// end: after life, or when the authority itself ends.
func (a *Authority) IssueNode(n certificate.Node, public crypto.PublicKey, now time.Time, life time.Duration) (chain []byte, end time.Time, err error) {
	c := &x509.Certificate{
		URIs:        n.URIs(),
		KeyUsage:    x509.KeyUsageDigitalSignature,
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth},
	}
	if !now.Before(a.cert.NotAfter) {
		return nil, end, a.over()
	}
	life = min(life, a.cert.NotAfter.Sub(now))
	chain, err = a.issue(c, public, now, life)
	return chain, now.Add(life), err
}

func (a *Authority) issue(c *x509.Certificate, public crypto.PublicKey, now time.Time, life time.Duration) ([]byte, error) {
	if now.Add(life).After(a.cert.NotAfter) {
		return nil, a.over()
	}
	cert, err := sign(c, a.cert, public, a.key, now, life)
	if err != nil {
		return nil, err
	}
	return append(encode(cert), a.chain...), nil
}

// over says that the authority ends too early.
func (a *Authority) over() error {
	return fmt.Errorf("the authority %q itself ends at %s", a.cert.Subject.CommonName, a.cert.NotAfter.Format(time.RFC3339))
}

// authorityTemplate is what all authorities have in common.
func authorityTemplate(name string) *x509.Certificate {
	return &x509.Certificate{
		Subject:               pkix.Name{CommonName: name},
		IsCA:                  true,
		BasicConstraintsValid: true,
		KeyUsage:              x509.KeyUsageCertSign | x509.KeyUsageCRLSign,
	}
}

// sign completes a template and signs it.
func sign(c, parent *x509.Certificate, public crypto.PublicKey, by crypto.Signer, now time.Time, life time.Duration) (*x509.Certificate, error) {
	serial, err := rand.Int(rand.Reader, new(big.Int).Lsh(big.NewInt(1), 127))
	if err != nil {
		return nil, err
	}
	c.SerialNumber = serial.Add(serial, big.NewInt(1)) // positive (RFC 5280, section 4.1.2.2)
	c.NotBefore, c.NotAfter = now.Add(-certificate.Early(life)), now.Add(life)
	der, err := x509.CreateCertificate(rand.Reader, c, parent, public, by)
	if err != nil {
		return nil, err
	}
	return x509.ParseCertificate(der)
}

// matches reports whether a key is the one a certificate is for.
func matches(cert *x509.Certificate, key crypto.Signer) bool {
	theirs, err := x509.MarshalPKIXPublicKey(cert.PublicKey)
	if err != nil {
		return false
	}
	ours, err := x509.MarshalPKIXPublicKey(key.Public())
	return err == nil && bytes.Equal(theirs, ours)
}
