// Package presence is a control plane replica's standing among the others:
// its lease in the store, the nodes it vouches for under that lease, and who
// else is there. A replica whose lease is lost may no longer feed nodes: it
// cannot know whether what it would send is still true.
package presence

import (
	"context"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"google.golang.org/protobuf/proto"

	signalboxv1 "signalbox/proto/gen/signalbox/v1"
	"signalbox/store"
)

// Names of notes: a live node's and a control plane's.
const (
	livePrefix    = "live/"
	memberPrefix  = "member/"
	unheardPrefix = "unheard/"
)

// Nodes is what this replica knows of nodes.
type Nodes interface {
	// Leased is called, from one goroutine, with every node lease there is and
	// with nil when it ends, on whatever replica.
	Leased(node string, lease *signalboxv1.NodeLease)
	// Unheard returns the nodes that are leased and have no stream to this
	// replica, in order of their names.
	Unheard() []string
	// Told adds what a node of this replica's says of itself to its lease.
	Told(lease *signalboxv1.NodeLease, node string)
	// Forgotten returns the epochs of lost nodes that were forgotten, by name.
	Forgotten() map[string]int64
	// ForgetUpTo forgets a node that is lost, unless its epoch is above this.
	ForgetUpTo(node string, epoch int64) bool
}

// Config is what a replica says of itself.
type Config struct {
	// ID names the replica; no two may have the same.
	ID string
	// Address is where nodes reach its gRPC listener; may be empty.
	Address string
	// Version of the software.
	Version string
	// TTL of the lease: how long the others take a silent replica, and the
	// nodes it feeds, for present. Default 5 s.
	TTL time.Duration
}

// Presence keeps the lease. It does nothing until Run.
type Presence struct {
	config Config
	notes  store.Notes
	log    *slog.Logger
	nodes  Nodes
	descs  descs
	lost   atomic.Uint64 // leases

	mu      sync.Mutex
	session store.Session // nil while there is none
	wanted  map[string]hold
	holds   Token // counts
	linger  map[string]*time.Timer
	dirty   map[string]bool             // nodes whose note may not be as wanted
	kick    chan struct{}               // wakes keep; holds one
	unheard map[string][]string         // by replica, the nodes that do not reach it; none is empty
	forgot  map[string]map[string]int64 // by replica, the nodes it has forgotten; none is ever changed
	members map[string]*signalboxv1.MemberLease
	listed  *signalboxv1.Members // the members as nodes are told; never changed, but replaced
	moved   chan struct{}        // closed and replaced when session or members change
}

// New returns a replica's presence.
func New(config Config, notes store.Notes, log *slog.Logger, nodes Nodes) *Presence {
	if config.TTL == 0 {
		config.TTL = 5 * time.Second
	}
	return &Presence{
		config: config, notes: notes, log: log, nodes: nodes, descs: newDescs(),
		wanted: map[string]hold{}, linger: map[string]*time.Timer{}, dirty: map[string]bool{}, kick: make(chan struct{}, 1),
		unheard: map[string][]string{}, forgot: map[string]map[string]int64{}, members: map[string]*signalboxv1.MemberLease{}, listed: &signalboxv1.Members{}, moved: make(chan struct{}),
	}
}

// ID of the replica.
func (p *Presence) ID() string { return p.config.ID }

// TTL of leases.
func (p *Presence) TTL() time.Duration { return p.config.TTL }

// A Token stands for one call of Hold. Zero stands for none.
type Token uint64

// A hold is a node that this replica vouches for.
type hold struct {
	lease *signalboxv1.NodeLease
	token Token
}

// Hold says that this replica feeds a node, and vouches for it from now on.
// It returns at once; the note is written behind it. The token is for taking
// that back, unless Hold was called again.
func (p *Presence) Hold(node string, lease *signalboxv1.NodeLease) Token {
	lease = proto.CloneOf(lease)
	lease.ControlPlane = p.config.ID
	p.mu.Lock()
	defer p.mu.Unlock()
	p.stay(node)
	p.holds++
	p.wanted[node] = hold{lease, p.holds}
	p.touch(node)
	return p.holds
}

// Linger says that a node this replica feeds has gone without a word. It is
// vouched for until a lease would have run out, unless Hold or Release comes
// first, or this replica's own lease is lost.
func (p *Presence) Linger(node string, token Token) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if h, ok := p.wanted[node]; !ok || h.token != token {
		return
	}
	p.stay(node)
	p.linger[node] = time.AfterFunc(p.config.TTL, func() { p.Release(node, token) })
}

// Release says that this replica no longer vouches for a node. Another's note
// of the node stays.
func (p *Presence) Release(node string, token Token) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if h, ok := p.wanted[node]; !ok || h.token != token {
		return
	}
	p.stay(node)
	delete(p.wanted, node)
	p.touch(node)
}

// stay takes back Linger. p.mu is held.
func (p *Presence) stay(node string) {
	if t, ok := p.linger[node]; ok {
		t.Stop()
		delete(p.linger, node)
	}
}

// touch asks keep to look at a node. p.mu is held.
func (p *Presence) touch(node string) {
	p.dirty[node] = true
	select {
	case p.kick <- struct{}{}:
	default:
	}
}

// Standing is whether this replica holds its lease, and so may feed, and all
// members in order of their ids; the list is shared, and not to be changed. The
// channel is closed when any of that has changed.
func (p *Presence) Standing() (canFeed bool, members *signalboxv1.Members, changed <-chan struct{}) {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.session != nil, p.listed, p.moved
}

// Session waits for a session of this replica's. It is over when its Lost is
// closed; then Session waits for the next.
func (p *Presence) Session(ctx context.Context) (store.Session, error) {
	for {
		p.mu.Lock()
		session, moved := p.session, p.moved
		p.mu.Unlock()
		if session != nil {
			return session, nil
		}
		select {
		case <-moved:
		case <-ctx.Done():
			return nil, context.Cause(ctx)
		}
	}
}

// change makes a change that Standing tells of.
func (p *Presence) change(f func()) {
	p.mu.Lock()
	defer p.mu.Unlock()
	f()
	close(p.moved)
	p.moved = make(chan struct{})
}
