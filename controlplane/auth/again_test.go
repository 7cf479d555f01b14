package auth_test

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/peer"
	"google.golang.org/grpc/status"

	"signalbox/controlplane/auth"
	"signalbox/proto/certificate"
	signalboxv1 "signalbox/proto/gen/signalbox/v1"
	"signalbox/store"
	"signalbox/store/mem"
)

// Whoever was let in is judged again in the view that a call goes by, and what
// they are good by is a condition of what it writes.
func TestACallerIsJudgedAgainInANewerView(t *testing.T) {
	shows := map[string]func(context.Context) context.Context{
		"a key": func(ctx context.Context) context.Context {
			return metadata.NewIncomingContext(ctx, metadata.Pairs("x-api-key", "node"))
		},
		"a certificate": func(ctx context.Context) context.Context {
			n := certificate.Node{Name: "n"}
			cert := &x509.Certificate{URIs: n.URIs(), NotAfter: time.Now().Add(time.Hour)}
			state := tls.ConnectionState{PeerCertificates: []*x509.Certificate{cert}, VerifiedChains: [][]*x509.Certificate{{cert}}}
			return peer.NewContext(ctx, &peer.Peer{AuthInfo: credentials.TLSInfo{State: state}})
		},
	}
	revoked := store.Record{Key: auth.RevocationKey("n"), Message: &signalboxv1.NodeRevocation{Node: "n", Mark: "M"}}
	wider, _ := auth.Record(&signalboxv1.ApiKey{Name: "worker", Scopes: []string{"node"}, Node: "other"}, auth.Hash("node"))
	for what, c := range map[string]struct {
		shows string
		then  store.Txn
		want  codes.Code
	}{
		"a key stays":             {"a key", store.Txn{Put: []store.Record{revoked}}, codes.OK},
		"a key is deleted":        {"a key", store.Txn{Delete: []store.Key{wider.Key}}, codes.Unauthenticated},
		"a key is another":        {"a key", store.Txn{Put: []store.Record{wider}}, codes.Unavailable},
		"a certificate stays":     {"a certificate", store.Txn{Delete: []store.Key{wider.Key}}, codes.OK},
		"a certificate's revoked": {"a certificate", store.Txn{Put: []store.Record{revoked}}, codes.Unauthenticated},
	} {
		t.Run(what, func(t *testing.T) {
			st := mem.New()
			r := follow(t, st)
			write(t, st, r, "node", &signalboxv1.ApiKey{Name: "worker", Scopes: []string{"node"}})
			info := &grpc.UnaryServerInfo{FullMethod: signalboxv1.CertificateService_IssueNodeCertificate_FullMethodName}
			_, err := auth.New(r, auth.Certificates{}).Unary(shows[c.shows](bounded(t)), nil, info, func(ctx context.Context, _ any) (any, error) {
				old, _ := r.Now()
				while, err := auth.StillGood(ctx, old)
				if err != nil {
					t.Fatal(err)
				}
				commit(t, st, r, c.then)
				view, _ := r.Now()
				if _, err := auth.StillGood(ctx, view); status.Code(err) != c.want {
					t.Errorf("it is judged %v, want %v", err, c.want)
				}
				_, err = st.Commit(ctx, store.Txn{If: []store.Condition{*while}, Delete: []store.Key{{Kind: store.KindRoute, Name: "a"}}})
				if (err == nil) != (c.want == codes.OK) {
					t.Errorf("a write under the condition: %v", err)
				}
				return nil, nil
			})
			if err != nil {
				t.Fatal(err)
			}
		})
	}
	if while, err := auth.StillGood(t.Context(), nil); while != nil || err != nil {
		t.Errorf("nobody is judged %v, %v", while, err)
	}
}
