package auth

import (
	"context"

	"signalbox/controlplane/replica"
	"signalbox/store"
)

// Run ends the streams of credentials that are no longer good, until ctx ends,
// and returns its cause.
func (k *Keys) Run(ctx context.Context) error {
	var seen *replica.View
	for {
		view, next := k.views.Now()
		if view != nil && touches(seen, view) {
			k.endInvalid(view)
		}
		seen = view
		select {
		case <-next:
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}
}

// touches reports whether what credentials stand for may have changed between
// two views. Most writes are of routes, and there may be many streams.
func touches(before, after *replica.View) bool {
	if before == nil || before.Version.Epoch != after.Version.Epoch || before.Version.Revision > after.Version.Revision {
		return true
	}
	touched := false
	told := after.Since(before.Version.Revision,
		func(r *store.Record) { touched = touched || concerns(r.Key) },
		func(key store.Key) { touched = touched || concerns(key) })
	return touched || !told
}

// endInvalid ends the streams whose credentials are not good in a view.
func (k *Keys) endInvalid(view *replica.View) {
	k.mu.Lock()
	defer k.mu.Unlock()
	for c := range k.calls {
		if _, err := c.by.in(view); err != nil {
			c.end(err)
		}
	}
}
