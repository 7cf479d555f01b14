// Package storetest is the promises of package store as tests. Every keeper
// runs them; what only one keeper can show is tested beside it.
package storetest

import (
	"context"
	"fmt"
	"slices"
	"testing"
	"time"

	"google.golang.org/protobuf/proto"

	signalboxv1 "signalbox/proto/gen/signalbox/v1"
	"signalbox/store"
)

// patience bounds every wait of these tests. None of them measures time:
// reaching it is a failure.
const patience = 20 * time.Second

// Keeper is all that package store promises.
type Keeper interface {
	store.Records
	store.Notes
}

// A Subject is a store to be tested, new and empty.
type Subject struct {
	// Keeper is one way to the store.
	Keeper
	// Other is a second one, as another process has it.
	Other Keeper
	// Compact makes the store forget all changes made so far.
	Compact func(*testing.T)
	// PutRaw writes bytes under a key, as somebody would with the keeper's
	// own tools.
	PutRaw func(*testing.T, store.Key, []byte)
	// Cut makes the store unreachable through Keeper, and through it alone;
	// Mend ends that. Nil for a way that cannot be cut: what needs it is then
	// skipped.
	Cut, Mend func(*testing.T)
}

// Run checks the stores that open returns. Each promise gets a fresh one.
func Run(t *testing.T, open func(*testing.T) Subject) {
	for _, p := range slices.Concat(writing, limiting, following, losing, noting, leasing) {
		t.Run(p.name, func(t *testing.T) {
			s := open(t)
			if s.Cut == nil {
				s.Cut = func(t *testing.T) { t.Skip("this way to the store cannot be cut") }
			}
			p.holds(t, s)
		})
	}
}

// promise is one sentence about a store, and how to show it.
type promise struct {
	name  string
	holds func(*testing.T, Subject)
}

// Route returns a route's record; to tells one version of it from another.
func Route(name, to string) store.Record {
	return store.Record{
		Key: key(name),
		Message: &signalboxv1.Route{
			Name:      name,
			Match:     &signalboxv1.Match{PathPrefix: "/" + name},
			Upstreams: []*signalboxv1.Upstream{{Url: "http://" + to}},
		},
	}
}

// key is that of a route.
func key(name string) store.Key { return store.Key{Kind: store.KindRoute, Name: name} }

// put returns a transaction that writes routes.
func put(routes ...store.Record) store.Txn { return store.Txn{Put: routes} }

// within is a context that ends when the test has waited too long.
func within(t *testing.T) context.Context {
	ctx, cancel := context.WithTimeoutCause(t.Context(), patience,
		fmt.Errorf("not within %v", patience))
	t.Cleanup(cancel)
	return ctx
}

// commit commits or fails the test.
func commit(t *testing.T, s store.Records, txn store.Txn) store.Revision {
	t.Helper()
	rev, err := s.Commit(within(t), txn)
	if err != nil {
		t.Fatalf("commit: %v", err)
	}
	return rev
}

// head returns the version of the newest change.
func head(t *testing.T, s store.Records) store.Version {
	t.Helper()
	v, err := s.Head(within(t))
	if err != nil {
		t.Fatalf("head: %v", err)
	}
	return v
}

// read returns one record, or nil.
func read(t *testing.T, s store.Records, name string) *store.Record {
	t.Helper()
	found, _, err := s.Read(within(t), key(name))
	if err != nil {
		t.Fatalf("read: %v", err)
	}
	return found[0]
}

// target is what Route was given as to; empty if there is no record.
func target(r *store.Record) string {
	if r == nil {
		return ""
	}
	return r.Message.(*signalboxv1.Route).GetUpstreams()[0].GetUrl()[len("http://"):]
}

// same compares records, their messages included.
func same(a, b store.Record) bool {
	return a.Key == b.Key && a.Created == b.Created && a.Modified == b.Modified &&
		proto.Equal(a.Message, b.Message)
}
