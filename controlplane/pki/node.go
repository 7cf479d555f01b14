package pki

import (
	"crypto"
	"crypto/rand"
	"crypto/x509"
	"errors"
	"fmt"
	"net/url"
	"strings"
	"time"
)

// A node's certificate names it by this URI. The scheme is not registered, and
// nothing is found there; it only cannot be mistaken for a host or a user.
const (
	nodeScheme = "signalbox"
	nodePrefix = "node/"
)

func nodeURI(name string) *url.URL { return &url.URL{Scheme: nodeScheme, Opaque: nodePrefix + name} }

// NodeOf returns the name of the node that a certificate is for, and whether it
// is for one. The certificate must have been verified.
func NodeOf(cert *x509.Certificate) (string, bool) {
	for _, u := range cert.URIs {
		if name, ok := strings.CutPrefix(u.Opaque, nodePrefix); ok && u.Scheme == nodeScheme && name != "" {
			return name, true
		}
	}
	return "", false
}

// IssuedAt is when one of our certificates was made, to the second: it begins a
// little earlier.
func IssuedAt(cert *x509.Certificate) time.Time {
	all := cert.NotAfter.Sub(cert.NotBefore)
	return cert.NotBefore.Add(min(mostSkew, all/(skewPart+1))).Round(time.Second)
}

// NewRequest returns what the holder of a key sends to be certified (PKCS #10,
// RFC 2986), DER. It says nothing but that they hold the key: who they are is
// known from the call it is sent in.
func NewRequest(key crypto.Signer) ([]byte, error) {
	return x509.CreateCertificateRequest(rand.Reader, new(x509.CertificateRequest), key)
}

// maxRequest is larger than any request with a key of a sensible size.
const maxRequest = 16 << 10

// ParseRequest returns the public key of a request whose sender holds the
// private one. Whatever else the request asks for is not looked at.
func ParseRequest(der []byte) (crypto.PublicKey, error) {
	if len(der) > maxRequest {
		return nil, fmt.Errorf("is larger than %d bytes", maxRequest)
	}
	r, err := x509.ParseCertificateRequest(der)
	if err != nil {
		return nil, fmt.Errorf("must be a certificate request (PKCS #10) in DER: %w", err)
	}
	if r.PublicKeyAlgorithm != x509.ECDSA && r.PublicKeyAlgorithm != x509.Ed25519 {
		return nil, errors.New("must be for an ECDSA or Ed25519 key")
	}
	if err := r.CheckSignature(); err != nil {
		return nil, fmt.Errorf("must be signed with its own key: %w", err)
	}
	return r.PublicKey, nil
}
