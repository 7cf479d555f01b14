// Package auth lets callers of the gRPC API in, or does not. A caller shows a
// secret; its hash names an API key in the replica's view of the store, and
// the key's scopes are held against the one that the method asks for. No
// method is open because somebody forgot to say what it needs.
//
// Keys are found in whatever view the replica has: a control plane that has
// lost touch with the store still knows them. One that has not read the store
// yet lets nobody in. Since that view may be old, whoever then reads a newer one
// for a call, or writes, judges the caller again; see [StillGood].
package auth

import (
	"context"
	"slices"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"signalbox/controlplane/replica"
	signalboxv1 "signalbox/proto/gen/signalbox/v1"
	"signalbox/proto/rules"
	"signalbox/store"
)

type callerKey struct{}

// A caller is who a call is from: the key that their credential stands for. The
// zero value is nobody.
type caller struct {
	key *signalboxv1.ApiKey
	by  credential
}

// with returns a context that says who calls.
func (c caller) with(ctx context.Context) context.Context {
	return context.WithValue(ctx, callerKey{}, c)
}

func callerOf(ctx context.Context) caller {
	c, _ := ctx.Value(callerKey{}).(caller)
	return c
}

// Caller returns the key that a call was made with, which must not be changed;
// nil when it was made with none. A node's certificate counts as a key of scope
// node for it alone.
func Caller(ctx context.Context) *signalboxv1.ApiKey { return callerOf(ctx).key }

// Certified reports whether a call was made with a node's certificate.
func Certified(ctx context.Context) bool { return callerOf(ctx).by.cert != nil }

// Allows reports whether a key may do what needs a scope.
func Allows(key *signalboxv1.ApiKey, scope string) bool {
	return slices.ContainsFunc(key.GetScopes(), func(have string) bool { return rules.Implies(have, scope) })
}

// MayJoin reports whether the caller may be the node of this name: its error
// is PERMISSION_DENIED.
func MayJoin(ctx context.Context, node string) error {
	key := Caller(ctx)
	if !Allows(key, scopeNode) {
		return denied(scopeNode)
	}
	if only := key.GetNode(); only != "" && only != node {
		return status.Errorf(codes.PermissionDenied, "the key is for the node %q", only)
	}
	return nil
}

// errChanged is the answer to a call whose key was let in as it was, and is
// another now.
var errChanged = TooEarly("the API key was changed meanwhile; nothing was done: ask again")

// StillGood judges the caller again, in a view that is newer than the one they
// were let in by: with what has ended since nothing may be had or written. The
// condition, nil for a call that nobody is needed for, holds for as long as this
// stays so.
func StillGood(ctx context.Context, view *replica.View) (*store.Condition, error) {
	who := callerOf(ctx)
	if who.key == nil {
		return nil, nil //nolint:nilnil // there is nothing to hold
	}
	key, err := who.by.in(view)
	if err != nil {
		return nil, err
	}
	if !slices.Equal(key.GetScopes(), who.key.GetScopes()) || key.GetNode() != who.key.GetNode() {
		return nil, errChanged
	}
	while := &store.Condition{Key: who.by.record(view)}
	if r := view.Get(while.Key); r != nil {
		while.Modified = r.Modified
	}
	return while, nil
}

// Scopes that have a meaning here.
const (
	scopeAdmin = "admin"
	scopeNode  = "node"
)

func denied(scope string) error {
	return status.Errorf(codes.PermissionDenied, "this needs an API key with scope %q", scope)
}
