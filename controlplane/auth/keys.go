package auth

import (
	"context"
	"crypto/subtle"
	"sync"
	"time"

	"golang.org/x/time/rate"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"

	"signalbox/controlplane/replica"
	signalboxv1 "signalbox/proto/gen/signalbox/v1"
	"signalbox/store"
)

// Views is where keys are looked up.
type Views interface {
	// Now returns the newest view, nil before the first, and a channel that
	// is closed when there is a newer one.
	Now() (*replica.View, <-chan struct{})
	// Current returns a view that holds every write answered before the call.
	Current(ctx context.Context) (*replica.View, error)
}

// Keys lets callers in. It is safe for concurrent use.
type Keys struct {
	views  Views
	scopes map[string]string // of every method there is, by its full name
	fresh  *rate.Limiter     // of asking the store about keys that are not known

	mu    sync.Mutex
	calls map[*call]struct{} // the streams that are open
}

// New returns a Keys that looks keys up in views. Its interceptors work at
// once; streams are ended when their keys are, as long as Run runs.
func New(views Views) *Keys {
	return &Keys{views: views, scopes: scopes(), fresh: rate.NewLimiter(freshRate, freshRate), calls: map[*call]struct{}{}}
}

// errWho is the answer to everyone who is not let in. It does not tell apart
// a key that is missing, unknown or expired.
var errWho = status.Error(codes.Unauthenticated,
	`a valid API key is needed, sent as "authorization: Bearer KEY" or "x-api-key: KEY"`)

// errTooEarly is the answer while there is nothing to look keys up in.
var errTooEarly = status.Error(codes.Unavailable, "this control plane has not read its keys yet")

// admit returns the record of the caller's key if that allows a method, nil if
// the method needs none, or the status to refuse the call with.
func (k *Keys) admit(ctx context.Context, method string) (*signalboxv1.ApiKeyRecord, error) {
	if isOpen(method) {
		return nil, nil
	}
	scope, ok := k.scopes[method]
	if !ok {
		return nil, status.Errorf(codes.PermissionDenied, "%s is refused to everyone: it does not say what it needs", method)
	}
	md, _ := metadata.FromIncomingContext(ctx)
	record, err := k.find(ctx, presented(md))
	if err != nil {
		return nil, err
	}
	if !Allows(record.GetKey(), scope) {
		return nil, denied(scope)
	}
	return record, nil
}

// A key that is not known may have been made a moment ago, by another control
// plane. The store is asked before it is refused, but strangers cannot make
// that many questions.
const (
	freshRate    = 50 // a second
	freshTimeout = 2 * time.Second
)

// find returns the valid key with this secret.
func (k *Keys) find(ctx context.Context, secret string) (*signalboxv1.ApiKeyRecord, error) {
	view, _ := k.views.Now()
	if view == nil {
		return nil, errTooEarly
	}
	if secret == "" {
		return nil, errWho
	}
	hash := Hash(secret)
	record, err := lookup(view, hash)
	if err == nil || !k.fresh.Allow() {
		return record, err
	}
	ctx, cancel := context.WithTimeout(ctx, freshTimeout)
	defer cancel()
	if view, stale := k.views.Current(ctx); stale == nil {
		return lookup(view, hash)
	}
	return nil, err
}

// lookup returns the valid key with this hash.
func lookup(view *replica.View, hash []byte) (*signalboxv1.ApiKeyRecord, error) {
	found := view.APIKeyHashed(hash)
	if found == nil {
		return nil, errWho
	}
	record, ok := found.Message.(*signalboxv1.ApiKeyRecord)
	if !ok || subtle.ConstantTimeCompare(record.GetHash(), hash) != 1 {
		return nil, errWho
	}
	if end := record.GetKey().GetExpireTime(); end != nil && !time.Now().Before(end.AsTime()) {
		return nil, errWho
	}
	return record, nil
}

// isKey reports whether a change of this record can end a stream.
func isKey(key store.Key) bool { return key.Kind == store.KindAPIKey }
