package auth

import (
	"context"
	"crypto/x509"
	"strings"

	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/peer"
	"google.golang.org/grpc/status"

	"signalbox/proto/certificate"
	signalboxv1 "signalbox/proto/gen/signalbox/v1"
)

// Certificates says what callers' certificates are good for. They were verified
// by TLS: here it is known only that somebody who is trusted signed them.
type Certificates struct {
	// Nodes signs those that stand for nodes. Nil: whoever TLS trusts may have.
	Nodes Signer
	// Needed refuses callers who show none, but for what a node without one has
	// to ask. They must come by TLS: an endpoint without it is not for the
	// network, and nobody can show a certificate there.
	Needed bool
}

// A Signer knows the certificates that it signed.
type Signer interface {
	// Signed reports whether it did, by the chains that were verified.
	Signed(chains [][]*x509.Certificate) bool
}

// CertificateNeeded is the reason, in google.rpc.ErrorInfo of domain
// "signalbox", of an UNAUTHENTICATED that no API key can mend.
const CertificateNeeded = "CERTIFICATE_NEEDED"

// Answers to callers whose certificate is missing, or is not for what they ask.
var (
	errNoCertificate = needed("this control plane asks for a client certificate: give --controlplane-cert and --controlplane-cert-key, or, for a node, --identity-dir")
	errNodesOnly     = needed("a node's certificate is for that node alone, and no API key is taken with it: give a client's by --controlplane-cert and --controlplane-cert-key")
)

func needed(message string) error {
	st := status.New(codes.Unauthenticated, message)
	if with, err := st.WithDetails(&errdetails.ErrorInfo{Reason: CertificateNeeded, Domain: "signalbox"}); err == nil {
		st = with
	}
	return st.Err()
}

// openToAll reports whether a method needs no certificate: a node's first call
// gets it one, and whoever looks after a process asks for its health.
func openToAll(method string) bool {
	return method == signalboxv1.CertificateService_IssueNodeCertificate_FullMethodName || strings.HasPrefix(method, healthService)
}

// show returns the status to refuse a call with whose caller had to show a
// certificate and did not. Showing one grants nothing: the key is still asked.
//
// A node's certificate is good for calls as that node, and for no call with a
// key. It would be no proof of anything there: whoever has a key that lets nodes
// join, as every admin's does, can get one without having shown any.
func (c Certificates) show(ctx context.Context, method string) error {
	chains, overTLS := verified(ctx)
	switch {
	case !c.Needed || !overTLS || openToAll(method):
		return nil
	case len(chains) == 0:
		return errNoCertificate
	}
	// What names a node is no client's, whoever signed it; the authority for
	// nodes signs nothing else.
	if _, ok := certificate.NodeOf(chains[0][0]); ok {
		if md, _ := metadata.FromIncomingContext(ctx); presented(md) != "" {
			return errNodesOnly
		}
	}
	return nil
}

// verified are the chains of the certificate that a call's connection was made
// with, from the certificate to the root; none if it was made without, and
// overTLS is false if it could not be made with one.
func verified(ctx context.Context) (chains [][]*x509.Certificate, overTLS bool) {
	p, _ := peer.FromContext(ctx)
	if p == nil {
		return nil, false
	}
	info, overTLS := p.AuthInfo.(credentials.TLSInfo)
	return info.State.VerifiedChains, overTLS
}

// Inside reports whether a call came without TLS, by an endpoint that is not for
// the network where certificates are asked for: nobody could show one there.
func Inside(ctx context.Context) bool {
	_, overTLS := verified(ctx)
	return !overTLS
}

// node is the node's certificate that a call's connection was made with; ok is
// false if there is none.
func (c Certificates) node(ctx context.Context) (shown credential, ok bool) {
	chains, _ := verified(ctx)
	if len(chains) == 0 || c.Nodes != nil && !c.Nodes.Signed(chains) {
		return credential{}, false
	}
	cert := chains[0][0]
	node, ok := certificate.NodeOf(cert)
	return credential{cert: cert, node: node}, ok
}
