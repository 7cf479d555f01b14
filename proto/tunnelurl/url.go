// Package tunnelurl reads the URLs that tunnel instances are described by:
// "server://[KEY@]TUNNEL/TARGET[,TARGET…]?PARAMETERS" and "client://…", as
// NodePass 1.4 to 1.14 have them, and parameters of our own. The control plane
// refuses by it what nothing could run, nodes run instances by it, and the
// gateway brings URLs into NodePass's form with it. It is pure: no clock, no
// I/O.
package tunnelurl

import (
	"errors"
	"fmt"
	"net/url"
	"strconv"
	"strings"
	"time"
)

// MaxLength of a URL, in bytes.
const MaxLength = 4096

// A Role is which end of a tunnel an instance is.
type Role string

// The two ends: a server waits for clients at its tunnel address.
const (
	Server Role = "server"
	Client Role = "client"
)

// TLS says how connections between the ends are secured where the wire has no
// security of its own.
type TLS int

// What there is: none, with a certificate made at the start that nobody
// verifies, with one from files that clients verify.
const (
	Plain TLS = iota
	SelfSigned
	Verified
)

// A Wire is the generation of the protocol between two ends.
type Wire string

// The generations. With Auto a server takes whatever its clients speak, and a
// client finds out what its server does.
const (
	Auto      Wire = "auto"
	V1_4      Wire = "1.4"
	V1_14     Wire = "1.14"
	Signalbox Wire = "signalbox"
)

// A URL is what one says. Its strings are as they were written, decoded.
type URL struct {
	Role Role
	// Key is what both ends must have, empty where it follows from the port:
	// see Secret.
	Key string
	// Tunnel is the "host:port" that a server listens at and a client connects
	// to; a client without a server listens there. The host may be empty.
	Tunnel string
	// Targets are "host:port", at least one. The end that receives users
	// listens at the first; the other dials them in turn, and goes on to the
	// next where one fails.
	Targets []string

	// TLS of the wire, of a server; a client is told. ("tls", 0 to 2)
	TLS TLS
	// CertFile and KeyFile are paths on the node, for Verified. ("crt", "key")
	CertFile, KeyFile string
	// Log is the level from which on lines are logged: "debug", "info", "warn",
	// "error" or "none". What is none of these is "info". ("log")
	Log string
	// Min and Max are how many unused connections a client keeps, and a server
	// allows. Defaults 64 and 8192. One that is given and no positive number
	// is 0: as few as possible. ("min", "max")
	Min, Max int
	// Mode is 0 where the ends find out, and otherwise: of a server, 1 when it
	// receives users and 2 when its client does; of a client, 1 when it has no
	// server and 2 when it has. ("mode")
	Mode int
	// Wire to speak. Default Auto. ("wire")
	Wire Wire
	// Slots bounds how many TCP connections and UDP sessions run at a time; 0 is
	// no bound. ("slot")
	Slots int
	// Rate bounds the payload in bytes per second and direction; 0 is no bound.
	// ("rate", in Mbit/s)
	Rate int64
	// Idle ends a connection on which nothing came for so long; 0 never does.
	// ("read", as in "30s")
	Idle time.Duration
	// NoTCP and NoUDP leave one of the two out. ("notcp", "noudp": 1)
	NoTCP, NoUDP bool
	// Proxy sends targets a PROXY header of version 1 first. ("proxy": 1)
	Proxy bool
	// Source is the address that targets are dialled from; empty for any.
	// ("dial")
	Source string
	// ServerName is what a client expects in its server's certificate; empty
	// for the host of Tunnel. ("sni")
	ServerName string
	// Block names protocols that users may not speak in TCP: it contains "1"
	// for SOCKS, "2" for HTTP and "3" for TLS. ("block")
	Block string
}

// Parse reads a URL. Its error says which part is wrong and what would be
// right, and never holds the key. Parameters that are not known are for newer
// versions.
func Parse(s string) (URL, error) {
	if len(s) > MaxLength {
		return URL{}, fmt.Errorf("is %d bytes long; at most %d are allowed", len(s), MaxLength)
	}
	raw, err := url.Parse(s)
	if err != nil {
		return URL{}, errors.New("is not a URL: expected server://HOST:PORT/HOST:PORT or client://HOST:PORT/HOST:PORT")
	}
	u := URL{Role: Role(strings.ToLower(raw.Scheme)), Key: raw.User.Username(), Tunnel: raw.Host}
	if u.Role != Server && u.Role != Client {
		return URL{}, fmt.Errorf("begins with %q; expected server:// or client://", raw.Scheme+":")
	}
	if err := address(u.Tunnel); err != nil {
		return URL{}, fmt.Errorf("the tunnel address, before the path, %w", err)
	}
	for t := range strings.SplitSeq(strings.TrimPrefix(raw.Path, "/"), ",") {
		if err := address(t); err != nil {
			return URL{}, fmt.Errorf("the target address, in the path, %w", err)
		}
		if t == u.Tunnel {
			return URL{}, errors.New("the target address is the tunnel's own: what came would go round for ever")
		}
		u.Targets = append(u.Targets, t)
	}
	return u, u.parameters(raw.Query())
}

// address says what is wrong with a "host:port" whose host may be empty.
func address(s string) error {
	host, port, found := cutPort(s)
	if !found {
		return errors.New("needs a port, as in 0.0.0.0:8080")
	}
	if n, err := strconv.ParseUint(port, 10, 16); err != nil || n == 0 {
		return fmt.Errorf("has the port %q; expected 1 to 65535", port)
	}
	if strings.HasPrefix(host, "[") {
		host = strings.TrimSuffix(host[1:], "]")
	} else if strings.Contains(host, ":") {
		return errors.New("has a host with colons; an IPv6 address needs brackets, as in [::1]:8080")
	}
	if strings.ContainsFunc(host, func(r rune) bool { return r <= ' ' || r == '/' || r == '[' || r == ']' || r == 0x7f }) {
		return errors.New("has a host with characters that no host has")
	}
	return nil
}

// cutPort cuts at the last colon outside brackets.
func cutPort(s string) (host, port string, found bool) {
	i := strings.LastIndexByte(s, ':')
	if i < 0 || strings.HasSuffix(s, "]") {
		return s, "", false
	}
	return s[:i], s[i+1:], true
}

// Port of the tunnel address.
func (u URL) Port() string {
	_, port, _ := cutPort(u.Tunnel)
	return port
}

// Redact returns a URL with "********" in place of its key, for those who may
// not know it. What is no URL has all before its last "@" replaced.
func Redact(s string) string {
	scheme, rest, found := strings.Cut(s, "://")
	if !found {
		scheme, rest = "", s
	}
	end := len(rest)
	if i := strings.IndexAny(rest, "/?#"); i >= 0 && found {
		end = i
	}
	at := strings.LastIndexByte(rest[:end], '@')
	if at < 0 {
		return s
	}
	if found {
		scheme += "://"
	}
	return scheme + "********" + rest[at:]
}
