package api

import (
	"context"
	"slices"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"

	"signalbox/controlplane/auth"
	"signalbox/controlplane/replica"
	signalboxv1 "signalbox/proto/gen/signalbox/v1"
	"signalbox/store"
)

// RotateApiKey implements ApiKeyService. The caller's own key is asked to be as
// it was let in, as in every write: so of two calls with one secret at once the
// second is refused, and the secret that was answered first stays good.
func (s *apiKeys) RotateApiKey(ctx context.Context, _ *signalboxv1.RotateApiKeyRequest) (*signalboxv1.RotateApiKeyResponse, error) { //nolint:revive // the name is protoc-gen-go-grpc's
	name := auth.Caller(ctx).GetName()
	switch {
	case auth.Certified(ctx) || name == "":
		return nil, s.fail(status.Error(codes.FailedPrecondition, "the call was made without an API key: there is none to give a new secret"))
	case slices.Contains(s.Given, name):
		return nil, s.fail(status.Errorf(codes.FailedPrecondition,
			"the secret of API key %q is one that control planes are given when they start, and would be this again then: give them another and start them anew", name))
	}
	secret := auth.NewSecret()
	var p *put
	v, err := s.write(ctx, func(view *replica.View) (txn store.Txn, err error) {
		before := view.Get(apiKeyKey(name))
		if before == nil {
			return txn, notFound(apiKeyKey(name))
		}
		key := proto.CloneOf(shown(before))
		key.Meta = &signalboxv1.Meta{}
		record, _ := auth.Record(key, auth.Hash(secret))
		p = &put{field: "key", key: record.Key, message: record.Message, meta: key.Meta}
		return txn, p.plan(view, &txn)
	})
	if err != nil {
		return nil, s.fail(err)
	}
	p.finish(v.Revision)
	s.seen(ctx, v)
	key := p.message.(*signalboxv1.ApiKeyRecord).GetKey()
	return &signalboxv1.RotateApiKeyResponse{Key: key, Secret: secret, Version: version(v)}, nil
}
