package auth

import (
	"context"

	"signalbox/controlplane/replica"
	"signalbox/store"
)

// Run ends the streams of keys that are deleted or changed, until ctx ends,
// and returns its cause.
func (k *Keys) Run(ctx context.Context) error {
	var seen *replica.View
	for {
		view, next := k.views.Now()
		if view != nil && touchesKeys(seen, view) {
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

// touchesKeys reports whether any key may have changed between two views.
// Most writes are of routes, and there may be many streams.
func touchesKeys(before, after *replica.View) bool {
	if before == nil || before.Version.Epoch != after.Version.Epoch || before.Version.Revision > after.Version.Revision {
		return true
	}
	touched := false
	told := after.Since(before.Version.Revision,
		func(r *store.Record) { touched = touched || isKey(r.Key) },
		func(key store.Key) { touched = touched || isKey(key) })
	return touched || !told
}

// endInvalid ends the streams whose keys are not valid in a view.
func (k *Keys) endInvalid(view *replica.View) {
	k.mu.Lock()
	defer k.mu.Unlock()
	for c := range k.calls {
		if _, err := lookup(view, c.hash); err != nil {
			c.end(errWho)
		}
	}
}
