package rules

import (
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"net/url"
	"strconv"
	"strings"

	"google.golang.org/protobuf/proto"

	signalboxv1 "signalbox/proto/gen/signalbox/v1"
)

// An Upstream is an upstream's URL, taken apart.
type Upstream struct {
	// Scheme is "http", "https" or "h2c".
	Scheme string
	// Host is what a Host header says: with a port only where it is not the
	// scheme's own; "localhost" for a socket.
	Host string
	// Address is "host:port" to dial; or the socket's path, when Unix is set.
	Address string
	Unix    bool
	// Path and Query go before a request's own. Path is as written, percent
	// escapes and all; empty when the URL has none.
	Path, Query string
	// TLS says how the upstream's certificate is checked, where the record says
	// anything of that; nil otherwise. It must not be changed.
	TLS *signalboxv1.UpstreamTls
}

// Equal reports whether both are reached and asked alike.
func (up Upstream) Equal(o Upstream) bool {
	same := proto.Equal(up.TLS, o.TLS)
	up.TLS, o.TLS = nil, nil
	return same && up == o
}

// upstream takes an upstream's record apart, and names what is wrong with it.
func upstream(rec *signalboxv1.Upstream) (Upstream, error) {
	var f findings
	up, err := ParseUpstream(rec.GetUrl())
	f.wrap("url", err)
	if t := rec.GetTls(); t != nil {
		up.TLS = t
		if err == nil && up.Scheme != "https" {
			f.add("tls", "is for https upstreams")
		}
		if t.GetInsecure() && (t.GetCa() != "" || t.GetServerName() != "") {
			f.add("tls.insecure", "takes any certificate: leave out ca and server_name, or this")
		}
		if t.GetServerName() != "" {
			f.wrap("tls.server_name", serverName(t.GetServerName()))
		}
		f.wrap("tls.ca", authorities(t.GetCa()))
	}
	return up, f.err()
}

// serverName checks a name that a certificate can be for and SNI can carry.
func serverName(name string) error {
	if _, err := netip.ParseAddr(name); err == nil {
		return nil
	}
	return checkHost(strings.ToLower(name))
}

// authorities checks certificates in PEM; none are fine.
func authorities(text string) error {
	if len(text) > maxAuthorities {
		return fmt.Errorf("is %d bytes long; at most %d are allowed", len(text), maxAuthorities)
	}
	if text != "" && !x509.NewCertPool().AppendCertsFromPEM([]byte(text)) {
		return errors.New("has no certificate in it: give PEM, which begins with -----BEGIN CERTIFICATE-----")
	}
	return nil
}

// maxUpstream is the longest an upstream's URL may be, in bytes.
const maxUpstream = 8192

// maxAuthorities is how long the certificates that may sign an upstream's can
// be, in bytes.
const maxAuthorities = 64 << 10

// maxSocketPath is the longest path Linux takes for a unix socket: sun_path
// is 108 bytes, the last of them zero.
const maxSocketPath = 107

// errScheme says which upstreams there are.
var errScheme = errors.New("must begin with http://, https://, h2c:// or http+unix://, as \"http://127.0.0.1:8080\"")

// ParseUpstream takes an upstream URL apart, or says what is wrong with it:
//
//	http://host:port/path?query      HTTP/1.1; the port defaults to 80
//	https://host:port/path?query     TLS, HTTP/2 or HTTP/1.1 by ALPN; port 443
//	h2c://host:port/path?query       HTTP/2 without TLS; port 80
//	http+unix://%2Frun%2Fx.sock/path HTTP/1.1 on a unix socket; unix+http:// too
//
// User, password and fragment are ignored, as configurable-http-proxy 5 does.
// Errors name the part that is wrong and never repeat a user, a password or a
// query.
func ParseUpstream(raw string) (Upstream, error) {
	if len(raw) > maxUpstream {
		return Upstream{}, fmt.Errorf("is %d bytes long; at most %d are allowed", len(raw), maxUpstream)
	}
	if strings.ContainsFunc(raw, func(r rune) bool { return r <= ' ' || r == 0x7f }) {
		return Upstream{}, errors.New("has a space or a control character: percent-encode it")
	}
	scheme, rest, ok := strings.Cut(raw, "://")
	if !ok {
		return Upstream{}, errScheme
	}
	authority, tail := rest, ""
	if i := strings.IndexAny(rest, `/?#\`); i >= 0 {
		authority, tail = rest[:i], rest[i:]
	}
	authority = authority[strings.LastIndexByte(authority, '@')+1:]

	var up Upstream
	var err error
	if up.Path, up.Query, err = parseTail(tail); err != nil {
		return Upstream{}, err
	}
	// Schemes are our own words rather than pieces of raw, which can then go.
	switch strings.ToLower(scheme) {
	case "http":
		up.Scheme, err = "http", up.setAuthority(authority, "80")
	case "h2c":
		up.Scheme, err = "h2c", up.setAuthority(authority, "80")
	case "https":
		up.Scheme, err = "https", up.setAuthority(authority, "443")
	case "http+unix", "unix+http":
		err = up.setSocket(authority)
	default:
		err = errScheme
	}
	if err != nil {
		return Upstream{}, err
	}
	return up, nil
}

// parseTail reads what follows the authority.
func parseTail(tail string) (path, query string, err error) {
	if tail, _, _ = strings.Cut(tail, "#"); tail == "" {
		return "", "", nil
	}
	u, err := url.Parse("http://localhost" + tail)
	if err != nil {
		// The text of a *url.Error repeats the whole URL, its query included.
		if ue := (*url.Error)(nil); errors.As(err, &ue) {
			err = ue.Err
		}
		return "", "", fmt.Errorf("path: %w", err)
	}
	if u.Host != "localhost" || u.User != nil {
		return "", "", errors.New(`path: must begin with "/"`)
	}
	if strings.ContainsFunc(u.RawQuery, func(r rune) bool { return r >= 0x80 }) {
		return "", "", errors.New("query: percent-encode what is not ASCII")
	}
	return u.EscapedPath(), u.RawQuery, nil
}

// setAuthority reads host and port.
func (up *Upstream) setAuthority(authority, defaultPort string) error {
	host, port, err := splitAuthority(authority)
	if err != nil {
		return err
	}
	if port == "" {
		port = defaultPort
	}
	if port, err = parsePort(port); err != nil {
		return err
	}
	up.Address = net.JoinHostPort(host, port)
	switch {
	case port != defaultPort:
		up.Host = up.Address
	case strings.Contains(host, ":"):
		up.Host = "[" + host + "]"
	default:
		up.Host = host
	}
	return nil
}

// splitAuthority returns the host in its one canonical form, and the port as
// it stands, maybe empty.
func splitAuthority(authority string) (host, port string, err error) {
	if bracketed, ok := strings.CutPrefix(authority, "["); ok {
		address, rest, ok := strings.Cut(bracketed, "]")
		if !ok || (rest != "" && rest[0] != ':') {
			return "", "", errors.New(`host: "[" without its "]" before the port`)
		}
		ip, err := netip.ParseAddr(strings.Replace(address, "%25", "%", 1))
		if err != nil || !ip.Is6() || strings.ContainsFunc(ip.Zone(), func(r rune) bool { return r != '.' && notHost(r) }) {
			return "", "", errors.New("host: what stands in brackets is no IPv6 address")
		}
		return ip.String(), strings.TrimPrefix(rest, ":"), nil
	}
	host, port, _ = strings.Cut(authority, ":")
	if strings.Contains(port, ":") {
		return "", "", errors.New("host: an IPv6 address needs brackets")
	}
	host = strings.ToLower(host)
	return host, port, checkHost(host)
}

// checkHost says what is wrong with a host name or IPv4 address. It takes the
// underscore, which container names have.
func checkHost(host string) error {
	if host == "" {
		return errors.New("host: missing")
	}
	if len(strings.TrimSuffix(host, ".")) > 253 {
		return errors.New("host: longer than 253 bytes")
	}
	for _, r := range host {
		switch {
		case r >= 0x80:
			return errors.New("host: not ASCII; write the name in its xn-- form")
		case r != '.' && notHost(r):
			return fmt.Errorf("host: has %q", r)
		}
	}
	if host[0] == '.' || strings.Contains(host, "..") {
		return errors.New("host: has an empty label")
	}
	return nil
}

// notHost reports whether r may not stand in a label of a host in lower case.
func notHost(r rune) bool {
	return (r < 'a' || r > 'z') && (r < '0' || r > '9') && r != '-' && r != '_'
}

// parsePort returns port without leading zeros. The error does not repeat it:
// in a mistyped URL it may be a piece of a password.
func parsePort(port string) (string, error) {
	n, err := strconv.ParseUint(port, 10, 16)
	if err != nil || n == 0 {
		return "", errors.New("port: want a number from 1 to 65535")
	}
	return strconv.FormatUint(n, 10), nil
}

// setSocket reads a percent-encoded socket path from where a host would be.
// Abstract names are refused: nothing guards who listens on them.
func (up *Upstream) setSocket(authority string) error {
	path, err := url.PathUnescape(authority)
	switch {
	case err != nil:
		return errors.New("socket path: has a % that encodes nothing")
	case !strings.HasPrefix(path, "/"):
		return errors.New("socket path: want an absolute path with each / written as %2F")
	case strings.IndexByte(path, 0) >= 0:
		return errors.New("socket path: has a zero byte")
	case len(path) > maxSocketPath:
		return fmt.Errorf("socket path: longer than %d bytes", maxSocketPath)
	}
	up.Scheme, up.Host, up.Address, up.Unix = "http", "localhost", path, true
	return nil
}
