package certfile

import (
	"crypto/tls"
	"crypto/x509"
)

// Shown returns the certificate that a configuration of this package shows, as
// the files are now; nil if it shows none.
func Shown(conf *tls.Config) *x509.Certificate {
	var pair *tls.Certificate
	var err error
	switch {
	case conf == nil:
		return nil
	case conf.GetCertificate != nil:
		pair, err = conf.GetCertificate(new(tls.ClientHelloInfo))
	case conf.GetClientCertificate != nil:
		pair, err = conf.GetClientCertificate(new(tls.CertificateRequestInfo))
	}
	if err != nil || pair == nil {
		return nil
	}
	return pair.Leaf
}
