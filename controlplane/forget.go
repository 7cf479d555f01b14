package controlplane

import (
	"context"

	"signalbox/controlplane/replica"
	"signalbox/store"
)

// forget drops nodes that are lost, and what instances were and said, when their
// records are removed, until ctx ends, and returns its cause. Removals are what
// every replica hears of.
func (cp *ControlPlane) forget(ctx context.Context) error {
	var seen *replica.View
	for {
		view, next := cp.replica.Now()
		if seen != nil && view != nil && seen.Version.Epoch == view.Version.Epoch {
			// What is not told any more is heard of from other replicas.
			_ = view.Since(seen.Version.Revision, func(*store.Record) {}, func(key store.Key) {
				switch key.Kind { //nolint:exhaustive // of the others nothing is observed
				case store.KindNode:
					cp.nodes.Forget(key.Name)
				case store.KindInstance:
					cp.runs.Forget(key.Name)
					cp.logs.Forget(key.Name)
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
