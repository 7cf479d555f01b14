package main

import (
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"net/url"
	"strings"

	"signalbox/gateway/nodepass"
	"signalbox/node/certfile"
	"signalbox/proto/tunnelurl"
)

// A nodepassURL is the argument of `signalbox nodepass`.
type nodepassURL struct {
	tunnel string // the whole of a "server" or "client" URL, else empty
	log    string // as it was given

	// Of a "master" URL:
	addr, host, prefix string
	tls                string // "0", "1" or "2", as it is served
	cert, key          string // files
}

// readNodePassURL reads one. Its error never holds a tunnel's key.
func readNodePassURL(s string) (*nodepassURL, error) {
	if scheme, _, _ := strings.Cut(s, "://"); strings.EqualFold(scheme, "server") || strings.EqualFold(scheme, "client") {
		t, err := tunnelurl.Parse(s)
		if err != nil {
			return nil, fmt.Errorf("the URL: %w", err)
		}
		return &nodepassURL{tunnel: s, log: t.Log}, nil
	}
	raw, err := url.Parse(s)
	switch {
	case err != nil:
		return nil, errors.New("the URL cannot be read; it must be as master://127.0.0.1:9090/api?log=info&tls=1")
	case !strings.EqualFold(raw.Scheme, "master"):
		return nil, fmt.Errorf("the URL begins with %q; expected master://, server:// or client://", raw.Scheme+":")
	case checkAddress("", raw.Host) != nil:
		return nil, fmt.Errorf("the address %q must be HOST:PORT, or :PORT for every address of this machine", raw.Host)
	}
	q := raw.Query()
	u := &nodepassURL{
		log: q.Get("log"), addr: raw.Host, host: raw.Hostname(), prefix: raw.Path,
		tls: q.Get("tls"), cert: q.Get("crt"), key: q.Get("key"),
	}
	if u.tls != "1" && u.tls != "2" {
		u.tls = "0"
	}
	return u, nil
}

// base is the path of the API, as NodePass has it.
func (u *nodepassURL) base() string {
	if p := strings.TrimRight(u.prefix, "/"); p != "" {
		return p + "/v1"
	}
	return "/api/v1"
}

// secure is how the API is served: as NodePass, with TLS 1.3 only, and where
// files cannot be used with a certificate made here.
func (u *nodepassURL) secure(log *nodepassLog) (*tls.Config, error) {
	if u.tls == "2" {
		files := certfile.Server{Cert: u.cert, Key: u.key, Versions: [2]uint16{tls.VersionTLS13, tls.VersionTLS13}}
		conf, err := files.Config(func(err error) {
			log.say(slog.LevelError, "Certificate files cannot be used, the last good ones stay: %v", err)
		})
		if err == nil && conf != nil {
			log.say(slog.LevelInfo, "TLS code-2: %s with TLS 1.3", u.cert)
			return conf, nil
		}
		if err == nil {
			err = errors.New("crt and key are not given")
		}
		log.say(slog.LevelError, "Certificate load failed, one is made instead: %v", err)
		u.tls = "1"
	}
	if u.tls == "1" {
		log.say(slog.LevelInfo, "TLS code-1: self-signed certificate, in memory, with TLS 1.3")
		return selfSigned()
	}
	log.say(slog.LevelWarn, "TLS code-0: unencrypted")
	return nil, nil
}

// config is the API that the URL describes. secure comes first.
func (u *nodepassURL) config() nodepass.Config {
	return nodepass.Config{
		Prefixes: []string{u.prefix},
		Defaults: tunnelurl.Defaults{Log: u.log, TLS: u.tls, CertFile: u.cert, KeyFile: u.key},
		Name:     u.host, TLS: u.tls, CertFile: u.cert, KeyFile: u.key, EndsForGood: true,
	}
}

// byMasterURL has what is wrong with flags, which there are none of, said of
// the URL.
func byMasterURL(text string) string {
	return strings.NewReplacer("--api-listen ", "the URL's address ", "--nodepass-prefix: ", "").Replace(text)
}
