package controlplane

import (
	"context"

	"signalbox/controlplane/tally"
	signalboxv1 "signalbox/proto/gen/signalbox/v1"
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

// totals is the tally as the API asks for it.
type totals struct{ *tally.Book }

// Totals is what a route's incarnation carried.
func (t totals) Totals(route string, created store.Revision) *signalboxv1.RouteObserved {
	return t.Book.Totals(route, int64(created)).Observed()
}
