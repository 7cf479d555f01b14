package main

import (
	"crypto/tls"
	"fmt"
	"log/slog"
	"net"
	"strings"

	"github.com/spf13/pflag"

	"signalbox/node/certfile"
	"signalbox/node/listen"
)

// serverTLS is the files of a listener, as flags.
type serverTLS struct {
	certfile.Server
	prefix string // of the flags, as "api-"
}

func (t *serverTLS) add(f *pflag.FlagSet, prefix, what string) {
	t.prefix = prefix
	f.StringVar(&t.Cert, prefix+"tls-cert", "", "certificate file (PEM) of "+what+"; read again when it changes")
	f.StringVar(&t.Key, prefix+"tls-key", "", "private key file (PEM) of "+what)
	f.StringVar(&t.ClientCA, prefix+"tls-client-ca", "", "certificate authorities (PEM) that clients of "+what+" must have a certificate of; read again when it changes")
}

// config returns the listener's TLS, nil for none.
func (t *serverTLS) config(log *slog.Logger) (*tls.Config, error) {
	c, err := t.Config(func(err error) {
		log.Error("certificate files cannot be used, the last good ones stay", "err", err)
	})
	if err != nil {
		return nil, &usageError{fmt.Errorf("--%stls-cert, --%stls-key, --%stls-client-ca: %w", t.prefix, t.prefix, t.prefix, err)}
	}
	return c, nil
}

// clientTLS is how a server is reached, as flags.
type clientTLS struct {
	certfile.Client
	prefix string // of the flags, as "etcd-"
}

func (t *clientTLS) add(f *pflag.FlagSet, prefix, what string) {
	t.prefix = prefix
	f.BoolVar(&t.Enabled, prefix+"tls", false, "use TLS to "+what+", with the system's certificate authorities; implied by the files below")
	f.StringVar(&t.CA, prefix+"ca", "", "certificate authorities (PEM) that "+what+" must have a certificate of")
	f.StringVar(&t.Cert, prefix+"cert", "", "client certificate file (PEM) to show to "+what)
	f.StringVar(&t.Key, prefix+"cert-key", "", "private key file (PEM) of the client certificate")
	f.StringVar(&t.ServerName, prefix+"server-name", "", "name that must be in the certificate of "+what+", instead of the address's")
}

// config returns the connection's TLS, nil for none.
func (t *clientTLS) config() (*tls.Config, error) {
	c, err := t.Config()
	if err != nil {
		return nil, &usageError{fmt.Errorf("--%sca, --%scert, --%scert-key: %w", t.prefix, t.prefix, t.prefix, err)}
	}
	return c, nil
}

// guardAll is guard for several addresses.
func guardAll(flag string, addrs []string, encrypted, allowed bool) error {
	for _, addr := range addrs {
		if err := guard(flag, addr, encrypted, allowed); err != nil {
			return err
		}
	}
	return nil
}

// guard refuses to carry keys in the clear where others may listen.
func guard(flag, addr string, encrypted, allowed bool) error {
	if encrypted || allowed {
		return nil
	}
	if local, err := loopback(flag, addr); local || err != nil {
		return err
	}
	return &usageError{fmt.Errorf("--%s %s is not a loopback address, and keys would cross the network in the clear: use TLS, or --allow-plaintext", flag, addr)}
}

// loopback reports whether an address can be reached from this machine only.
func loopback(flag, addr string) (bool, error) {
	if strings.HasPrefix(addr, listen.UnixPrefix) {
		return true, nil
	}
	host, _, err := net.SplitHostPort(addr)
	if err != nil {
		return false, &usageError{fmt.Errorf("--%s %q must be HOST:PORT", flag, addr)}
	}
	ip := net.ParseIP(host)
	return host == "localhost" || ip != nil && ip.IsLoopback(), nil
}
