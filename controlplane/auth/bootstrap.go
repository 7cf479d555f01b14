package auth

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"time"

	"google.golang.org/protobuf/types/known/timestamppb"

	"signalbox/controlplane/replica"
	signalboxv1 "signalbox/proto/gen/signalbox/v1"
	"signalbox/store"
)

// Names of the keys that are made from the environment, or by themselves.
const (
	BootstrapName = "bootstrap"
	CHPName       = "chp"
)

// shortSecret is the length below which a secret chosen by somebody can be
// guessed.
const shortSecret = 16

// pause is how long to wait before a fault of the store is tried again.
const pause = 250 * time.Millisecond

// maxConflicts is how often others may be quicker: only control planes that
// start at the same moment are.
const maxConflicts = 16

// Current returns views that hold every write answered before the call.
type Current interface {
	Current(ctx context.Context) (*replica.View, error)
}

// Committer writes records.
type Committer interface {
	Commit(ctx context.Context, txn store.Txn) (store.Revision, error)
}

// Keyring writes keys without a caller, when a control plane starts. The
// replica that Views come from must be running.
type Keyring struct {
	Views Current
	Store Committer
	Log   *slog.Logger
}

// Bootstrap sees to it that there is an admin key. With a secret, it is that
// of the key named "bootstrap" from now on. Without one, a key of this name is
// made if there is no admin key that lasts, and its secret is returned, once,
// by the one process that made it; otherwise the string is empty. Faults of
// the store are waited out until ctx ends.
func (k Keyring) Bootstrap(ctx context.Context, secret string) (string, error) {
	if secret != "" {
		return "", k.Put(ctx, secret, BootstrapName, scopeAdmin)
	}
	made := NewSecret()
	hash := Hash(made)
	err := k.settle(ctx, func(view *replica.View) (bool, error) {
		if view.APIKeyHashed(hash) != nil {
			secret = made // it was written, whatever was heard of that
			return true, nil
		}
		if len(LastingAdmins(view)) > 0 {
			return true, nil
		}
		if view.Get(store.Key{Kind: store.KindAPIKey, Name: BootstrapName}) != nil {
			return false, fmt.Errorf("the name %q is taken by a key that is none: give a secret for it", BootstrapName)
		}
		return false, k.commit(ctx, view, hash, BootstrapName, scopeAdmin)
	})
	if err != nil {
		return "", fmt.Errorf("make the first admin key: %w", err)
	}
	return secret, nil
}

// Put sees to it that the key of a name has a secret and exactly these
// scopes, and lasts. It writes nothing when that is so already. Faults of the
// store are waited out until ctx ends.
func (k Keyring) Put(ctx context.Context, secret, name string, scopes ...string) error {
	if err := checkSecret(secret); err != nil {
		return fmt.Errorf("write key %q: %w", name, err)
	}
	if len(secret) < shortSecret {
		k.Log.Warn("the secret given for a key is short, and can be guessed", "key", name)
	}
	hash := Hash(secret)
	err := k.settle(ctx, func(view *replica.View) (bool, error) {
		if is(view, hash, name, scopes) {
			return true, nil
		}
		if other := view.APIKeyHashed(hash); other != nil && other.Name != name {
			return false, fmt.Errorf("its secret is also that of the key %q; each needs its own", other.Name)
		}
		return false, k.commit(ctx, view, hash, name, scopes...)
	})
	if err != nil {
		return fmt.Errorf("write key %q: %w", name, err)
	}
	return nil
}

// Remove sees to it that there is no key of a name. Faults of the store are
// waited out until ctx ends.
func (k Keyring) Remove(ctx context.Context, name string) error {
	key := store.Key{Kind: store.KindAPIKey, Name: name}
	err := k.settle(ctx, func(view *replica.View) (bool, error) {
		old := view.Get(key)
		if old == nil {
			return true, nil
		}
		txn := store.Txn{If: []store.Condition{{Key: key, Modified: old.Modified}}, Delete: []store.Key{key}}
		if was, ok := old.Message.(*signalboxv1.ApiKeyRecord); ok {
			txn.Release = []string{ClaimName(was.GetHash())}
		}
		rev, err := k.Store.Commit(ctx, txn)
		if err == nil {
			k.Log.Info("key removed", "rev", rev, "key", name)
		}
		return false, err
	})
	if err != nil {
		return fmt.Errorf("remove key %q: %w", name, err)
	}
	return nil
}

// LastingAdmins returns the keys with scope admin that do not expire.
func LastingAdmins(view *replica.View) []*store.Record {
	var all []*store.Record
	view.Ascend(store.KindAPIKey, "", "", func(r *store.Record) bool {
		if record, ok := r.Message.(*signalboxv1.ApiKeyRecord); ok && IsLastingAdmin(record.GetKey()) {
			all = append(all, r)
		}
		return true
	})
	return all
}

// IsLastingAdmin reports whether a key has scope admin and does not expire.
func IsLastingAdmin(key *signalboxv1.ApiKey) bool {
	return slices.Contains(key.GetScopes(), scopeAdmin) && key.GetExpireTime() == nil
}

// is reports whether a key is as it should be.
func is(view *replica.View, hash []byte, name string, scopes []string) bool {
	old := view.Get(store.Key{Kind: store.KindAPIKey, Name: name})
	if old == nil {
		return false
	}
	record, ok := old.Message.(*signalboxv1.ApiKeyRecord)
	key := record.GetKey()
	return ok && bytes.Equal(record.GetHash(), hash) && slices.Equal(key.GetScopes(), scopes) &&
		key.GetExpireTime() == nil && key.GetNode() == ""
}

// commit writes a key if it is still as it is in a view.
func (k Keyring) commit(ctx context.Context, view *replica.View, hash []byte, name string, scopes ...string) error {
	now := timestamppb.Now()
	meta := &signalboxv1.Meta{CreateTime: now, UpdateTime: now}
	record, claim := Record(&signalboxv1.ApiKey{Name: name, Scopes: scopes, Meta: meta}, hash)
	txn := store.Txn{If: []store.Condition{{Key: record.Key}}, Put: []store.Record{record}, Claim: []store.Claim{claim}}
	if old := view.Get(record.Key); old != nil {
		was, _ := old.Message.(*signalboxv1.ApiKeyRecord)
		meta.CreateTime = was.GetKey().GetMeta().GetCreateTime()
		txn.If[0].Modified = old.Modified
		if bytes.Equal(was.GetHash(), hash) {
			txn.Claim = nil
		} else {
			txn.Release = []string{ClaimName(was.GetHash())}
		}
	}
	rev, err := k.Store.Commit(ctx, txn)
	if err == nil {
		k.Log.Info("key written", "rev", rev, "key", name)
	}
	return err
}

// settle shows step current views until it is done. In between it may have
// written, or failed to because others did or the store did not answer; what
// came of that, the next view says.
func (k Keyring) settle(ctx context.Context, step func(*replica.View) (done bool, err error)) error {
	for conflicts := 0; ; {
		done := false
		view, err := k.Views.Current(ctx)
		if err == nil {
			done, err = step(view)
		}
		var conflict *store.ConflictError
		switch {
		case err == nil && done:
			return nil
		case err == nil:
		case errors.As(err, &conflict) && conflicts < maxConflicts:
			conflicts++
		case errors.Is(err, store.ErrUnavailable), errors.Is(err, replica.ErrBehind):
			k.Log.Warn("the store does not answer; trying again", "err", err)
			select {
			case <-time.After(pause):
			case <-ctx.Done():
				return errors.Join(err, context.Cause(ctx))
			}
		default:
			return err
		}
	}
}

// checkSecret refuses what could not be sent in a header.
func checkSecret(secret string) error {
	for _, r := range secret {
		if r <= ' ' || r > '~' {
			return errors.New("a secret may only hold visible ASCII characters")
		}
	}
	if secret == "" {
		return errors.New("a secret must not be empty")
	}
	return nil
}
