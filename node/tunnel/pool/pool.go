package pool

import (
	"container/list"
	"context"
	"fmt"
	"sync"
	"time"

	"signalbox/node/tunnel/link"
)

// Patience is how long a connection and the word that it is used wait for each
// other.
const Patience = 5 * time.Second

// A Pool is a session's connections that wait to be used, oldest first, and
// whoever waits for one: the end that receives users for any, the other for
// the one with a certain id. It is safe for concurrent use.
type Pool struct {
	// peerFirst says that the peer is the end that receives users, which speaks
	// first on a connection.
	peerFirst bool
	changed   chan struct{}

	mu       sync.Mutex
	closed   bool
	idle     *list.List // of *Member
	byID     map[string]*list.Element
	waiting  *list.List // of *waiter, whoever waits longest first
	demand   Demand
	arrived  time.Time      // when the last member came
	watchers sync.WaitGroup // one per idle member; added to while not closed
}

// A waiter waits for a member.
type waiter struct {
	id    string // empty for any
	since time.Time
	// got has room for the member, and is closed when the pool is.
	got chan *Member
}

// New returns an empty pool. peerFirst says that the peer is the end that
// receives users; d, which is zero at a server, how many a client keeps.
func New(peerFirst bool, d Demand) *Pool {
	return &Pool{
		peerFirst: peerFirst,
		changed:   make(chan struct{}, 1),
		idle:      list.New(),
		byID:      map[string]*list.Element{},
		waiting:   list.New(),
		demand:    d,
		arrived:   time.Now(),
	}
}

// Put takes over a connection, and says whether it was taken: not when as many
// as most are idle, its id is not free, or the pool is closed.
func (p *Pool) Put(m *Member, most int) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.closed || p.byID[m.ID] != nil {
		return false
	}
	w := p.waits(m.ID)
	if w == nil && p.idle.Len() >= most {
		return false
	}
	p.arrived = time.Now()
	m.usable = p.arrived
	if !p.peerFirst {
		m.usable = p.arrived.Add(settle)
	}
	m.taken, m.watched = make(chan struct{}), make(chan struct{})
	if w != nil {
		w.got <- m
	} else {
		p.byID[m.ID] = p.idle.PushBack(m)
	}
	p.watchers.Go(func() {
		if m.watch(p.peerFirst) && p.remove(m) {
			_ = m.Close()
		}
	})
	return true
}

// waits takes out whoever has waited longest for a member with this id, nil if
// nobody has. mu is held.
func (p *Pool) waits(id string) *waiter {
	for e := p.waiting.Front(); e != nil; e = e.Next() {
		if w := e.Value.(*waiter); w.id == "" || w.id == id {
			p.waiting.Remove(e)
			return w
		}
	}
	return nil
}

// Free tells whether no member has an id.
func (p *Pool) Free(id string) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.byID[id] == nil
}

// remove takes a member out that is of no use, and says whether it was there.
func (p *Pool) remove(m *Member) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	e := p.byID[m.ID]
	if e == nil || e.Value.(*Member) != m {
		return false
	}
	p.unlink(e)
	return true
}

// unlink takes an idle member out. mu is held.
func (p *Pool) unlink(e *list.Element) *Member {
	m := p.idle.Remove(e).(*Member)
	delete(p.byID, m.ID)
	p.wake()
	return m
}

// wake gives changed its token.
func (p *Pool) wake() {
	select {
	case p.changed <- struct{}{}:
	default:
	}
}

// Take waits for a member, the oldest where id is empty, until ctx ends.
// link.ErrEnded, wrapped, when the pool is closed.
func (p *Pool) Take(ctx context.Context, id string) (*Member, error) {
	for {
		m, w := p.pick(id)
		if w != nil {
			var err error
			if m, err = p.wait(ctx, w); err != nil {
				return nil, err
			}
		}
		if m.release() {
			return m, nil
		}
		_ = m.Close()
	}
}

// Drop closes a connection that is not used after all. It does nothing where no
// member has that id.
func (p *Pool) Drop(id string) {
	p.mu.Lock()
	e := p.byID[id]
	if e == nil {
		p.mu.Unlock()
		return
	}
	m := p.unlink(e)
	p.mu.Unlock()
	m.drop()
}

// pick takes an idle member out, or else says who waits for one.
func (p *Pool) pick(id string) (*Member, *waiter) {
	p.mu.Lock()
	defer p.mu.Unlock()
	e := p.idle.Front()
	if id != "" {
		e = p.byID[id]
	}
	if e != nil {
		m := p.unlink(e)
		p.demand.left(p.idle.Len())
		return m, nil
	}
	w := &waiter{id: id, since: time.Now(), got: make(chan *Member, 1)}
	if p.closed {
		close(w.got)
	} else {
		p.waiting.PushBack(w)
		p.wake()
	}
	return nil, w
}

// wait is for the member that w gets.
func (p *Pool) wait(ctx context.Context, w *waiter) (*Member, error) {
	select {
	case <-ctx.Done():
		p.forget(w)
	case m, ok := <-w.got:
		return given(m, ok)
	}
	select { // it may have come at the last moment
	case m, ok := <-w.got:
		return given(m, ok)
	default:
		return nil, fmt.Errorf("waiting for a free connection of the peer: %w", context.Cause(ctx))
	}
}

// given is what a waiter got.
func given(m *Member, ok bool) (*Member, error) {
	if !ok {
		return nil, fmt.Errorf("no connection is free: %w", link.ErrEnded)
	}
	return m, nil
}

// forget takes back that w waits; if it got a member, that stays its own.
func (p *Pool) forget(w *waiter) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for e := p.waiting.Front(); e != nil; e = e.Next() {
		if e.Value == w {
			p.waiting.Remove(e)
			return
		}
	}
}

// Flush closes all members that are idle.
func (p *Pool) Flush() {
	p.mu.Lock()
	var idle []*Member
	for e := p.idle.Front(); e != nil; e = p.idle.Front() {
		idle = append(idle, p.unlink(e))
	}
	p.demand.reset()
	p.mu.Unlock()
	for _, m := range idle {
		m.drop()
	}
}

// Close closes all members that are idle, and gives waiters nothing. It waits
// for its watchers.
func (p *Pool) Close() {
	p.mu.Lock()
	p.closed = true
	for e := p.waiting.Front(); e != nil; e = p.waiting.Front() {
		close(p.waiting.Remove(e).(*waiter).got)
	}
	p.mu.Unlock()
	p.Flush()
	p.watchers.Wait()
}

// Len is how many members are idle.
func (p *Pool) Len() int {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.idle.Len()
}

// Waiting is how many wait for a member.
func (p *Pool) Waiting() int {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.waiting.Len()
}

// Starved tells whether somebody has waited for any member for so long, and
// none has come for as long.
func (p *Pool) Starved(long time.Duration) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	first := p.waiting.Front()
	return first != nil && time.Since(first.Value.(*waiter).since) >= long && time.Since(p.arrived) >= long
}

// missing is how many connections are to be dialled, where so many are being
// dialled already.
func (p *Pool) missing(dialling int) int {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.closed {
		return 0
	}
	waiting := 0
	if !p.peerFirst { // whoever waits for an id is helped by no other
		waiting = p.waiting.Len()
	}
	return p.demand.target(waiting) - p.idle.Len() - dialling
}

// Rest lets a pool that was not used up become smaller. It is called every few
// seconds.
func (p *Pool) Rest() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.demand.rest(p.idle.Len())
}
