//go:build e2e

package faults

import (
	"context"
	"testing"
)

// needsRoot says why networks cannot be broken.
func needsRoot(l *lab) string {
	if !l.root {
		return "networks of others are broken by root alone"
	}
	return ""
}

// broken is a scenario in which something is wrong with links for a while.
func broken(name string, wrong func(ctx context.Context, r *run)) scenario {
	return scenario{name: name, needs: needsRoot, do: func(ctx context.Context, r *run) {
		wrong(ctx, r)
		pause(ctx, long)
		r.links.mendAll()
	}}
}

// cuts are those in which nothing comes through.
func cuts() []scenario {
	// A member that hears the new leader and is not heard by it has a leader as
	// far as it knows: what it is asked to write waits in vain, and nothing tells
	// a client so before its patience is over. Who tries door after door may meet
	// it several times.
	muted := broken("etcd's leader hears the members, they do not", func(ctx context.Context, r *run) {
		each(r.links.mute, r, leader(ctx, r), r.of(member))
	})
	muted.refused = 2 * refusedFor
	return []scenario{
		broken("a node is cut from all control planes", func(ctx context.Context, r *run) {
			each(r.links.cut, r, aNode(ctx, r), r.of(plane))
		}),
		broken("a node is cut from the one that feeds it", func(ctx context.Context, r *run) {
			r.links.cut(r, aNode(ctx, r), feeder(ctx, r))
		}),
		broken("a control plane is cut from etcd", func(ctx context.Context, r *run) {
			each(r.links.cut, r, feeder(ctx, r), r.of(member))
		}),
		broken("etcd's leader is cut from the members", func(ctx context.Context, r *run) {
			each(r.links.cut, r, leader(ctx, r), r.of(member))
		}),
		muted,
	}
}

// badLinks are those in which it comes late, or not all of it at once.
func badLinks() []scenario {
	const latency, jitter = 200, 100 // milliseconds, each way; half of it to etcd, where a write waits for several
	return []scenario{
		broken("slow links from nodes to control planes", func(_ context.Context, r *run) {
			for _, n := range r.of(node) {
				for _, p := range r.of(plane) {
					r.links.slow(r, n, p, grpcPort, latency, jitter)
				}
			}
		}),
		broken("slow links from control planes to etcd", func(_ context.Context, r *run) {
			for _, p := range r.of(plane) {
				for _, m := range r.of(member) {
					r.links.slow(r, p, m, clientPort, latency/2, jitter/2)
				}
			}
		}),
		lossy("20 % loss between nodes and control planes", node, plane, 0.2),
		lossy("20 % loss between control planes and etcd", plane, member, 0.2),
		// With more, members elect leaders most of the time, whatever we do.
		lossy("10 % loss between etcd's members", member, member, 0.1),
	}
}

// each does something between one part and others.
func each(do func(t testing.TB, a, b *part), r *run, one *part, others []*part) {
	for _, p := range others {
		if p != one {
			do(r, one, p)
		}
	}
}

// lossy is a scenario in which a share of all packets is lost between parts of
// two kinds, in both directions.
func lossy(name string, one, other kind, share float64) scenario {
	return broken(name, func(_ context.Context, r *run) {
		for i, a := range r.parts {
			for _, b := range r.parts[i+1:] {
				if a.kind == one && b.kind == other || a.kind == other && b.kind == one {
					r.links.lose(r, a, b, share)
				}
			}
		}
	})
}
