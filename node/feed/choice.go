package feed

import (
	"cmp"
	"crypto/sha256"
	"slices"
)

// A peer is a stream to a control plane, as far as choosing goes.
type peer struct {
	stream  int    // which stream
	replica string // the control plane's id; empty until its Welcome
	canFeed bool   // as its Welcome said, or as it has shown since
	unfed   bool   // it said Unfed, a moment ago
	faults  int    // updates in a row that could not be used
}

// askable reports whether a peer may be asked to feed now.
func (p *peer) askable() bool { return p.replica != "" && !p.unfed }

// better orders peers by whom to ask: those that can feed before those that
// cannot, then by a weight that differs from node to node, so that nodes
// spread over control planes and each has an order of its own.
func better(node string, p, q *peer) int {
	able := func(p *peer) int {
		if p.canFeed {
			return 0
		}
		return 1
	}
	return cmp.Or(
		cmp.Compare(able(p), able(q)),
		heavier(node, p.replica, q.replica),
		cmp.Compare(p.stream, q.stream),
	)
}

// heavier orders replicas for one node by rendezvous hashing: taking one away
// moves only the nodes it fed.
func heavier(node, replica, other string) int {
	if replica == other {
		return 0
	}
	v, w := weight(node, replica), weight(node, other)
	return slices.Compare(w[:], v[:])
}

// weight is a number that node and replica decide, and nothing else.
func weight(node, replica string) [sha256.Size]byte {
	return sha256.Sum256([]byte(node + "\x00" + replica))
}
