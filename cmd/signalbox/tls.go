package main

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"os"
	"sync"
	"time"

	"github.com/spf13/pflag"
)

// serverTLS is the files of a listener. All empty means no TLS.
type serverTLS struct {
	prefix             string // of the flags, as "api-"
	cert, key, clients string
}

func (t *serverTLS) add(f *pflag.FlagSet, prefix, what string) {
	t.prefix = prefix
	f.StringVar(&t.cert, prefix+"tls-cert", "", "certificate file (PEM) of "+what+"; read again when it changes")
	f.StringVar(&t.key, prefix+"tls-key", "", "private key file (PEM) of "+what)
	f.StringVar(&t.clients, prefix+"tls-client-ca", "", "certificate authorities (PEM) that clients of "+what+" must have a certificate of")
}

// config returns the listener's TLS, nil for none.
func (t *serverTLS) config() (*tls.Config, error) {
	if t.cert == "" && t.key == "" && t.clients == "" {
		return nil, nil
	}
	if t.cert == "" || t.key == "" {
		return nil, &usageError{fmt.Errorf("--%stls-cert and --%stls-key go together", t.prefix, t.prefix)}
	}
	pair := &keyPair{cert: t.cert, key: t.key}
	if _, err := pair.current(); err != nil {
		return nil, fmt.Errorf("--%stls-cert: %w", t.prefix, err)
	}
	c := &tls.Config{
		MinVersion:     tls.VersionTLS12,
		NextProtos:     []string{"h2", "http/1.1"},
		GetCertificate: func(*tls.ClientHelloInfo) (*tls.Certificate, error) { return pair.current() },
	}
	if t.clients != "" {
		pool, err := certPool(t.clients)
		if err != nil {
			return nil, fmt.Errorf("--%stls-client-ca: %w", t.prefix, err)
		}
		c.ClientCAs, c.ClientAuth = pool, tls.RequireAndVerifyClientCert
	}
	return c, nil
}

// clientTLS is the files for connections to a server, and whether there is
// TLS at all.
type clientTLS struct {
	prefix              string
	ca, cert, key, name string
	on                  bool
}

func (t *clientTLS) add(f *pflag.FlagSet, prefix, what string) {
	t.prefix = prefix
	f.BoolVar(&t.on, prefix+"tls", false, "use TLS to "+what+", with the system's certificate authorities; implied by the files below")
	f.StringVar(&t.ca, prefix+"ca", "", "certificate authorities (PEM) that "+what+" must have a certificate of")
	f.StringVar(&t.cert, prefix+"cert", "", "client certificate file (PEM) to show to "+what)
	f.StringVar(&t.key, prefix+"cert-key", "", "private key file (PEM) of the client certificate")
	f.StringVar(&t.name, prefix+"server-name", "", "name that must be in the certificate of "+what+", instead of the address's")
}

// config returns the connection's TLS, nil for none.
func (t *clientTLS) config() (*tls.Config, error) {
	if !t.on && t.ca == "" && t.cert == "" && t.key == "" && t.name == "" {
		return nil, nil
	}
	c := &tls.Config{MinVersion: tls.VersionTLS12, ServerName: t.name}
	if t.ca != "" {
		pool, err := certPool(t.ca)
		if err != nil {
			return nil, fmt.Errorf("--%sca: %w", t.prefix, err)
		}
		c.RootCAs = pool
	}
	if (t.cert == "") != (t.key == "") {
		return nil, &usageError{fmt.Errorf("--%scert and --%scert-key go together", t.prefix, t.prefix)}
	}
	if t.cert != "" {
		pair := &keyPair{cert: t.cert, key: t.key}
		if _, err := pair.current(); err != nil {
			return nil, fmt.Errorf("--%scert: %w", t.prefix, err)
		}
		c.GetClientCertificate = func(*tls.CertificateRequestInfo) (*tls.Certificate, error) { return pair.current() }
	}
	return c, nil
}

func certPool(file string) (*x509.CertPool, error) {
	pem, err := os.ReadFile(file) //nolint:gosec // the operator's own file
	if err != nil {
		return nil, err
	}
	pool := x509.NewCertPool()
	if !pool.AppendCertsFromPEM(pem) {
		return nil, fmt.Errorf("%s holds no certificate in PEM form", file)
	}
	return pool, nil
}

// keyPairAge is how long a certificate is used before its files are looked at
// again.
const keyPairAge = 10 * time.Second

// A keyPair is a certificate and its key in files, read again when they
// change. Files that are broken leave the last good pair in force.
type keyPair struct {
	cert, key string

	mu      sync.Mutex
	loaded  *tls.Certificate
	checked time.Time
	changed time.Time // of the newer file
}

func (k *keyPair) current() (*tls.Certificate, error) {
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.loaded != nil && time.Since(k.checked) < keyPairAge {
		return k.loaded, nil
	}
	k.checked = time.Now()
	changed, err := newest(k.cert, k.key)
	if err == nil && (k.loaded == nil || !changed.Equal(k.changed)) {
		var pair tls.Certificate
		if pair, err = tls.LoadX509KeyPair(k.cert, k.key); err == nil {
			k.loaded, k.changed = &pair, changed
		}
	}
	if k.loaded == nil {
		return nil, err
	}
	return k.loaded, nil
}

// newest is when the files last changed.
func newest(files ...string) (time.Time, error) {
	var last time.Time
	for _, f := range files {
		info, err := os.Stat(f)
		if err != nil {
			return last, err
		}
		if info.ModTime().After(last) {
			last = info.ModTime()
		}
	}
	return last, nil
}

// guard refuses to carry keys in the clear where others may listen.
func guard(flag, addr string, encrypted, allowed bool) error {
	if encrypted || allowed {
		return nil
	}
	host, _, err := net.SplitHostPort(addr)
	if err != nil {
		return &usageError{fmt.Errorf("--%s %q must be HOST:PORT: %w", flag, addr, errors.Unwrap(err))}
	}
	if ip := net.ParseIP(host); host == "localhost" || ip != nil && ip.IsLoopback() {
		return nil
	}
	return &usageError{fmt.Errorf("--%s %s is not a loopback address, and keys would cross the network in the clear: give it a certificate, or --allow-plaintext", flag, addr)}
}
