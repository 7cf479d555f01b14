package presence

import (
	"context"
	"maps"
	"slices"
	"strings"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"
	"google.golang.org/protobuf/proto"

	signalboxv1 "signalbox/proto/gen/signalbox/v1"
	"signalbox/store"
)

// retry is how long to wait before a fault of the store is tried again.
const retry = 250 * time.Millisecond

// Run keeps the lease and follows the others' until ctx ends, and returns its
// cause. A lease that is lost is begun anew as soon as the store answers.
func (p *Presence) Run(ctx context.Context) error {
	defer p.dropLingering()
	g, ctx := errgroup.WithContext(ctx)
	g.Go(func() error { return p.keepSessions(ctx) })
	g.Go(func() error { return p.notes.FollowNotes(ctx, memberPrefix, p.applyMembers) })
	g.Go(func() error { return p.notes.FollowNotes(ctx, livePrefix, p.liveApplier()) })
	g.Go(func() error { return p.notes.FollowNotes(ctx, unheardPrefix, p.applyUnheard) })
	return g.Wait()
}

// dropLingering stops all timers.
func (p *Presence) dropLingering() {
	p.mu.Lock()
	defer p.mu.Unlock()
	for node := range p.linger {
		p.stay(node)
	}
}

func (p *Presence) keepSessions(ctx context.Context) error {
	for {
		session, err := p.notes.Session(ctx, p.config.TTL)
		if err == nil {
			p.keep(ctx, session)
		} else if ctx.Err() == nil {
			p.log.Warn("no lease yet", "err", err)
		}
		select {
		case <-time.After(retry):
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}
}

// keep writes what this replica vouches for under one session, until that is
// lost or ctx ends. What it held is removed at the end, if the store answers.
func (p *Presence) keep(ctx context.Context, session store.Session) {
	defer func() {
		p.change(func() { p.session = nil })
		ending, cancel := context.WithTimeout(context.WithoutCancel(ctx), p.config.TTL/2)
		defer cancel()
		if err := session.Close(ending); err != nil {
			p.log.Info("lease left to run out", "err", err)
		}
	}()
	if err := p.introduce(ctx, session); err != nil {
		p.log.Warn("lease begun, but not announced", "err", err)
		return
	}
	p.change(func() {
		p.session = session
		for node := range p.linger { // somebody else may feed it by now
			p.stay(node)
			delete(p.wanted, node)
		}
		for node := range p.wanted {
			p.touch(node)
		}
	})
	p.log.Info("lease begun", "ttl", p.config.TTL.String())
	// Nothing that is written under the session may take longer than it lasts.
	held, end := whileHeld(ctx, session)
	defer end()
	var again <-chan time.Time          // nil while every note is as wanted
	var noted *signalboxv1.UnheardNodes // what the others know of nodes that do not reach this replica, nil for nothing
	look := time.NewTicker(lookEvery)
	defer look.Stop()
	for {
		select {
		case <-p.kick:
			again = p.write(held, session)
		case <-again:
			again = p.write(held, session)
		case <-look.C:
			p.forget()
			noted = p.miss(held, session, noted)
		case <-held.Done():
			if ctx.Err() == nil {
				p.lost.Add(1)
				p.log.Warn("lease lost; not feeding until there is another")
			}
			return
		}
	}
}

// whileHeld returns a context that ends with a session, with its parent, or
// with the call of end.
func whileHeld(ctx context.Context, session store.Session) (held context.Context, end func()) {
	held, cancel := context.WithCancel(ctx)
	var watching sync.WaitGroup
	watching.Go(func() {
		select {
		case <-session.Lost():
			cancel()
		case <-held.Done():
		}
	})
	return held, func() {
		cancel()
		watching.Wait()
	}
}

// introduce writes this replica's own note.
func (p *Presence) introduce(ctx context.Context, session store.Session) error {
	value, err := proto.Marshal(&signalboxv1.MemberLease{Address: p.config.Address, SoftwareVersion: p.config.Version})
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, p.config.TTL)
	defer cancel()
	return session.Put(ctx, memberPrefix+p.config.ID, value)
}

// write brings the notes of all touched nodes to what is wanted. It returns
// when to try again, nil if it is not necessary.
func (p *Presence) write(ctx context.Context, session store.Session) <-chan time.Time {
	p.mu.Lock()
	dirty := p.dirty
	p.dirty = map[string]bool{}
	leases := make(map[string]*signalboxv1.NodeLease, len(dirty))
	told := map[string]*signalboxv1.NodeLease{}
	for node := range dirty {
		leases[node] = p.wanted[node].lease
		if leases[node] != nil && p.isUnheard(node) {
			told[node] = proto.CloneOf(leases[node])
		}
	}
	p.mu.Unlock()
	for node, lease := range told {
		p.nodes.Told(lease, node)
		leases[node] = lease
	}

	g, gctx := errgroup.WithContext(ctx)
	g.SetLimit(16)
	for node, lease := range leases {
		g.Go(func() error { return p.writeOne(gctx, session, node, lease) })
	}
	err := g.Wait()
	if err == nil || ctx.Err() != nil {
		return nil
	}
	p.log.Warn("node leases not written; trying again", "err", err)
	p.mu.Lock()
	defer p.mu.Unlock()
	for node := range dirty {
		p.dirty[node] = true
	}
	return time.After(retry)
}

func (p *Presence) writeOne(ctx context.Context, session store.Session, node string, lease *signalboxv1.NodeLease) error {
	ctx, cancel := context.WithTimeout(ctx, p.config.TTL)
	defer cancel()
	if lease == nil {
		return session.Remove(ctx, livePrefix+node)
	}
	value, err := proto.Marshal(lease)
	if err != nil {
		return err
	}
	return session.Put(ctx, livePrefix+node, value)
}

func (p *Presence) applyMembers(ch store.NoteChange) error {
	p.change(func() {
		if ch.Whole {
			clear(p.members)
		}
		for _, n := range ch.Put {
			m := new(signalboxv1.MemberLease)
			if err := proto.Unmarshal(n.Value, m); err != nil {
				p.log.Error("member note unreadable, left out", "note", n.Name, "err", err)
				continue
			}
			p.members[strings.TrimPrefix(n.Name, memberPrefix)] = m
		}
		for _, name := range ch.Gone {
			delete(p.members, strings.TrimPrefix(name, memberPrefix))
		}
		p.listed = p.memberList()
	})
	return nil
}

// memberList is the members as nodes are told of them. p.mu is held.
func (p *Presence) memberList() *signalboxv1.Members {
	all := new(signalboxv1.Members)
	for _, id := range slices.Sorted(maps.Keys(p.members)) {
		all.Members = append(all.Members, &signalboxv1.Member{Id: id, Address: p.members[id].GetAddress()})
	}
	return all
}

// liveApplier returns what hands node leases on. It remembers which there
// were, to tell which ended when everything is told anew.
func (p *Presence) liveApplier() func(store.NoteChange) error {
	known := map[string]bool{}
	return func(ch store.NoteChange) error {
		gone := map[string]bool{}
		if ch.Whole {
			gone, known = known, map[string]bool{}
		}
		for _, name := range ch.Gone {
			gone[strings.TrimPrefix(name, livePrefix)] = true
		}
		for _, n := range ch.Put {
			node, lease := strings.TrimPrefix(n.Name, livePrefix), new(signalboxv1.NodeLease)
			if err := proto.Unmarshal(n.Value, lease); err != nil {
				p.log.Error("node lease unreadable, left out", "node", node, "err", err)
				continue
			}
			delete(gone, node)
			known[node] = true
			p.nodes.Leased(node, lease)
		}
		for node := range gone {
			delete(known, node)
			p.nodes.Leased(node, nil)
		}
		return nil
	}
}
