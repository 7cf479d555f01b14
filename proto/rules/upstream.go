package rules

import (
	"errors"
	"fmt"
	"net"
	"net/url"
	"strconv"
	"strings"
)

// An Upstream is an upstream's URL, taken apart.
type Upstream struct {
	// Scheme is "http", "https" or "h2c".
	Scheme string
	// Host is the URL's host and port as written, as a Host header would have
	// it; "localhost" for a socket.
	Host string
	// Address is "host:port" to dial, with the scheme's port where the URL has
	// none; or the socket's path, when Unix is set.
	Address string
	Unix    bool
	// Path and Query go before a request's own. Path is as written, percent
	// escapes and all; empty when the URL has none.
	Path, Query string
}

// ParseUpstream takes an upstream URL apart, or says what is wrong with it.
// User information and fragment are ignored. The URL itself is not repeated
// in errors: it may hold a password.
func ParseUpstream(raw string) (Upstream, error) {
	if raw == "" {
		return Upstream{}, errors.New("is missing; it must be as \"http://127.0.0.1:8080\"")
	}
	if err := text(raw, 8192); err != nil {
		return Upstream{}, err
	}
	scheme, rest, _ := strings.Cut(raw, "://")
	if scheme = strings.ToLower(scheme); scheme == "http+unix" || scheme == "unix+http" {
		return parseSocket(rest)
	}
	if scheme != "http" && scheme != "https" && scheme != "h2c" {
		return Upstream{}, errors.New("must begin with http://, https://, h2c:// or http+unix://")
	}
	u, err := url.Parse(raw)
	if err != nil {
		return Upstream{}, fmt.Errorf("is not a URL: %w", errors.Unwrap(err))
	}
	address, err := address(u)
	if err != nil {
		return Upstream{}, err
	}
	host := strings.TrimSuffix(u.Host, ":")
	return Upstream{Scheme: scheme, Host: host, Address: address, Path: u.EscapedPath(), Query: u.RawQuery}, nil
}

// address works out what to dial.
func address(u *url.URL) (string, error) {
	host, port := u.Hostname(), u.Port()
	switch {
	case host == "":
		return "", errors.New("has no host")
	case strings.ContainsAny(host, " \"<>\\^`{|}"):
		return "", fmt.Errorf("host %q is none that a server can have", host)
	case port == "" && u.Scheme == "https":
		port = "443"
	case port == "":
		port = "80"
	}
	if n, err := strconv.Atoi(port); err != nil || n < 1 || n > 65535 {
		return "", fmt.Errorf("port %q must be from 1 to 65535", port)
	}
	return net.JoinHostPort(host, port), nil
}

// parseSocket reads what follows "http+unix://": a socket's path with its
// slashes escaped, and perhaps a path and query as in any URL.
func parseSocket(rest string) (Upstream, error) {
	rest, _, _ = strings.Cut(rest, "#")
	rest, query, _ := strings.Cut(rest, "?")
	socket, path := rest, ""
	if i := strings.IndexByte(rest, '/'); i >= 0 {
		socket, path = rest[:i], rest[i:]
	}
	file, err := url.PathUnescape(socket)
	if err != nil || !strings.HasPrefix(file, "/") || strings.ContainsRune(file, 0) {
		return Upstream{}, errors.New("must name a socket by its full path with slashes as %2F, as \"http+unix://%2Frun%2Fapp.sock\"")
	}
	return Upstream{Scheme: "http", Host: "localhost", Address: file, Unix: true, Path: path, Query: query}, nil
}
