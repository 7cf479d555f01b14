// Package certificate is what both ends of a request for a certificate need to
// agree on: what keys there are, how they are written down, how their holder asks
// to be certified, and how a certificate says who is a node. It reads no file and no clock.
package certificate

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
)

// PEM block types (RFC 7468, sections 5 and 10).
const (
	// Block is of a certificate.
	Block = "CERTIFICATE"
	// KeyBlock is of a private key, PKCS #8.
	KeyBlock = "PRIVATE KEY"
)

// NewKey returns a private key as all parties have: ECDSA on P-256.
func NewKey() (crypto.Signer, error) { return ecdsa.GenerateKey(elliptic.P256(), rand.Reader) }

// EncodeKey returns a private key as PEM (PKCS #8).
func EncodeKey(key crypto.Signer) ([]byte, error) {
	der, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		return nil, err
	}
	return pem.EncodeToMemory(&pem.Block{Type: KeyBlock, Bytes: der}), nil
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
