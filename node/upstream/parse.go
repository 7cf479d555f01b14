package upstream

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"net/url"
	"strconv"
	"strings"
)

// errScheme says which targets there are.
var errScheme = errors.New("scheme: want http://host:port, https://host:port, h2c://host:port or http+unix://%2Fpath%2Fof%2Fsocket")

// ParseTarget reads an upstream as operators write it:
//
//	http://host:port/path?query      HTTP/1.1; the port defaults to 80
//	https://host:port/path?query     TLS, HTTP/2 or HTTP/1.1 by ALPN; port 443
//	h2c://host:port/path?query       HTTP/2 without TLS; port 80
//	http+unix://%2Frun%2Fx.sock/path HTTP/1.1 on a unix socket; unix+http:// too
//
// User, password and fragment are ignored, as configurable-http-proxy 5 does.
// The URL returned beside the target holds what requests need of it: scheme
// (http or https), host (localhost for a socket), path and query; it never
// holds a user. Errors name the part that is wrong and never repeat a user, a
// password or a query.
func ParseTarget(rawURL string) (Target, *url.URL, error) {
	t, base, err := parseTarget(rawURL)
	if err != nil {
		return Target{}, nil, fmt.Errorf("target %w", err)
	}
	return t, base, nil
}

func parseTarget(rawURL string) (Target, *url.URL, error) {
	if strings.ContainsFunc(rawURL, func(r rune) bool { return r <= ' ' || r == 0x7f }) {
		return Target{}, nil, errors.New("has a space or a control character: percent-encode it")
	}
	scheme, rest, ok := strings.Cut(rawURL, "://")
	if !ok {
		return Target{}, nil, errScheme
	}
	authority, tail := rest, ""
	if i := strings.IndexAny(rest, `/?#\`); i >= 0 {
		authority, tail = rest[:i], rest[i:]
	}
	authority = authority[strings.LastIndexByte(authority, '@')+1:]

	var t Target
	base, err := parseTail(tail)
	if err != nil {
		return Target{}, nil, err
	}
	switch strings.ToLower(scheme) {
	case "http":
		t, base.Host, err = parseAuthority(authority, "80")
	case "h2c":
		t, base.Host, err = parseAuthority(authority, "80")
		t.Protocol = H2C
	case "https":
		base.Scheme = "https"
		t, base.Host, err = parseAuthority(authority, "443")
		t.TLS = true
	case "http+unix", "unix+http":
		t, err = parseSocket(authority)
		base.Host = "localhost"
	default:
		err = errScheme
	}
	return t, base, err
}

// parseTail reads what follows the authority.
func parseTail(tail string) (*url.URL, error) {
	tail, _, _ = strings.Cut(tail, "#")
	base, err := url.Parse("http://localhost" + tail)
	if err != nil {
		// The text of a *url.Error repeats the whole URL, its query included.
		if ue := (*url.Error)(nil); errors.As(err, &ue) {
			err = ue.Err
		}
		return nil, fmt.Errorf("path: %w", err)
	}
	if base.Host != "localhost" || base.User != nil {
		return nil, errors.New(`path: must begin with "/"`)
	}
	if strings.ContainsFunc(base.RawQuery, func(r rune) bool { return r >= 0x80 }) {
		return nil, errors.New("query: percent-encode what is not ASCII")
	}
	return base, nil
}

// parseAuthority reads host and port. The second result is what a Host header
// says: without the port where it is the scheme's own.
func parseAuthority(authority, defaultPort string) (Target, string, error) {
	host, port, err := splitAuthority(authority)
	if err != nil {
		return Target{}, "", err
	}
	if port == "" {
		port = defaultPort
	}
	if port, err = parsePort(port); err != nil {
		return Target{}, "", err
	}
	t := Target{Network: networkTCP, Address: net.JoinHostPort(host, port)}
	if port != defaultPort {
		return t, t.Address, nil
	}
	if isIPv6(host) {
		host = "[" + host + "]"
	}
	return t, host, nil
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
		if err != nil || !ip.Is6() || strings.ContainsAny(ip.Zone(), "%[]") {
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
		case 'a' <= r && r <= 'z', '0' <= r && r <= '9', r == '-', r == '.', r == '_':
		case r >= 0x80:
			return errors.New("host: not ASCII; write the name in its xn-- form")
		default:
			return fmt.Errorf("host: has %q", r)
		}
	}
	if host[0] == '.' || strings.Contains(host, "..") {
		return errors.New("host: has an empty label")
	}
	return nil
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

// parseSocket reads a percent-encoded socket path from where a host would be.
func parseSocket(authority string) (Target, error) {
	path, err := url.PathUnescape(authority)
	if err != nil {
		return Target{}, errors.New("socket path: has a % that encodes nothing")
	}
	if err := checkSocketPath(path); err != nil {
		return Target{}, err
	}
	return Target{Network: networkUnix, Address: path}, nil
}

// checkSocketPath says what is wrong with the path of a unix socket. Abstract
// names are refused: nothing guards who listens on them.
func checkSocketPath(path string) error {
	switch {
	case !strings.HasPrefix(path, "/"):
		return errors.New("socket path: want an absolute path with each / written as %2F")
	case strings.IndexByte(path, 0) >= 0:
		return errors.New("socket path: has a zero byte")
	case len(path) > maxSocketPath:
		return fmt.Errorf("socket path: longer than %d bytes", maxSocketPath)
	}
	return nil
}

// escapeSocketPath percent-encodes a socket path for the host's place in a URL,
// where a bare "@" would end a user.
func escapeSocketPath(path string) string {
	return strings.ReplaceAll(url.PathEscape(path), "@", "%40")
}
