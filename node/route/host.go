package route

import (
	"net/netip"
	"strings"
)

// Host returns the host that a request is for in the form in which routes
// name it: without port and trailing dot, in lower case, an IPv6 address
// without brackets and in its shortest spelling. It allocates nothing for a
// name that is in lower case already.
func Host(authority string) string {
	if strings.HasPrefix(authority, "[") {
		return bracketed(authority)
	}
	host, _, _ := strings.Cut(authority, ":")
	return strings.ToLower(strings.TrimSuffix(host, "."))
}

// bracketed reads "[address]" or "[address]:port". What is in the brackets and
// is no address matches no route's host, which is all that must be true of it.
func bracketed(authority string) string {
	host, _, _ := strings.Cut(authority[1:], "]")
	if a, err := netip.ParseAddr(host); err == nil {
		return a.String()
	}
	return strings.ToLower(host)
}
