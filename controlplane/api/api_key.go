package api

import (
	"context"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"

	"signalbox/controlplane/auth"
	"signalbox/controlplane/replica"
	signalboxv1 "signalbox/proto/gen/signalbox/v1"
	"signalbox/proto/rules"
	"signalbox/store"
)

// apiKeys is the ApiKeyService. Nothing of a record but the key itself leaves
// it.
type apiKeys struct {
	signalboxv1.UnimplementedApiKeyServiceServer
	*core
}

func apiKeyKey(name string) store.Key { return store.Key{Kind: store.KindAPIKey, Name: name} }

// shown is what may be shown of an API key's record.
func shown(r *store.Record) *signalboxv1.ApiKey {
	return r.Message.(*signalboxv1.ApiKeyRecord).GetKey()
}

// CreateApiKey implements ApiKeyService.
func (s *apiKeys) CreateApiKey(ctx context.Context, req *signalboxv1.CreateApiKeyRequest) (*signalboxv1.CreateApiKeyResponse, error) { //nolint:revive // the name is protoc-gen-go-grpc's
	if err := checkNewKey(req.GetKey()); err != nil {
		return nil, s.fail(err)
	}
	for i, scope := range req.GetKey().GetScopes() {
		if !auth.Allows(auth.Caller(ctx), scope) {
			return nil, status.Errorf(codes.PermissionDenied, "key.%s: %q can only be handed out with a key that has it", index("scopes", i), scope)
		}
	}
	secret := auth.NewSecret()
	key := proto.CloneOf(req.GetKey())
	key.Meta = &signalboxv1.Meta{}
	record, _ := auth.Record(key, auth.Hash(secret))
	none := int64(0)
	p := &put{field: "key", key: record.Key, message: record.Message, meta: key.Meta, expected: &none}
	v, err := s.write(ctx, func(view *replica.View) (txn store.Txn, err error) {
		err = p.plan(view, &txn)
		return txn, err
	})
	if err != nil {
		return nil, s.fail(tooLarge(err, "key", ""))
	}
	p.finish(v.Revision)
	s.seen(ctx, v)
	return &signalboxv1.CreateApiKeyResponse{Key: key, Secret: secret, Version: version(v)}, nil
}

// checkNewKey returns what is wrong with a key that is to be made.
func checkNewKey(key *signalboxv1.ApiKey) error {
	var bad problems
	if key == nil {
		bad.add("key", "is missing")
		return bad.err()
	}
	bad.under("key", rules.APIKey(key))
	if end := key.GetExpireTime(); end != nil && end.CheckValid() == nil && !time.Now().Before(end.AsTime()) {
		bad.add("key.expire_time", "is in the past")
	}
	return bad.err()
}

// seen waits until this control plane goes by a write: a key that was answered
// is let in here by then, and one that was ended is not.
func (c *core) seen(ctx context.Context, v store.Version) {
	ctx, cancel := context.WithTimeout(ctx, c.StoreTimeout)
	defer cancel()
	if _, err := c.Replica.Reach(ctx, v); err != nil {
		c.Log.Warn("written, but not read back in time", "rev", v.Revision, "err", err)
	}
}

// GetApiKey implements ApiKeyService.
func (s *apiKeys) GetApiKey(ctx context.Context, req *signalboxv1.GetApiKeyRequest) (*signalboxv1.GetApiKeyResponse, error) { //nolint:revive // the name is protoc-gen-go-grpc's
	r, err := s.find(ctx, apiKeyKey(req.GetName()))
	if err != nil {
		return nil, s.fail(err)
	}
	return &signalboxv1.GetApiKeyResponse{Key: shown(r)}, nil
}

// ListApiKeys implements ApiKeyService.
func (s *apiKeys) ListApiKeys(ctx context.Context, req *signalboxv1.ListApiKeysRequest) (*signalboxv1.ListApiKeysResponse, error) { //nolint:revive // the name is protoc-gen-go-grpc's
	var bad problems
	pg := bad.page(req)
	if err := bad.err(); err != nil {
		return nil, s.fail(err)
	}
	view, err := s.current(ctx)
	if err != nil {
		return nil, s.fail(err)
	}
	res := &signalboxv1.ListApiKeysResponse{Version: version(view.Version)}
	view.Ascend(store.KindAPIKey, "", pg.from, func(r *store.Record) bool {
		key := shown(r)
		if !pg.takes(r.Name, proto.Size(key)) {
			return false
		}
		res.Keys = append(res.Keys, key)
		return true
	})
	res.NextPageToken = pg.next()
	return res, nil
}

// DeleteApiKey implements ApiKeyService.
func (s *apiKeys) DeleteApiKey(ctx context.Context, req *signalboxv1.DeleteApiKeyRequest) (*signalboxv1.DeleteApiKeyResponse, error) { //nolint:revive // the name is protoc-gen-go-grpc's
	var bad problems
	bad.name("name", req.GetName())
	bad.expected(req.ExpectedRevision)
	if err := bad.err(); err != nil {
		return nil, s.fail(err)
	}
	v, err := s.write(ctx, func(view *replica.View) (txn store.Txn, err error) {
		r := view.Get(apiKeyKey(req.GetName()))
		if r == nil {
			return txn, notFound(apiKeyKey(req.GetName()))
		}
		planDelete(r, &txn)
		if err := expect(r.Key, r, req.ExpectedRevision); err != nil {
			return txn, err
		}
		return txn, leaveAdmin(view, r, &txn)
	})
	if err != nil {
		return nil, s.fail(err)
	}
	s.seen(ctx, v)
	return &signalboxv1.DeleteApiKeyResponse{Version: version(v)}, nil
}

// leaveAdmin sees to it that a transaction that removes a key leaves an admin
// key that lasts: another one must still be there when it is made.
func leaveAdmin(view *replica.View, gone *store.Record, txn *store.Txn) error {
	if !auth.IsLastingAdmin(shown(gone)) {
		return nil
	}
	for _, r := range auth.LastingAdmins(view) {
		if r.Key != gone.Key {
			txn.If = append(txn.If, store.Condition{Key: r.Key, Modified: r.Modified})
			return nil
		}
	}
	return status.Errorf(codes.FailedPrecondition, "API key %q is the last with scope \"admin\" that does not expire", gone.Name)
}
