package api_test

import (
	"context"
	"crypto"
	"crypto/x509"
	"errors"
	"testing"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"signalbox/controlplane/api"
	"signalbox/proto/certificate"
	signalboxv1 "signalbox/proto/gen/signalbox/v1"
	"signalbox/store"
	"signalbox/store/mem"
)

// noAuthority fails a test whose call gets as far as to be given a certificate.
type noAuthority struct{ t *testing.T }

func (a noAuthority) IssueNode(certificate.Node, crypto.PublicKey, time.Time, time.Duration) ([]byte, time.Time, error) {
	a.t.Error("a certificate is made")
	return nil, time.Time{}, errors.New("it is not")
}

func (a noAuthority) Signed([][]*x509.Certificate) bool { return false }

// A key that was deleted at one control plane is of no use at another that has
// not heard of that yet, though that one lets the call in.
func TestAKeyThatHasEndedWritesNothingWhereThatIsNotKnownYet(t *testing.T) {
	key, err := certificate.NewKey()
	if err != nil {
		t.Fatal(err)
	}
	request, err := certificate.NewRequest(key)
	if err != nil {
		t.Fatal(err)
	}
	for what, call := range map[string]func(context.Context, *plane) error{
		"a route": func(ctx context.Context, p *plane) error {
			_, err := p.routes.PutRoute(ctx, &signalboxv1.PutRouteRequest{Route: route("a", "/a")})
			return err
		},
		"a batch": func(ctx context.Context, p *plane) error {
			_, err := p.routes.BatchPutRoutes(ctx, &signalboxv1.BatchPutRoutesRequest{Routes: many(63)})
			return err
		},
		"a removal": func(ctx context.Context, p *plane) error {
			_, err := p.routes.BatchDeleteRoutes(ctx, &signalboxv1.BatchDeleteRoutesRequest{Names: []string{"none"}})
			return err
		},
		"a key": func(ctx context.Context, p *plane) error {
			_, err := p.keys.CreateApiKey(ctx, &signalboxv1.CreateApiKeyRequest{Key: &signalboxv1.ApiKey{Name: "next", Scopes: []string{"admin"}}})
			return err
		},
		"a node": func(ctx context.Context, p *plane) error {
			_, err := p.wanted.PutNode(ctx, &signalboxv1.PutNodeRequest{Node: &signalboxv1.Node{Name: "n"}})
			return err
		},
		"a revocation": func(ctx context.Context, p *plane) error {
			_, err := signalboxv1.NewCertificateServiceClient(p.conn).RevokeNodeCertificates(ctx, &signalboxv1.RevokeNodeCertificatesRequest{Node: "n"})
			return err
		},
		"a certificate": func(ctx context.Context, p *plane) error {
			_, err := signalboxv1.NewCertificateServiceClient(p.conn).IssueNodeCertificate(ctx, &signalboxv1.IssueNodeCertificateRequest{Node: "n", Request: request})
			return err
		},
		"a look": func(ctx context.Context, p *plane) error {
			_, err := p.routes.ListRoutes(ctx, &signalboxv1.ListRoutesRequest{})
			return err
		},
	} {
		t.Run(what, func(t *testing.T) {
			st := mem.New()
			other := start(t, st)
			p, c := lagging(t, st, func(c *api.Config) { c.Certifier = &api.Certifier{Authority: noAuthority{t}, Life: time.Hour} })
			secret := other.key("gone", "admin", "node")
			if _, err := p.replica.Current(bounded(t)); err != nil {
				t.Fatal(err)
			}
			c.let(false)
			if _, err := other.keys.DeleteApiKey(bounded(t), &signalboxv1.DeleteApiKeyRequest{Name: "gone"}); err != nil {
				t.Fatal(err)
			}
			before, err := st.Head(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			if err := call(as(bounded(t), secret), p); status.Code(err) != codes.Unauthenticated {
				t.Errorf("it is answered %v", err)
			}
			if after, err := st.Head(t.Context()); err != nil || after != before {
				t.Errorf("something was written: %v, %v", after, err)
			}
		})
	}
}

// The condition on the caller's key leaves room for as many changes as before,
// and a key may end itself.
func TestACallersKeyIsOneOfItsRecords(t *testing.T) {
	p := start(t, mem.New())
	secret := p.key("own", "admin")
	if _, err := p.batch(many(store.MaxOps-1), true); err != nil {
		t.Fatal(err)
	}
	if res, err := p.batch(many(store.MaxOps-1), false); err != nil || res.GetWritten() != store.MaxOps-1 {
		t.Errorf("as many changes as there may be: %v, %v", res, err)
	}
	if _, err := p.keys.DeleteApiKey(as(bounded(t), secret), &signalboxv1.DeleteApiKeyRequest{Name: "own"}); err != nil {
		t.Errorf("a key ends itself: %v", err)
	}
}
