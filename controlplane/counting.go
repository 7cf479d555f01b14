package controlplane

import (
	"context"

	"signalbox/store"
)

// routeExists reports whether a route's incarnation is not known to be gone:
// one created after this replica's view may exist.
func (cp *ControlPlane) routeExists(name string, created int64) bool {
	view, _ := cp.replica.Now()
	if view == nil || created > int64(view.Version.Revision) {
		return true
	}
	r := view.Get(store.Key{Kind: store.KindRoute, Name: name})
	return r != nil && int64(r.Created) == created
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
