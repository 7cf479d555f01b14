package pki

import (
	"crypto"
	"crypto/rand"
	"crypto/x509"
	"errors"
	"fmt"
	"net/url"
	"strings"
)

// A node's certificate names it by a URI, and says by another which revocation
// it came after. The scheme is not registered, and nothing is found there; it
// only cannot be mistaken for a host or a user.
const (
	nodeScheme = "signalbox"
	nodePrefix = "node/"
	markPrefix = "mark/"
)

// A Node is what a node's certificate says of its holder.
type Node struct {
	// Name of the node.
	Name string
	// Mark is of the revocation that the certificate was made after, empty when
	// there was none.
	Mark string
}

func (n Node) uris() []*url.URL {
	all := []*url.URL{{Scheme: nodeScheme, Opaque: nodePrefix + n.Name}}
	if n.Mark != "" {
		all = append(all, &url.URL{Scheme: nodeScheme, Opaque: markPrefix + n.Mark})
	}
	return all
}

// NodeOf returns the node that a certificate is for, and whether it is for one.
// The certificate must have been verified.
func NodeOf(cert *x509.Certificate) (n Node, ok bool) {
	for _, u := range cert.URIs {
		if u.Scheme != nodeScheme {
			continue
		}
		if name, is := strings.CutPrefix(u.Opaque, nodePrefix); is {
			n.Name = name
		}
		if mark, is := strings.CutPrefix(u.Opaque, markPrefix); is {
			n.Mark = mark
		}
	}
	return n, n.Name != ""
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
