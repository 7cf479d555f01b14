package tunnel

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"fmt"
	"log/slog"
	"math/big"
	"time"

	"signalbox/node/certfile"
	"signalbox/proto/tunnelurl"
)

// lifetime of a certificate that is made at the start of a run; nobody
// verifies it.
const lifetime = 10 * 365 * 24 * time.Hour

// certificate returns what a server's wires ask for its certificate. Without one
// in files it is made here, also where the URL asks for no TLS: our own wire
// has no other form. One from files is read again when they change.
func (r *run) certificate() (func() (*tls.Certificate, error), error) {
	if r.url.TLS != tunnelurl.Verified {
		own, err := selfSigned()
		return func() (*tls.Certificate, error) { return own, nil }, err
	}
	files := certfile.Server{Cert: r.url.CertFile, Key: r.url.KeyFile}
	conf, err := files.Config(func(err error) {
		r.log.repeat(slog.LevelWarn, "certificate", fmt.Sprintf("Certificate not renewed: %v", err))
	})
	if err != nil {
		return nil, fmt.Errorf("crt and key cannot be used: %w", err)
	}
	return func() (*tls.Certificate, error) { return conf.GetCertificate(nil) }, nil
}

// selfSigned makes a certificate.
func selfSigned() (*tls.Certificate, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, err
	}
	serial, err := rand.Int(rand.Reader, new(big.Int).Lsh(big.NewInt(1), 127))
	if err != nil {
		return nil, err
	}
	template := &x509.Certificate{
		SerialNumber: serial, Subject: pkix.Name{CommonName: "tunnel"},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(lifetime),
		KeyUsage: x509.KeyUsageDigitalSignature, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth},
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		return nil, err
	}
	return &tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}, nil
}
