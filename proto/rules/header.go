package rules

import (
	"fmt"
	"maps"
	"net/textproto"
	"slices"
	"strings"

	signalboxv1 "signalbox/proto/gen/signalbox/v1"
)

const (
	maxHeaders     = 64
	maxHeaderValue = 8192
)

// framing are the headers that belong to one connection or say how long a body
// is (RFC 9110, section 7.6.1, and RFC 9112, section 6): a node's own business.
var framing = []string{
	"Connection", "Content-Length", "Expect", "Http2-Settings", "Keep-Alive", "Proxy-Connection",
	"Te", "Trailer", "Transfer-Encoding", "Upgrade",
}

// headerChanges checks changes of requests' headers, or else of responses'.
func headerChanges(c *signalboxv1.HeaderChanges, requests bool) error {
	var f findings
	atMost(&f, "set", len(c.GetSet()))
	atMost(&f, "remove", len(c.GetRemove()))
	seen := map[string]string{}
	for _, name := range slices.Sorted(maps.Keys(c.GetSet())) {
		at := fmt.Sprintf("set[%q]", name)
		f.wrap(at, changeable(name, requests))
		canonical := textproto.CanonicalMIMEHeaderKey(name)
		if other, twice := seen[canonical]; twice {
			f.add(at, "is the same header as %q", other)
		}
		seen[canonical] = name
		switch v := c.GetSet()[name]; {
		case len(v) > maxHeaderValue:
			f.add(at, "is %d bytes long; at most %d are allowed", len(v), maxHeaderValue)
		case strings.ContainsFunc(v, func(r rune) bool { return r < ' ' && r != '\t' || r == 0x7f }):
			f.add(at, "has a control character")
		case v != textproto.TrimString(v):
			f.add(at, "has a space at an end")
		}
	}
	for i, name := range c.GetRemove() {
		f.wrap(fmt.Sprintf("remove[%d]", i), changeable(name, false))
	}
	return f.err()
}

func atMost(f *findings, field string, n int) {
	if n > maxHeaders {
		f.add(field, "holds %d; at most %d are allowed", n, maxHeaders)
	}
}

// changeable reports why a header may not be changed.
func changeable(name string, host bool) error {
	canonical := textproto.CanonicalMIMEHeaderKey(name)
	switch {
	case name == "" || strings.ContainsFunc(name, notToken):
		return fmt.Errorf("%q is not a header name", name)
	case slices.Contains(framing, canonical):
		return fmt.Errorf("%s belongs to a connection or a body, and is the node's own business", canonical)
	case canonical == "Host" && !host:
		return fmt.Errorf("\"Host\" can only be set, and only on requests")
	}
	return nil
}
