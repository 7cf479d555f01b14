package auth

import (
	"context"
	"crypto/subtle"
	"crypto/x509"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/peer"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/types/known/timestamppb"

	"signalbox/controlplane/pki"
	"signalbox/controlplane/replica"
	signalboxv1 "signalbox/proto/gen/signalbox/v1"
	"signalbox/store"
)

// A credential is what a call was made with: a secret, of which there is the
// hash, or a node's certificate, which TLS has verified.
type credential struct {
	hash []byte
	cert *x509.Certificate
	node string // that the certificate is for
}

// presentedCertificate is the node's certificate that a call's connection was
// made with; ok is false if there is none.
func presentedCertificate(ctx context.Context) (credential, bool) {
	p, _ := peer.FromContext(ctx)
	if p == nil {
		return credential{}, false
	}
	info, _ := p.AuthInfo.(credentials.TLSInfo)
	if len(info.State.VerifiedChains) == 0 {
		return credential{}, false
	}
	cert := info.State.PeerCertificates[0]
	node, ok := pki.NodeOf(cert)
	return credential{cert: cert, node: node}, ok
}

// in returns the key that a credential stands for in a view, which must not be
// changed, or errWho.
func (c credential) in(view *replica.View) (*signalboxv1.ApiKey, error) {
	if c.cert != nil {
		return c.certified(view)
	}
	found := view.APIKeyHashed(c.hash)
	if found == nil {
		return nil, errWho
	}
	record, ok := found.Message.(*signalboxv1.ApiKeyRecord)
	if !ok || subtle.ConstantTimeCompare(record.GetHash(), c.hash) != 1 {
		return nil, errWho
	}
	if end := record.GetKey().GetExpireTime(); end != nil && !time.Now().Before(end.AsTime()) {
		return nil, errWho
	}
	return record.GetKey(), nil
}

// errRevoked is the answer to a node's certificate that is refused by what is
// wanted of the node. Its holder has shown that it was the node's once.
var errRevoked = status.Error(codes.Unauthenticated,
	"this certificate was revoked: the node must get a new one with an API key")

// certified is in for a node's certificate: it stands for a key of scope node
// that is for this node alone. Certificates that have ended are refused by TLS;
// here, connections that were made before.
func (c credential) certified(view *replica.View) (*signalboxv1.ApiKey, error) {
	if !time.Now().Before(c.cert.NotAfter) {
		return nil, errWho
	}
	if r := view.Get(store.Key{Kind: store.KindNode, Name: c.node}); r != nil {
		n, _ := r.Message.(*signalboxv1.Node)
		if from := n.GetWanted().GetCertificatesFrom(); from != nil && pki.IssuedAt(c.cert).Before(from.AsTime()) {
			return nil, errRevoked
		}
	}
	return &signalboxv1.ApiKey{
		Name: "certificate of " + c.node, Scopes: []string{scopeNode}, Node: c.node,
		ExpireTime: timestamppb.New(c.cert.NotAfter),
	}, nil
}

// concerns reports whether a change of a record can change what credentials
// stand for.
func concerns(key store.Key) bool {
	return key.Kind == store.KindAPIKey || key.Kind == store.KindNode
}
