package observe

import (
	"maps"

	"signalbox/controlplane/schedule"
	signalboxv1 "signalbox/proto/gen/signalbox/v1"
)

// Candidate is a node as those see it who give it instances. For how long it has
// been lost is not filled in.
func Candidate(seen Seen, wanted *signalboxv1.NodeWanted) schedule.Node {
	return schedule.Node{
		Name: seen.Name, Labels: Labels(seen.Observed.GetLabels(), wanted),
		Live: HoldsLease(seen.Observed.GetState()), Draining: wanted.GetDrain(),
	}
}

// HoldsLease reports whether a node is live in one way or another, by its state.
func HoldsLease(s signalboxv1.NodeState) bool {
	return s != signalboxv1.NodeState_NODE_STATE_LOST && s != signalboxv1.NodeState_NODE_STATE_UNSPECIFIED
}

// Labels are those a node says it has, with those that operators give it, which
// count more. It may return the map it is given.
func Labels(said map[string]string, wanted *signalboxv1.NodeWanted) map[string]string {
	if len(wanted.GetLabels()) == 0 {
		return said
	}
	all := maps.Clone(said)
	if all == nil {
		all = map[string]string{}
	}
	maps.Copy(all, wanted.GetLabels())
	return all
}
