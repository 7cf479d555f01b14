package observe

import (
	signalboxv1 "signalbox/proto/gen/signalbox/v1"
	"signalbox/store"
)

// KindOf is the wire's word for the store's.
func KindOf(k store.Kind) signalboxv1.Kind {
	switch k {
	case store.KindRoute:
		return signalboxv1.Kind_KIND_ROUTE
	case store.KindListener:
		return signalboxv1.Kind_KIND_LISTENER
	case store.KindNode:
		return signalboxv1.Kind_KIND_NODE
	case store.KindAPIKey:
		return signalboxv1.Kind_KIND_API_KEY
	case store.KindRevocation:
		return signalboxv1.Kind_KIND_REVOCATION
	case store.KindInstance:
		return signalboxv1.Kind_KIND_INSTANCE
	case store.KindAssignment:
		return signalboxv1.Kind_KIND_ASSIGNMENT
	}
	return signalboxv1.Kind_KIND_UNSPECIFIED
}

// kindOf is the store's word for the wire's, empty for those that are never
// sent to nodes.
func kindOf(k signalboxv1.Kind) store.Kind {
	switch k {
	case signalboxv1.Kind_KIND_ROUTE:
		return store.KindRoute
	case signalboxv1.Kind_KIND_LISTENER:
		return store.KindListener
	case signalboxv1.Kind_KIND_NODE:
		return store.KindNode
	case signalboxv1.Kind_KIND_INSTANCE:
		return store.KindInstance
	case signalboxv1.Kind_KIND_ASSIGNMENT:
		return store.KindAssignment
	}
	return ""
}

func versionOf(v *signalboxv1.Version) store.Version {
	return store.Version{Epoch: v.GetEpoch(), Revision: store.Revision(v.GetRevision())}
}
