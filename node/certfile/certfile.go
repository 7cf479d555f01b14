// Package certfile makes TLS configurations of files. The files are read again
// when they change, so that certificates can be renewed while a process runs;
// while what is there cannot be used, the last that could be is.
package certfile

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"os"
	"slices"
	"strconv"
	"strings"
)

// A Server names the files of a listener, all PEM. The zero value is none.
type Server struct {
	// Cert and Key turn on TLS.
	Cert, Key string
	// ClientCA asks clients for a certificate that those in it signed.
	ClientCA string
	// ExtraClientCA holds more who may have signed it, beside ClientCA.
	ExtraClientCA string
	// ClientOptional lets in clients that have no certificate at all.
	ClientOptional bool
	// ClientRequired asks clients for a certificate, without ClientCA for one
	// that the system's authorities signed.
	ClientRequired bool
	// Passphrase decrypts the key.
	Passphrase string
	// Versions are the least and the greatest version of TLS, as crypto/tls has
	// them. Default: from TLS 1.2.
	Versions [2]uint16
	// Ciphers are the cipher suites of TLS 1.2, separated by commas, as
	// crypto/tls has them in decimal. Default: those of Go.
	Ciphers string
}

// Check says what is wrong with what is given.
func (s Server) Check() error {
	switch {
	case (s.Cert == "") != (s.Key == ""):
		return errors.New("a certificate and its key are given together")
	case s.ClientCA+s.ExtraClientCA != "" && s.Cert == "":
		return errors.New("clients can be asked for a certificate only with TLS: a certificate and its key are needed")
	}
	return nil
}

// Config returns the TLS configuration, nil for none. failed, if not nil, is
// told of files that have changed and cannot be used.
func (s Server) Config(failed func(error)) (*tls.Config, error) {
	if err := s.Check(); err != nil || s.Cert == "" {
		return nil, err
	}
	own := &certificate{certFile: s.Cert, keyFile: s.Key, passphrase: s.Passphrase, failed: failed}
	if _, err := own.get(); err != nil {
		return nil, err
	}
	conf := &tls.Config{
		MinVersion:     tls.VersionTLS12,
		NextProtos:     []string{"h2", "http/1.1"},
		GetCertificate: func(*tls.ClientHelloInfo) (*tls.Certificate, error) { return own.get() },
	}
	if s.Versions[0] != 0 {
		conf.MinVersion = s.Versions[0]
	}
	conf.MaxVersion = s.Versions[1]
	conf.CipherSuites = s.suites()
	clientCAs := nonEmpty(s.ClientCA, s.ExtraClientCA)
	if s.ClientRequired && len(clientCAs) == 0 {
		conf.ClientAuth = tls.RequireAndVerifyClientCert
	}
	if len(clientCAs) == 0 {
		return conf, nil
	}
	clients := &trust{caFiles: clientCAs, base: conf.Clone(), failed: failed}
	clients.base.ClientAuth = tls.RequireAndVerifyClientCert
	if s.ClientOptional {
		clients.base.ClientAuth = tls.VerifyClientCertIfGiven
	}
	if _, err := clients.get(); err != nil {
		return nil, err
	}
	conf.GetConfigForClient = func(*tls.ClientHelloInfo) (*tls.Config, error) { return clients.get() }
	return conf, nil
}

// nonEmpty are the files that are given.
func nonEmpty(files ...string) []string {
	return slices.DeleteFunc(files, func(file string) bool { return file == "" })
}

// suites are the cipher suites, nil for Go's.
func (s Server) suites() (all []uint16) {
	for text := range strings.SplitSeq(s.Ciphers, ",") {
		if n, err := strconv.ParseUint(text, 10, 16); err == nil {
			all = append(all, uint16(n))
		}
	}
	return all
}

// A Client says how a server is reached. The zero value is in the clear.
type Client struct {
	// Enabled turns on TLS; so does any of the others.
	Enabled bool
	// CA, PEM, holds those who sign the server's certificate; it is read once.
	// Default: the system's.
	CA string
	// Cert and Key, PEM, are the client's own certificate.
	Cert, Key string
	// ServerName is what the server's certificate must be for. Default: the
	// host that is connected to.
	ServerName string
	// Insecure takes any certificate of the server.
	Insecure bool
	// ExtraCA, PEM, holds more who sign the server's certificate, beside CA or
	// the system's.
	ExtraCA string
}

// Check says what is wrong with what is given.
func (c Client) Check() error {
	if (c.Cert == "") != (c.Key == "") {
		return errors.New("a certificate and its key are given together")
	}
	return nil
}

// Config returns the TLS configuration, nil for none.
func (c Client) Config() (*tls.Config, error) {
	if err := c.Check(); err != nil || c == (Client{}) {
		return nil, err
	}
	conf := &tls.Config{MinVersion: tls.VersionTLS12, ServerName: c.ServerName, InsecureSkipVerify: c.Insecure} //nolint:gosec // when that is wanted
	var err error
	if conf.RootCAs, err = c.roots(); err != nil {
		return nil, err
	}
	if c.Cert != "" {
		own := &certificate{certFile: c.Cert, keyFile: c.Key}
		if _, err := own.get(); err != nil {
			return nil, err
		}
		conf.GetClientCertificate = func(*tls.CertificateRequestInfo) (*tls.Certificate, error) { return own.get() }
	}
	return conf, nil
}

// roots are those who sign the server's certificate, nil for the system's.
func (c Client) roots() (pool *x509.CertPool, err error) {
	if c.CA != "" {
		if pool, err = readPool(c.CA); err != nil {
			return nil, err
		}
	}
	if c.ExtraCA == "" {
		return pool, nil
	}
	if pool == nil {
		if pool, err = x509.SystemCertPool(); err != nil {
			pool = x509.NewCertPool()
		}
	}
	extra, err := os.ReadFile(c.ExtraCA)
	if err == nil && !pool.AppendCertsFromPEM(extra) {
		err = fmt.Errorf("%s: no certificate in PEM form is in it", c.ExtraCA)
	}
	return pool, err
}
