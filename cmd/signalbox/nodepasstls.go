package main

import (
	"crypto/tls"

	"signalbox/node/certfile"
)

// selfSigned returns TLS 1.3 with a certificate that is made here, and nowhere
// kept.
func selfSigned() (*tls.Config, error) {
	own, err := certfile.SelfSigned("signalbox nodepass")
	if err != nil {
		return nil, err
	}
	return &tls.Config{Certificates: []tls.Certificate{*own}, MinVersion: tls.VersionTLS13}, nil
}
