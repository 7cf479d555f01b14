package presence

import (
	"context"
	"maps"
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

// forget forgets the lost nodes that others have forgotten. Mostly it has, and
// heard why; but who was cut off from the store for long may have missed it, or
// hears that a node is lost only after that.
func (p *Presence) forget() {
	p.mu.Lock()
	forgot := slices.Collect(maps.Values(p.forgot))
	p.mu.Unlock()
	for _, nodes := range forgot {
		for node, epoch := range nodes {
			p.nodes.ForgetUpTo(node, epoch)
		}
	}
}

// miss brings this replica's note of the nodes that do not reach it, and of
// those it has forgotten, up to date, and returns what it says, nil for nothing.
func (p *Presence) miss(ctx context.Context, session store.Session, noted *signalboxv1.UnheardNodes) *signalboxv1.UnheardNodes {
	names := p.nodes.Unheard()
	p.mu.Lock()
	names = slices.DeleteFunc(names, func(node string) bool { return p.wanted[node].lease != nil }) // gone, if it lingers
	p.mu.Unlock()
	note := &signalboxv1.UnheardNodes{Nodes: names, Forgotten: p.nodes.Forgotten()}
	if len(names)+len(note.Forgotten) == 0 {
		note = nil
	}
	if proto.Equal(note, noted) {
		return noted
	}
	ctx, cancel := context.WithTimeout(ctx, p.config.TTL)
	defer cancel()
	value, err := proto.Marshal(note)
	switch {
	case err != nil:
	case note == nil:
		err = session.Remove(ctx, unheardPrefix+p.config.ID)
	default:
		err = session.Put(ctx, unheardPrefix+p.config.ID, value)
	}
	if err != nil {
		p.log.Warn("nodes that do not reach this control plane not asked for; trying again", "err", err)
		return noted
	}
	return note
}

// applyUnheard takes note of the nodes that do not reach another replica, and
// adds what they acknowledged to the leases of those that this one feeds; and of
// the nodes that another has forgotten.
func (p *Presence) applyUnheard(ch store.NoteChange) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	if ch.Whole {
		clear(p.unheard)
		clear(p.forgot)
	}
	for _, name := range ch.Gone {
		p.heardOf(strings.TrimPrefix(name, unheardPrefix), nil)
	}
	for _, n := range ch.Put {
		m := new(signalboxv1.UnheardNodes)
		if err := proto.Unmarshal(n.Value, m); err != nil {
			p.log.Error("note of unheard nodes unreadable, left out", "note", n.Name, "err", err)
			continue
		}
		p.heardOf(strings.TrimPrefix(n.Name, unheardPrefix), m)
		for _, node := range m.GetNodes() {
			if p.feeds(node) {
				p.touch(node)
			}
		}
	}
	return nil
}

// heardOf takes note of what a replica says, nil for nothing. p.mu is held.
func (p *Presence) heardOf(replica string, m *signalboxv1.UnheardNodes) {
	delete(p.unheard, replica)
	delete(p.forgot, replica)
	if slices.Sort(m.GetNodes()); len(m.GetNodes()) > 0 {
		p.unheard[replica] = m.GetNodes()
	}
	if len(m.GetForgotten()) > 0 && replica != p.config.ID {
		p.forgot[replica] = m.GetForgotten()
	}
}
