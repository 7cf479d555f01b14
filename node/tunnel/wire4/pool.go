package wire4

import (
	"container/list"
	"context"
	"fmt"
	"sync"
	"time"

	"signalbox/node/tunnel/link"
)

// A pool is a session's connections that wait to be used, oldest first, and
// whoever waits for one: the end that receives users for any, the other for
// the one with a certain id.
type pool struct {
	// peerFirst says that the peer is the end that receives users, which speaks
	// first on a connection.
	peerFirst bool
	// changed has a token when less is there, or more is waited for, than
	// before.
	changed chan struct{}

	mu       sync.Mutex
	closed   bool
	idle     *list.List // of *member
	byID     map[string]*list.Element
	waiting  *list.List // of *waiter, whoever waits longest first
	demand   demand
	arrived  time.Time      // when the last member came
	watchers sync.WaitGroup // one per idle member; added to while not closed
}

// A waiter waits for a member.
type waiter struct {
	id    string // empty for any
	since time.Time
	// got has room for the member, and is closed when the pool is.
	got chan *member
}

func newPool(peerFirst bool, d demand) *pool {
	return &pool{
		peerFirst: peerFirst,
		changed:   make(chan struct{}, 1),
		idle:      list.New(),
		byID:      map[string]*list.Element{},
		waiting:   list.New(),
		demand:    d,
		arrived:   time.Now(),
	}
}

// put takes over a connection, and says whether it was taken: not when as many
// are idle as may be, its id is not free, or the pool is closed.
func (p *pool) put(m *member, most int) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.closed || p.byID[m.id] != nil {
		return false
	}
	w := p.waits(m.id)
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
		p.byID[m.id] = p.idle.PushBack(m)
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
func (p *pool) waits(id string) *waiter {
	for e := p.waiting.Front(); e != nil; e = e.Next() {
		if w := e.Value.(*waiter); w.id == "" || w.id == id {
			p.waiting.Remove(e)
			return w
		}
	}
	return nil
}

// free tells whether no member has an id.
func (p *pool) free(id string) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.byID[id] == nil
}

// remove takes a member out that is of no use, and says whether it was there.
func (p *pool) remove(m *member) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	e := p.byID[m.id]
	if e == nil || e.Value.(*member) != m {
		return false
	}
	p.unlink(e)
	return true
}

// unlink takes an idle member out. mu is held.
func (p *pool) unlink(e *list.Element) *member {
	m := p.idle.Remove(e).(*member)
	delete(p.byID, m.id)
	p.wake()
	return m
}

// wake gives changed its token.
func (p *pool) wake() {
	select {
	case p.changed <- struct{}{}:
	default:
	}
}

// take waits for a member, the oldest where id is empty, until ctx ends.
// link.ErrEnded, wrapped, when the pool is closed.
func (p *pool) take(ctx context.Context, id string) (*member, error) {
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

// pick takes an idle member out, or else says who waits for one.
func (p *pool) pick(id string) (*member, *waiter) {
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
	w := &waiter{id: id, since: time.Now(), got: make(chan *member, 1)}
	if p.closed {
		close(w.got)
	} else {
		p.waiting.PushBack(w)
		p.wake()
	}
	return nil, w
}

// wait is for the member that w gets.
func (p *pool) wait(ctx context.Context, w *waiter) (*member, error) {
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
func given(m *member, ok bool) (*member, error) {
	if !ok {
		return nil, fmt.Errorf("no connection is free: %w", link.ErrEnded)
	}
	return m, nil
}

// forget takes back that w waits; if it got a member, that stays its own.
func (p *pool) forget(w *waiter) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for e := p.waiting.Front(); e != nil; e = e.Next() {
		if e.Value == w {
			p.waiting.Remove(e)
			return
		}
	}
}

// flush closes all members that are idle.
func (p *pool) flush() {
	p.mu.Lock()
	var idle []*member
	for e := p.idle.Front(); e != nil; e = p.idle.Front() {
		idle = append(idle, p.unlink(e))
	}
	p.demand.reset()
	p.mu.Unlock()
	for _, m := range idle {
		close(m.taken) // ends its watcher, which may wait for a signal
		_ = m.Close()
	}
}

// close closes all members that are idle, and gives waiters nothing. It waits
// for its watchers.
func (p *pool) close() {
	p.mu.Lock()
	p.closed = true
	for e := p.waiting.Front(); e != nil; e = p.waiting.Front() {
		close(p.waiting.Remove(e).(*waiter).got)
	}
	p.mu.Unlock()
	p.flush()
	p.watchers.Wait()
}

// len is how many members are idle.
func (p *pool) len() int {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.idle.Len()
}

// starved tells whether somebody has waited for any member for so long, and
// none has come for as long.
func (p *pool) starved(long time.Duration) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	first := p.waiting.Front()
	return first != nil && time.Since(first.Value.(*waiter).since) >= long && time.Since(p.arrived) >= long
}

// missing is how many connections are to be dialled, where so many are being
// dialled already.
func (p *pool) missing(dialling int) int {
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

// rest lets a pool that was not used up become smaller.
func (p *pool) rest() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.demand.rest(p.idle.Len())
}
