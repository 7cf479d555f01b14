package certificate

import (
	"crypto/x509"
	"net/url"
	"strings"
)

// A node's certificate names it by a URI, and says by another which revocation
// it came after. The scheme is not registered, and nothing is found there; it
// only cannot be mistaken for a host or a user.
const (
	nodeScheme = "signalbox"
	nodePrefix = "node/"
	markPrefix = "mark/"
)

// A Node is what a node's certificate says of its holder.
type Node struct {
	// Name of the node.
	Name string
	// Mark is of the revocation that the certificate was made after, empty when
	// there was none.
	Mark string
}

// URIs are what a certificate says of it.
func (n Node) URIs() []*url.URL {
	all := []*url.URL{{Scheme: nodeScheme, Opaque: nodePrefix + n.Name}}
	if n.Mark != "" {
		all = append(all, &url.URL{Scheme: nodeScheme, Opaque: markPrefix + n.Mark})
	}
	return all
}

// NodeOf returns the node that a certificate is for, and whether it is for one.
// The certificate must have been verified.
func NodeOf(cert *x509.Certificate) (n Node, ok bool) {
	for _, u := range cert.URIs {
		if u.Scheme != nodeScheme {
			continue
		}
		if name, is := strings.CutPrefix(u.Opaque, nodePrefix); is {
			n.Name = name
		}
		if mark, is := strings.CutPrefix(u.Opaque, markPrefix); is {
			n.Mark = mark
		}
	}
	return n, n.Name != ""
}
