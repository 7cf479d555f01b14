package auth

import (
	"crypto/subtle"
	"crypto/x509"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/types/known/timestamppb"

	"signalbox/controlplane/replica"
	"signalbox/proto/certificate"
	signalboxv1 "signalbox/proto/gen/signalbox/v1"
	"signalbox/store"
)

// A credential is what a call was made with: a secret, of which there is the
// hash, or a node's certificate, which TLS has verified.
type credential struct {
	hash []byte
	cert *x509.Certificate
	node certificate.Node // that the certificate is for
}

// record is the key under which it is kept whether the credential is good: the
// view's record there, nil for none, decides.
func (c credential) record(view *replica.View) store.Key {
	if c.cert != nil {
		return RevocationKey(c.node.Name)
	}
	if found := view.APIKeyHashed(c.hash); found != nil {
		return found.Key
	}
	return store.Key{}
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

// RevocationKey is where it is kept that a node's certificates were revoked.
func RevocationKey(node string) store.Key {
	return store.Key{Kind: store.KindRevocation, Name: node}
}

// Mark is what a node's certificates must bear in a view, empty for nothing.
func Mark(view *replica.View, node string) string {
	if r := view.Get(RevocationKey(node)); r != nil {
		m, _ := r.Message.(*signalboxv1.NodeRevocation)
		return m.GetMark()
	}
	return ""
}

// errRevoked is the answer to a node's certificate that was revoked. Its holder
// has shown that it was the node's once.
var errRevoked = status.Error(codes.Unauthenticated,
	"this certificate was revoked: the node must get a new one with an API key")

// certified is in for a node's certificate: it stands for a key of scope node
// that is for this node alone. Certificates that have ended are refused by TLS;
// here, connections that were made before.
func (c credential) certified(view *replica.View) (*signalboxv1.ApiKey, error) {
	if !time.Now().Before(c.cert.NotAfter) {
		return nil, errWho
	}
	if c.node.Mark != Mark(view, c.node.Name) {
		return nil, errRevoked
	}
	return &signalboxv1.ApiKey{
		Name: "certificate of " + c.node.Name, Scopes: []string{scopeNode}, Node: c.node.Name,
		ExpireTime: timestamppb.New(c.cert.NotAfter),
	}, nil
}

// concerns reports whether a change of a record can change what credentials
// stand for.
func concerns(key store.Key) bool {
	return key.Kind == store.KindAPIKey || key.Kind == store.KindRevocation
}
