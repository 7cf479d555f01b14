package certfile

import (
	"crypto/tls"
	"time"
)

// Ends returns when the certificate ends that a configuration of this package
// shows, as the files are now; ok is false if it shows none.
func Ends(conf *tls.Config) (at time.Time, ok bool) {
	var pair *tls.Certificate
	var err error
	switch {
	case conf == nil:
		return at, false
	case conf.GetCertificate != nil:
		pair, err = conf.GetCertificate(new(tls.ClientHelloInfo))
	case conf.GetClientCertificate != nil:
		pair, err = conf.GetClientCertificate(new(tls.CertificateRequestInfo))
	}
	if err != nil || pair == nil || pair.Leaf == nil {
		return at, false
	}
	return pair.Leaf.NotAfter, true
}
