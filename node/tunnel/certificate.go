package tunnel

import (
	"crypto/tls"
	"fmt"
	"log/slog"

	"signalbox/node/certfile"
	"signalbox/proto/tunnelurl"
)

// certificate returns what a server's wires ask for its certificate. Without one
// in files it is made here, also where the URL asks for no TLS: our own wire
// has no other form. One from files is read again when they change.
func (r *run) certificate() (func() (*tls.Certificate, error), error) {
	if r.url.TLS != tunnelurl.Verified {
		own, err := certfile.SelfSigned("tunnel")
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
