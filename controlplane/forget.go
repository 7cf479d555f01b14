package controlplane

import (
	"context"

	"signalbox/controlplane/replica"
	"signalbox/store"
)

// forget drops nodes that are lost when their records are removed, until ctx
// ends, and returns its cause. Removals are what every replica hears of.
func (cp *ControlPlane) forget(ctx context.Context) error {
	var seen *replica.View
	for {
		view, next := cp.replica.Now()
		if seen != nil && view != nil && seen.Version.Epoch == view.Version.Epoch {
			// What is not told any more is heard of from other replicas.
			_ = view.Since(seen.Version.Revision, func(*store.Record) {}, func(key store.Key) {
				if key.Kind == store.KindNode {
					cp.nodes.Forget(key.Name)
				}
			})
		}
		seen = view
		select {
		case <-next:
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}
}
