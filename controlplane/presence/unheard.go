package presence

import (
	"context"
	"slices"
	"strings"
	"time"

	"google.golang.org/protobuf/proto"

	signalboxv1 "signalbox/proto/gen/signalbox/v1"
	"signalbox/store"
)

// lookEvery is how often a replica looks for nodes that do not reach it. Nodes
// come to all replicas within less, and few ever stay away from one.
const lookEvery = time.Second

// Tell says that a node has acknowledged something. If this replica feeds it,
// those that it does not reach are told; mostly there are none.
func (p *Presence) Tell(node string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if len(p.unheard) > 0 && p.feeds(node) && p.isUnheard(node) {
		p.touch(node)
	}
}

// feeds reports whether this replica vouches for a node that is connected to
// it. p.mu is held.
func (p *Presence) feeds(node string) bool {
	_, wanted := p.wanted[node]
	_, lingers := p.linger[node]
	return wanted && !lingers
}

// isUnheard reports whether there is a replica that a node does not reach.
// p.mu is held.
func (p *Presence) isUnheard(node string) bool {
	for _, nodes := range p.unheard {
		if _, found := slices.BinarySearch(nodes, node); found {
			return true
		}
	}
	return false
}

// miss brings this replica's note of the nodes that do not reach it up to
// date, and returns which they are by that.
func (p *Presence) miss(ctx context.Context, session store.Session, noted []string) []string {
	names := p.nodes.Unheard()
	p.mu.Lock()
	names = slices.DeleteFunc(names, func(node string) bool { return p.wanted[node].lease != nil }) // gone, if it lingers
	p.mu.Unlock()
	if slices.Equal(names, noted) {
		return noted
	}
	ctx, cancel := context.WithTimeout(ctx, p.config.TTL)
	defer cancel()
	value, err := proto.Marshal(&signalboxv1.UnheardNodes{Nodes: names})
	switch {
	case err != nil:
	case len(names) == 0:
		err = session.Remove(ctx, unheardPrefix+p.config.ID)
	default:
		err = session.Put(ctx, unheardPrefix+p.config.ID, value)
	}
	if err != nil {
		p.log.Warn("nodes that do not reach this control plane not asked for; trying again", "err", err)
		return noted
	}
	return names
}

// applyUnheard takes note of the nodes that do not reach another replica, and
// adds what they acknowledged to the leases of those that this one feeds.
func (p *Presence) applyUnheard(ch store.NoteChange) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	if ch.Whole {
		clear(p.unheard)
	}
	for _, name := range ch.Gone {
		delete(p.unheard, strings.TrimPrefix(name, unheardPrefix))
	}
	for _, n := range ch.Put {
		m := new(signalboxv1.UnheardNodes)
		if err := proto.Unmarshal(n.Value, m); err != nil {
			p.log.Error("note of unheard nodes unreadable, left out", "note", n.Name, "err", err)
			continue
		}
		slices.Sort(m.Nodes)
		p.unheard[strings.TrimPrefix(n.Name, unheardPrefix)] = m.GetNodes()
		for _, node := range m.GetNodes() {
			if p.feeds(node) {
				p.touch(node)
			}
		}
	}
	return nil
}
