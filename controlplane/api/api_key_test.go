package api_test

import (
	"strings"
	"testing"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/types/known/timestamppb"

	signalboxv1 "signalbox/proto/gen/signalbox/v1"
	"signalbox/store/mem"
)

// key makes an API key and returns its secret.
func (p *plane) key(name string, scopes ...string) string {
	p.t.Helper()
	res, err := p.keys.CreateApiKey(bounded(p.t), &signalboxv1.CreateApiKeyRequest{Key: &signalboxv1.ApiKey{Name: name, Scopes: scopes}})
	if err != nil {
		p.t.Fatal(err)
	}
	return res.GetSecret()
}

// A key works from the answer that made it to the answer that ended it, and
// its secret is shown once.
func TestAPIKeys(t *testing.T) {
	p := start(t, mem.New())
	res, err := p.keys.CreateApiKey(bounded(t), &signalboxv1.CreateApiKeyRequest{Key: &signalboxv1.ApiKey{Name: "ci", Scopes: []string{"routes:write"}}})
	if err != nil || !strings.HasPrefix(res.GetSecret(), "sbx_") || res.GetKey().GetMeta().GetRevision() != res.GetVersion().GetRevision() {
		t.Fatalf("CreateApiKey = %v, %v", res, err)
	}
	ctx := as(bounded(t), res.GetSecret())
	if _, err := p.routes.PutRoute(ctx, &signalboxv1.PutRouteRequest{Route: route("a", "/a")}); err != nil {
		t.Errorf("with the new key: %v", err)
	}
	_, err = p.keys.ListApiKeys(ctx, &signalboxv1.ListApiKeysRequest{})
	refused(t, err, codes.PermissionDenied)
	if !strings.Contains(err.Error(), "keys:read") {
		t.Errorf("%v does not name the scope", err)
	}
	_, err = p.keys.CreateApiKey(bounded(t), &signalboxv1.CreateApiKeyRequest{Key: &signalboxv1.ApiKey{Name: "ci", Scopes: []string{"node"}}})
	refused(t, err, codes.AlreadyExists)

	got, err := p.keys.GetApiKey(bounded(t), &signalboxv1.GetApiKeyRequest{Name: "ci"})
	if err != nil || got.GetKey().GetScopes()[0] != "routes:write" {
		t.Errorf("GetApiKey = %v, %v", got, err)
	}
	list, err := p.keys.ListApiKeys(bounded(t), &signalboxv1.ListApiKeysRequest{})
	if err != nil || len(list.GetKeys()) != 2 {
		t.Errorf("ListApiKeys = %v, %v", list, err)
	}
	for _, m := range []string{protojson.Format(got), protojson.Format(list)} {
		if strings.Contains(m, "hash") || strings.Contains(m, "sbx_") {
			t.Errorf("a secret is shown in %s", m)
		}
	}

	_, err = p.keys.DeleteApiKey(bounded(t), &signalboxv1.DeleteApiKeyRequest{Name: "ci", ExpectedRevision: ptr[int64](1)})
	refused(t, err, codes.Aborted)
	if _, err := p.keys.DeleteApiKey(bounded(t), &signalboxv1.DeleteApiKeyRequest{Name: "ci"}); err != nil {
		t.Fatal(err)
	}
	_, err = p.routes.GetRoute(ctx, &signalboxv1.GetRouteRequest{Name: "a"})
	refused(t, err, codes.Unauthenticated)
	_, err = p.keys.DeleteApiKey(bounded(t), &signalboxv1.DeleteApiKeyRequest{Name: "ci"})
	refused(t, err, codes.NotFound)
	_, err = p.keys.GetApiKey(bounded(t), &signalboxv1.GetApiKeyRequest{Name: "ci"})
	refused(t, err, codes.NotFound)
}

// What is wrong with a key is named by field; scopes that the caller does not
// have are not for it to give.
func TestCreateAPIKeyRefuses(t *testing.T) {
	p := start(t, mem.New())
	create := func(secret string, key *signalboxv1.ApiKey) error {
		_, err := p.keys.CreateApiKey(as(bounded(t), secret), &signalboxv1.CreateApiKeyRequest{Key: key})
		return err
	}
	refused(t, create(adminSecret, nil), codes.InvalidArgument, "key")
	refused(t, create(adminSecret, &signalboxv1.ApiKey{Name: "A", Scopes: []string{"all"}}), codes.InvalidArgument, "key.name", "key.scopes[0]")
	past := timestamppb.New(time.Now().Add(-time.Second))
	refused(t, create(adminSecret, &signalboxv1.ApiKey{Name: "a", Scopes: []string{"node"}, ExpireTime: past}), codes.InvalidArgument, "key.expire_time")
	limited := p.key("limited", "keys:write", "routes:write")
	err := create(limited, &signalboxv1.ApiKey{Name: "a", Scopes: []string{"routes:read", "admin"}})
	refused(t, err, codes.PermissionDenied)
	if !strings.Contains(err.Error(), "key.scopes[1]") {
		t.Errorf("%v does not name the scope", err)
	}
	if err := create(limited, &signalboxv1.ApiKey{Name: "a", Scopes: []string{"routes:read", "keys:read"}}); err != nil {
		t.Errorf("scopes the caller has: %v", err)
	}
}

// The last admin key that does not expire stays.
func TestLastAdmin(t *testing.T) {
	p := start(t, mem.New())
	_, err := p.keys.DeleteApiKey(bounded(t), &signalboxv1.DeleteApiKeyRequest{Name: "bootstrap"})
	refused(t, err, codes.FailedPrecondition)
	if _, err := p.keys.CreateApiKey(bounded(t), &signalboxv1.CreateApiKeyRequest{
		Key: &signalboxv1.ApiKey{Name: "passing", Scopes: []string{"admin"}, ExpireTime: timestamppb.New(time.Now().Add(time.Hour))},
	}); err != nil {
		t.Fatal(err)
	}
	_, err = p.keys.DeleteApiKey(bounded(t), &signalboxv1.DeleteApiKeyRequest{Name: "bootstrap"})
	refused(t, err, codes.FailedPrecondition)
}

// Of two deletions that would leave no admin key together one is refused, even
// by a control plane that has not read of the other yet.
func TestLastAdmins(t *testing.T) {
	st := mem.New()
	p := start(t, st)
	behind, c := lagging(t, st)
	secret := p.key("other", "admin")
	if _, err := behind.replica.Current(bounded(t)); err != nil {
		t.Fatal(err)
	}
	c.let(false)
	if _, err := p.keys.DeleteApiKey(as(bounded(t), secret), &signalboxv1.DeleteApiKeyRequest{Name: "bootstrap"}); err != nil {
		t.Fatal(err)
	}
	_, err := behind.keys.DeleteApiKey(as(bounded(t), secret), &signalboxv1.DeleteApiKeyRequest{Name: "other"})
	refused(t, err, codes.FailedPrecondition)
}
