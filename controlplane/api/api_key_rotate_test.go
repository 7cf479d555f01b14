package api_test

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"sync"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/peer"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/timestamppb"

	"signalbox/controlplane/api"
	"signalbox/controlplane/auth"
	"signalbox/proto/certificate"
	signalboxv1 "signalbox/proto/gen/signalbox/v1"
	"signalbox/store/mem"
)

func (p *plane) rotate(ctx context.Context) (*signalboxv1.RotateApiKeyResponse, error) {
	return p.keys.RotateApiKey(ctx, &signalboxv1.RotateApiKeyRequest{})
}

// lets checks with which code a call by a secret ends.
func (p *plane) lets(secret string, want codes.Code) {
	p.t.Helper()
	_, err := p.routes.ListRoutes(as(bounded(p.t), secret), &signalboxv1.ListRoutesRequest{})
	if status.Code(err) != want {
		p.t.Errorf("a call ends with %v, want %v", err, want)
	}
}

// certified is an interceptor under which calls with "node: NAME" come with that
// node's certificate, as if TLS had verified it.
func certified(ctx context.Context, req any, _ *grpc.UnaryServerInfo, handler grpc.UnaryHandler) (any, error) {
	md, _ := metadata.FromIncomingContext(ctx)
	for _, name := range md.Get("node") {
		n := certificate.Node{Name: name}
		cert := &x509.Certificate{URIs: n.URIs(), NotAfter: time.Now().Add(time.Hour)}
		state := tls.ConnectionState{PeerCertificates: []*x509.Certificate{cert}, VerifiedChains: [][]*x509.Certificate{{cert}}}
		ctx = peer.NewContext(ctx, &peer.Peer{AuthInfo: credentials.TLSInfo{State: state}})
	}
	return handler(ctx, req)
}

func TestRotateApiKey(t *testing.T) {
	t.Run("the new secret is good and the old one is not, from the answer on", func(t *testing.T) {
		st := mem.New()
		p, other := start(t, st), start(t, st.Another())
		end := timestamppb.New(time.Now().Add(time.Hour))
		made, err := p.keys.CreateApiKey(bounded(t), &signalboxv1.CreateApiKeyRequest{
			Key: &signalboxv1.ApiKey{Name: "own", Scopes: []string{"routes:read", "events:read"}, ExpireTime: end},
		})
		if err != nil {
			t.Fatal(err)
		}
		old := made.GetSecret()
		stream := p.follow(as(bounded(t), old), "")
		res, err := p.rotate(as(bounded(t), old))
		if err != nil {
			t.Fatal(err)
		}
		p.lets(old, codes.Unauthenticated)
		p.lets(res.GetSecret(), codes.OK)
		other.lets(res.GetSecret(), codes.OK)
		if _, err := other.replica.Reach(bounded(t), version(res.GetVersion())); err != nil {
			t.Fatal(err)
		}
		other.lets(old, codes.Unauthenticated)
		for err = nil; err == nil; { // it may be told of what happened before
			_, err = stream.stream.Recv()
		}
		refused(t, err, codes.Unauthenticated)
		got, err := p.keys.GetApiKey(bounded(t), &signalboxv1.GetApiKeyRequest{Name: "own"})
		if err != nil || !proto.Equal(got.GetKey(), res.GetKey()) {
			t.Errorf("stored is %v, %v, answered %v", got, err, res)
		}
		key := res.GetKey()
		if key.GetMeta().GetCreatedRevision() != made.GetKey().GetMeta().GetCreatedRevision() || key.GetMeta().GetRevision() != res.GetVersion().GetRevision() {
			t.Errorf("its meta is %v", key.GetMeta())
		}
		key.Meta = nil
		if !proto.Equal(key, &signalboxv1.ApiKey{Name: "own", Scopes: []string{"routes:read", "events:read"}, ExpireTime: end}) {
			t.Errorf("the key is another: %v", key)
		}
	})
	t.Run("of two calls at once one is answered, and its secret is good", func(t *testing.T) {
		st := mem.New()
		planes := []*plane{start(t, st), start(t, st.Another())}
		secret := planes[0].key("own", "routes:read")
		planes[1].lets(secret, codes.OK)
		var wg sync.WaitGroup
		secrets := make(chan string, len(planes))
		for _, p := range planes {
			wg.Go(func() {
				switch res, err := p.rotate(as(bounded(t), secret)); status.Code(err) {
				case codes.OK:
					secrets <- res.GetSecret()
				case codes.Unauthenticated:
				default:
					t.Errorf("RotateApiKey = %v", err)
				}
			})
		}
		wg.Wait()
		close(secrets)
		if len(secrets) != 1 {
			t.Errorf("%d were answered a secret", len(secrets))
		}
		for s := range secrets {
			planes[0].lets(s, codes.OK)
			planes[1].lets(s, codes.OK)
		}
	})
	t.Run("the last admin key may be", func(t *testing.T) {
		p := start(t, mem.New())
		res, err := p.rotate(bounded(t))
		if err != nil {
			t.Fatal(err)
		}
		p.lets(adminSecret, codes.Unauthenticated)
		p.lets(res.GetSecret(), codes.OK)
	})
	t.Run("a node's certificate has none", func(t *testing.T) {
		p := start(t, mem.New())
		ctx := metadata.AppendToOutgoingContext(bounded(t), "node", "n", "authorization", "none")
		_, err := p.rotate(ctx)
		refused(t, err, codes.FailedPrecondition)
	})
	t.Run("one that control planes are given would come back", func(t *testing.T) {
		p := start(t, mem.New(), func(c *api.Config) { c.Given = []string{auth.BootstrapName} })
		_, err := p.rotate(bounded(t))
		refused(t, err, codes.FailedPrecondition)
		p.lets(adminSecret, codes.OK)
	})
}
