package upstream

import (
	"errors"
	"fmt"
	"net"
	"net/url"
	"strings"
)

// Protocol is the version of HTTP spoken with an upstream.
type Protocol string

const (
	// Auto lets ALPN choose between HTTP/1.1 and HTTP/2 over TLS, and is
	// HTTP/1.1 without TLS. It is the default.
	Auto Protocol = ""
	// H1 is HTTP/1.1 only, with or without TLS.
	H1 Protocol = "h1"
	// H2 is HTTP/2 over TLS only.
	H2 Protocol = "h2"
	// H2C is HTTP/2 without TLS, by prior knowledge (RFC 9113, section 3.3).
	H2C Protocol = "h2c"
)

// Networks a target may be on.
const (
	networkTCP  = "tcp"
	networkUnix = "unix"
)

// A Target says where an upstream is and how it is spoken to. Targets that are
// equal, once empty fields have their meaning, share one Pool.
type Target struct {
	// Network is "tcp" or "unix". Empty means "tcp".
	Network string
	// Address is host:port for tcp, with the host a name or an IP address,
	// and the absolute path of the socket for unix. Names are resolved anew
	// for every connection.
	Address string
	// TLS says that the connection is encrypted and the upstream's certificate
	// verified.
	TLS bool
	// ServerName is the name sent as SNI and looked for in the certificate.
	// Empty means the host of Address. It must be empty without TLS.
	ServerName string
	// Insecure takes any certificate.
	Insecure bool
	// CA is certificates, PEM, one of which must have signed the upstream's.
	// Empty means the registry's roots.
	CA string
	// Protocol is the version of HTTP; empty is Auto.
	Protocol Protocol
}

// normal returns t with its empty fields filled in, the form by which pools
// are found, or what is wrong with it.
func (t Target) normal() (Target, error) {
	if t.Network == "" {
		t.Network = networkTCP
	}
	if err := t.checkAddress(); err != nil {
		return Target{}, err
	}
	switch {
	case t.TLS && t.Protocol == H2C:
		return Target{}, errors.New("protocol h2c is HTTP/2 without TLS: use h2 or auto with TLS")
	case !t.TLS && t.Protocol == H2:
		return Target{}, errors.New("protocol h2 needs TLS: use h2c without")
	case !t.TLS && (t.ServerName != "" || t.Insecure || t.CA != ""):
		return Target{}, errors.New("server name, insecure or authorities without TLS: they would not be used")
	}
	switch t.Protocol {
	case Auto:
		if !t.TLS {
			t.Protocol = H1
		}
	case H1, H2, H2C:
	default:
		return Target{}, fmt.Errorf("protocol %q: want auto (empty), h1, h2 or h2c", string(t.Protocol))
	}
	if t.TLS && t.ServerName == "" {
		host, _, _ := net.SplitHostPort(t.Address) // empty for a unix socket
		t.ServerName = strings.TrimSuffix(host, ".")
	}
	return t, nil
}

// checkAddress says what is wrong with t's address.
func (t Target) checkAddress() error {
	switch t.Network {
	case networkTCP:
		if host, port, err := net.SplitHostPort(t.Address); err != nil || host == "" || port == "" {
			return fmt.Errorf("address %q: want host:port", t.Address)
		}
		return nil
	case networkUnix:
		if !strings.HasPrefix(t.Address, "/") {
			return fmt.Errorf("address %q: want the absolute path of a socket", t.Address)
		}
		return nil
	}
	return fmt.Errorf("network %q: want tcp or unix", t.Network)
}

// String is t for people, as the URL of an upstream would say it.
func (t Target) String() string {
	switch {
	case t.Network == networkUnix:
		return "http+unix://" + url.PathEscape(t.Address)
	case t.TLS:
		return "https://" + t.Address
	case t.Protocol == H2C:
		return "h2c://" + t.Address
	}
	return "http://" + t.Address
}
