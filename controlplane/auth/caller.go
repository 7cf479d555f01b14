// Package auth lets callers of the gRPC API in, or does not. A caller shows a
// secret; its hash names an API key in the replica's view of the store, and
// the key's scopes are held against the one that the method asks for. No
// method is open because somebody forgot to say what it needs.
//
// Keys are found in whatever view the replica has: a control plane that has
// lost touch with the store still knows them. One that has not read the store
// yet lets nobody in.
package auth

import (
	"context"
	"slices"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	signalboxv1 "signalbox/proto/gen/signalbox/v1"
	"signalbox/proto/rules"
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

// Scopes that have a meaning here.
const (
	scopeAdmin = "admin"
	scopeNode  = "node"
)

func denied(scope string) error {
	return status.Errorf(codes.PermissionDenied, "this needs an API key with scope %q", scope)
}
