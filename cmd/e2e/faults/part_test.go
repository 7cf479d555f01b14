//go:build e2e

package faults

import (
	"slices"
	"sync"
	"syscall"
	"time"
)

// A kind is what a part is.
type kind string

const (
	member  kind = "etcd"
	plane   kind = "control plane" // with a gateway inside
	gateway kind = "gateway"
	node    kind = "node"
)

// A part is one process of the cluster, on a network of its own.
type part struct {
	name string // "etcd1", "cp1", "gateway", "node1"
	kind kind
	id   string // what the API calls it, of a node

	mu sync.Mutex
	// at are its IP addresses, the first the one that this test reaches it at.
	// Those of a container may be others after a start.
	at    []string
	downs []span // when it was not there for its clients
}

// A span of time has no end yet if that is zero.
type span struct{ from, to time.Time }

// overlaps reports whether a span has a moment of another, both with their
// ends.
func (s span) overlaps(from, to time.Time) bool {
	return !s.from.After(to) && (s.to.IsZero() || !s.to.Before(from))
}

// addrs are the part's addresses now.
func (p *part) addrs() []string {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.at
}

// movesTo says where the part is from now on.
func (p *part) movesTo(addrs []string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.at = addrs
}

// goDown says that from now on nobody can expect anything of the part.
func (p *part) goDown() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.downs = append(p.downs, span{from: time.Now()})
}

// comeUp says that from now on the part has to do what it is there for.
func (p *part) comeUp() {
	p.mu.Lock()
	defer p.mu.Unlock()
	for i := range p.downs {
		if p.downs[i].to.IsZero() {
			p.downs[i].to = time.Now()
		}
	}
}

// wasDown reports whether the part was down at some moment of a time.
func (p *part) wasDown(from, to time.Time) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return slices.ContainsFunc(p.downs, func(s span) bool { return s.overlaps(from, to) })
}

// wentDown is when the part went down since a moment, if it did.
func (p *part) wentDown(since time.Time) (at time.Time, did bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, s := range p.downs {
		if s.from.After(since) {
			return s.from, true
		}
	}
	return time.Time{}, false
}

// isDown reports whether it is down now.
func (p *part) isDown() bool {
	now := time.Now()
	return p.wasDown(now, now)
}

// A release is what a part runs: the cluster's own program, or another one,
// with additions to its environment.
type release struct {
	program string // path of the binary; empty for the one it was made with
	env     []string
}

// A driver runs parts. Its methods are called from one goroutine at a time, but
// for close, which ends and removes all that the driver made, and for which any
// moment is right.
type driver interface {
	// start starts a part that does not run, with all it had kept, and sets its
	// addresses.
	start(p *part, r release) error
	// signal sends SIGKILL or SIGTERM, or, as SIGSTOP and SIGCONT, freezes and
	// thaws.
	signal(p *part, s syscall.Signal) error
	// wait waits for the end of a part that was sent a signal, and returns its
	// exit code.
	wait(p *part) (int, error)
	// pid is the process whose network namespace is the part's.
	pid(p *part) (int, error)
	// log is what the part has logged, in all its lives that are still known.
	log(p *part) string
	close()
}

// An operator runs commands of the program beside a control plane or a member,
// with what it takes to be let in to the APIs and to etcd, and returns what they
// print. Data are given to the command as dataFile.
type operator interface {
	operate(beside *part, data []byte, args ...string) (string, error)
}

// dataFile stands for the data that a command is given, in its arguments.
const dataFile = "%DATA"
