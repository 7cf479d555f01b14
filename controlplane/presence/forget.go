package presence

import (
	"context"
	"fmt"
	"strings"
	"time"

	"google.golang.org/protobuf/proto"

	signalboxv1 "signalbox/proto/gen/signalbox/v1"
	"signalbox/store"
)

// keepForgets is how long a note that a node is forgotten stays: so that a
// replica which is cut off meanwhile is told of it, too.
const keepForgets = 10 * time.Minute

// Forget has all replicas drop a node that is lost, unless it is a newer
// process than epoch's. It returns once that is noted in the store, or
// store.ErrUnavailable, wrapped.
func (p *Presence) Forget(ctx context.Context, node string, epoch int64) error {
	value, err := proto.Marshal(&signalboxv1.ForgottenNode{Epoch: epoch})
	if err != nil {
		return err
	}
	session, err := p.Session(ctx)
	if err == nil {
		err = session.Put(ctx, forgetPrefix+node, value)
	}
	if err != nil {
		return fmt.Errorf("forget node %q: %w: %w", node, store.ErrUnavailable, err)
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	p.forgets[node] = time.Now().Add(keepForgets)
	return nil
}

// tidy removes the notes whose time has come.
func (p *Presence) tidy(ctx context.Context, session store.Session, now time.Time) {
	p.mu.Lock()
	var old []string
	for node, until := range p.forgets {
		if now.After(until) {
			old = append(old, node)
		}
	}
	p.mu.Unlock()
	for _, node := range old {
		if err := session.Remove(ctx, forgetPrefix+node); err != nil {
			return // tried again a moment later
		}
		p.mu.Lock()
		delete(p.forgets, node)
		p.mu.Unlock()
	}
}

// applyForgets drops the nodes that some replica was asked to forget.
func (p *Presence) applyForgets(ch store.NoteChange) error {
	for _, n := range ch.Put {
		m := new(signalboxv1.ForgottenNode)
		if err := proto.Unmarshal(n.Value, m); err != nil {
			p.log.Error("note of a forgotten node unreadable, left out", "note", n.Name, "err", err)
			continue
		}
		p.nodes.Forget(strings.TrimPrefix(n.Name, forgetPrefix), m.GetEpoch())
	}
	return nil
}
