package pki

import (
	"crypto"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"os"

	"signalbox/proto/certificate"
)

func encode(cert *x509.Certificate) []byte {
	return pem.EncodeToMemory(&pem.Block{Type: certificate.Block, Bytes: cert.Raw})
}

// Save writes the authority's certificate, those above it up to the root but
// without it, and its key. It overwrites nothing; the key is its owner's alone.
func (a *Authority) Save(certFile, keyFile string) error {
	key, err := certificate.EncodeKey(a.key)
	if err != nil {
		return err
	}
	chain := a.chain
	if len(chain) == 0 {
		chain = encode(a.cert)
	}
	return WritePair(certFile, chain, keyFile, key)
}

// WritePair writes a new certificate and its key, both PEM. It overwrites
// nothing, and leaves no key behind whose certificate could not be written.
func WritePair(certFile string, cert []byte, keyFile string, key []byte) error {
	if err := writeNew(keyFile, key, 0o600); err != nil {
		return err
	}
	if err := writeNew(certFile, cert, 0o644); err != nil {
		return errors.Join(err, os.Remove(keyFile))
	}
	return nil
}

func writeNew(file string, b []byte, mode os.FileMode) error {
	f, err := os.OpenFile(file, os.O_WRONLY|os.O_CREATE|os.O_EXCL, mode)
	if err != nil {
		return err
	}
	_, err = f.Write(b)
	if err = errors.Join(err, f.Sync(), f.Close()); err != nil {
		return errors.Join(err, os.Remove(file))
	}
	return nil
}

// Load reads an authority that was saved: the first certificate of the file, and
// those above it that follow. Others in the file sign nothing; they are trusted
// beside it. Files whose contents do not fit together,
// or are of no authority, are an error.
func Load(certFile, keyFile string) (*Authority, error) {
	text, err := os.ReadFile(certFile)
	if err != nil {
		return nil, err
	}
	certs, err := certificates(text)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", certFile, err)
	}
	cert := certs[0]
	if !cert.IsCA {
		return nil, fmt.Errorf("%s: the certificate %q is not an authority's", certFile, cert.Subject.CommonName)
	}
	key, err := readKey(keyFile)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", keyFile, err)
	}
	if !matches(cert, key) {
		return nil, fmt.Errorf("%s is not the key of %s", keyFile, certFile)
	}
	return &Authority{cert: cert, key: key, chain: chainOf(certs), trusted: certs}, nil
}

// chainOf is the first certificate and those above it that follow, without the
// root, PEM.
func chainOf(certs []*x509.Certificate) (chain []byte) {
	for i, c := range certs {
		if i > 0 && certs[i-1].CheckSignatureFrom(c) != nil || c.CheckSignatureFrom(c) == nil {
			break
		}
		chain = append(chain, encode(c)...)
	}
	return chain
}

// certificates are those in PEM data, at least one.
func certificates(b []byte) (all []*x509.Certificate, err error) {
	for {
		var block *pem.Block
		if block, b = pem.Decode(b); block == nil {
			break
		}
		if block.Type != certificate.Block {
			continue
		}
		cert, err := x509.ParseCertificate(block.Bytes)
		if err != nil {
			return nil, err
		}
		all = append(all, cert)
	}
	if len(all) == 0 {
		return nil, errors.New("no certificate in PEM form is in it")
	}
	return all, nil
}

func readKey(file string) (crypto.Signer, error) {
	b, err := os.ReadFile(file)
	if err != nil {
		return nil, err
	}
	block, _ := pem.Decode(b)
	if block == nil || block.Type != certificate.KeyBlock {
		return nil, errors.New("no private key in PEM form (PKCS #8) is in it")
	}
	key, err := x509.ParsePKCS8PrivateKey(block.Bytes)
	if err != nil {
		return nil, errors.New("the private key cannot be read") // the cause might quote it
	}
	signer, ok := key.(crypto.Signer)
	if !ok {
		return nil, errors.New("the private key cannot sign")
	}
	return signer, nil
}
