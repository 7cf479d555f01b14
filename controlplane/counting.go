package controlplane

import (
	"context"

	"signalbox/controlplane/tally/checkpoint"
	signalboxv1 "signalbox/proto/gen/signalbox/v1"
	"signalbox/store"
)

// exists reports whether what counters belong to is not known to be gone: one
// that came into being after this replica's view may exist.
func (cp *ControlPlane) exists(subject checkpoint.Subject, created int64) bool {
	view, _ := cp.replica.Now()
	if view == nil || created > int64(view.Version.Revision) {
		return true
	}
	name, instance := subject.Name()
	if !instance {
		r := view.Get(store.Key{Kind: store.KindRoute, Name: name})
		return r != nil && int64(r.Created) == created
	}
	r := view.Get(store.Key{Kind: store.KindInstance, Name: name})
	// A reset that was not read of yet makes a later incarnation.
	return r != nil && created >= int64(r.Created)+r.Message.(*signalboxv1.Instance).GetResets()
}

// lead waits until this replica leads an election, under its lease.
func (cp *ControlPlane) lead(ctx context.Context, election string) (over <-chan struct{}, err error) {
	session, err := cp.stand.Session(ctx)
	if err != nil {
		return nil, err
	}
	if err := session.Lead(ctx, election); err != nil {
		return nil, err
	}
	return session.Lost(), nil
}
