package main

import (
	"crypto/tls"
	"errors"
	"fmt"
	"os"
	"strconv"
	"strings"
	"time"

	"signalbox/node"
	"signalbox/node/certfile"
)

// server is the files of a listener.
func (t *chpTLS) server(passphrase string) (certfile.Server, error) {
	if t.key == "" && t.cert == "" {
		return certfile.Server{}, nil
	}
	s := certfile.Server{Cert: t.cert, Key: t.key, Passphrase: passphrase}
	if t.request {
		s.ClientCA, s.ClientRequired = t.ca, true
	}
	_, err := s.Config(nil)
	return s, err
}

// node is what the node does with its traffic.
func (c *chpFlags) node(log *chpLog) (node.Config, error) {
	public, err := c.public.server(os.Getenv("CONFIGPROXY_SSL_KEY_PASSPHRASE"))
	if err != nil {
		return node.Config{}, fmt.Errorf("--ssl-key, --ssl-cert, --ssl-ca: %w", err)
	}
	if public.Cert != "" {
		if public.Versions, err = tlsVersions(c.protocol); err != nil {
			return node.Config{}, err
		}
		if public.Ciphers, err = tlsCiphers(c.ciphers); err != nil {
			return node.Config{}, err
		}
	}
	conf := node.Config{
		ID: "chp", Version: version,
		Listeners:          map[string]node.Listener{"public": {Addr: c.publicAddr(), TLS: public}},
		AllowUnixUpstreams: true,
		DrainTimeout:       time.Second,
		Hold:               5 * time.Second,
		AccessLogSample:    -1, // the log is ours
		Upstreams: certfile.Client{
			CA: c.client.ca, Cert: c.client.cert, Key: c.client.key, Insecure: c.insecure, ExtraCA: os.Getenv("NODE_EXTRA_CA_CERTS"),
		},
		Log: log.parts(),
	}
	if conf.Upstreams.CA != "" {
		conf.Upstreams.ExtraCA = "" // a list of one's own takes the place of all others
	}
	if c.redirects() {
		port, _ := jsInt(c.redirectPort)
		conf.Listeners["redirect"] = node.Listener{Addr: at(c.ip, port, "")}
	}
	if _, err := conf.Upstreams.Config(); err != nil {
		extra := conf.Upstreams.ExtraCA
		conf.Upstreams.ExtraCA = ""
		if _, other := conf.Upstreams.Config(); other != nil {
			return node.Config{}, fmt.Errorf("--client-ssl-key, --client-ssl-cert, --client-ssl-ca: %w", other)
		}
		log.warn("Ignoring extra certs from `%s`, load failed: %v", extra, err) // as Node.js
	}
	return conf, nil
}

// tlsVersions reads the one version that is to be spoken, in OpenSSL's words.
func tlsVersions(name string) ([2]uint16, error) {
	switch strings.TrimSuffix(name, "_method") {
	case "", "TLS", "SSLv23":
		return [2]uint16{}, nil
	case "TLSv1_2":
		return [2]uint16{tls.VersionTLS12, tls.VersionTLS12}, nil
	case "TLSv1_3":
		return [2]uint16{tls.VersionTLS13, tls.VersionTLS13}, nil
	}
	return [2]uint16{}, fmt.Errorf("--ssl-protocol %s: it must be TLSv1_2 or TLSv1_3; older ones are not safe", name)
}

// openSSL has the names that OpenSSL gives to the cipher suites of TLS 1.2.
var openSSL = map[string]uint16{
	"ECDHE-ECDSA-AES128-GCM-SHA256": tls.TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256,
	"ECDHE-RSA-AES128-GCM-SHA256":   tls.TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256,
	"ECDHE-ECDSA-AES256-GCM-SHA384": tls.TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384,
	"ECDHE-RSA-AES256-GCM-SHA384":   tls.TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384,
	"ECDHE-ECDSA-CHACHA20-POLY1305": tls.TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256,
	"ECDHE-RSA-CHACHA20-POLY1305":   tls.TLS_ECDHE_RSA_WITH_CHACHA20_POLY1305_SHA256,
	"ECDHE-ECDSA-AES128-SHA":        tls.TLS_ECDHE_ECDSA_WITH_AES_128_CBC_SHA,
	"ECDHE-RSA-AES128-SHA":          tls.TLS_ECDHE_RSA_WITH_AES_128_CBC_SHA,
	"ECDHE-ECDSA-AES256-SHA":        tls.TLS_ECDHE_ECDSA_WITH_AES_256_CBC_SHA,
	"ECDHE-RSA-AES256-SHA":          tls.TLS_ECDHE_RSA_WITH_AES_256_CBC_SHA,
	"AES128-GCM-SHA256":             tls.TLS_RSA_WITH_AES_128_GCM_SHA256,
	"AES256-GCM-SHA384":             tls.TLS_RSA_WITH_AES_256_GCM_SHA384,
	"AES128-SHA":                    tls.TLS_RSA_WITH_AES_128_CBC_SHA,
	"AES256-SHA":                    tls.TLS_RSA_WITH_AES_256_CBC_SHA,
}

// openSSLGroups are the names of whole groups, for which Go's own choice does.
var openSSLGroups = []string{"DEFAULT", "ALL", "HIGH", "ECDHE", "EECDH", "kEECDH", "ECDH+AESGCM", "EECDH+AESGCM", "ECDHE+AESGCM"}

// tlsCiphers reads a list of OpenSSL's. What Go does not have, and what is to
// be left out, is passed over; a group stands for Go's own choice.
func tlsCiphers(list string) (string, error) {
	if list == "" {
		return "", nil
	}
	var known []string
	for name := range strings.FieldsFuncSeq(list, func(r rune) bool { return r == ':' || r == ',' || r == ' ' }) {
		for _, group := range openSSLGroups {
			if strings.EqualFold(name, group) {
				return "", nil
			}
		}
		if id, ok := openSSL[name]; ok {
			known = append(known, strconv.Itoa(int(id)))
		} else if strings.HasPrefix(name, "TLS_") { // of TLS 1.3, where there is no choice
			return "", nil
		}
	}
	if known == nil {
		return "", errors.New("--ssl-ciphers has none that is spoken here; one that is: ECDHE-RSA-AES128-GCM-SHA256")
	}
	return strings.Join(known, ","), nil
}
