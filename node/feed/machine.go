package feed

import (
	"maps"
	"slices"

	signalboxv1 "signalbox/proto/gen/signalbox/v1"
)

// maxFaults is how many updates in a row that could not be used end a stream.
// From the second on the node asks for the whole state.
const maxFaults = 3

// An Applier is what a change is applied to.
type Applier interface {
	// Apply makes the node serve c.To. For a refused record the last good one
	// stays in force. Changes come one at a time and in order: each starts from
	// where the one before it led, or is whole. The change belongs to the node
	// from then on.
	Apply(c *Change) Outcome
}

// An Outcome is what the node thinks of records once it has applied a change.
type Outcome struct {
	// Refused are the records of the change that are refused, and others that
	// are because of it; each has its kind, name, revision and reason. After a
	// whole state they are all there are.
	Refused []*signalboxv1.Rejection
	// Accepted are records that were refused until now and are in force, though
	// they have the revision that was refused.
	Accepted []*signalboxv1.RecordKey
}

// An effect is what the machine wants done on one stream: one thing, as its
// fields say.
type effect struct {
	Stream int
	// Feed is to be sent; a stream that has one unsent needs only the newer.
	Feed *signalboxv1.Feed
	// Because is why a Feed asks for an update in place of one, or nil.
	Because error
	// Withdraw takes back a Feed that is not yet sent.
	Withdraw bool
	// Ack is to be sent, after those before it or instead of them.
	Ack *signalboxv1.Ack
	// End is why the stream is to be closed.
	End error
}

// A machine decides what to say on a node's streams. It is told what came and
// answers what to do; the caller owns the clock and the streams. Streams are
// numbered by the caller, from 1, and no number is used twice.
type machine struct {
	node     string
	applier  Applier
	assembly Assembler
	refused  refusals

	peers map[int]*peer
	asked int // the stream that was sent Feed last and feeds; 0 when none

	// settled says that the first choice need not wait for better peers.
	settled bool
	members []string // ids of all control planes; nil until one named them

	// first is what the first control plane to answer held current, nil until
	// then; ready once that was reached. See [machine.checkReady].
	first *signalboxv1.Version
	ready bool
}

// newMachine returns a machine for the node of that name, which begins with
// some changes, or with nothing.
func newMachine(node string, applier Applier, start ...*Change) *machine {
	m := &machine{node: node, applier: applier, peers: map[int]*peer{}, refused: refusals{}}
	for _, c := range start {
		m.assembly.serving = c.To
		m.apply(c)
	}
	return m
}

// open takes note of a stream on which Hello is about to be sent.
func (m *machine) open(stream int) { m.peers[stream] = &peer{stream: stream} }

// ended takes note of a stream that is no more, and asks another if it fed.
func (m *machine) ended(stream int) []effect {
	delete(m.peers, stream)
	if m.asked == stream {
		m.asked = 0
	}
	return m.choose()
}

// welcome takes note of who is at the other end of a stream.
func (m *machine) welcome(stream int, w *signalboxv1.Welcome) []effect {
	p := m.peers[stream]
	switch {
	case p == nil:
		return nil
	case p.replica != "" || w.GetControlPlane() == "":
		return m.end(p, errProtocol)
	}
	older := m.peers[m.streamOf(w.GetControlPlane())]
	p.replica, p.canFeed = w.GetControlPlane(), w.GetCanFeed()
	var out []effect
	if older != nil {
		// To the control plane the newer stream has taken the older one's place.
		out = m.end(older, &duplicateError{Replica: p.replica})
	}
	if m.first == nil && !empty(w.GetCurrent()) {
		m.first = w.GetCurrent()
		m.checkReady()
	}
	return append(out, m.choose()...)
}

// named takes note of all control planes there are.
func (m *machine) named(members *signalboxv1.Members) []effect {
	m.members = []string{}
	for _, c := range members.GetMembers() {
		m.members = append(m.members, c.GetId())
	}
	return m.choose()
}

// settle ends the wait for better peers than those that are there.
func (m *machine) settle() []effect {
	m.settled = true
	return m.choose()
}

// again makes those that said Unfed eligible again. The caller calls it a
// moment after one did, so that control planes which all cannot feed are
// asked in turn, but not in a rush.
func (m *machine) again() []effect {
	for _, p := range m.peers {
		p.unfed = false
	}
	return m.choose()
}

// unfed takes note that a stream feeds no more.
func (m *machine) unfed(stream int) []effect {
	p := m.peers[stream]
	if p == nil {
		return nil
	}
	p.unfed, p.canFeed = true, false
	if m.asked != stream {
		return nil
	}
	m.asked = 0
	return append([]effect{{Stream: stream, Withdraw: true}}, m.choose()...)
}

// update takes a part of an update, and applies the update once it is whole.
func (m *machine) update(stream int, u *signalboxv1.Update) []effect {
	p := m.peers[stream]
	if p == nil {
		return nil
	}
	if m.asked != stream {
		// It took a Feed that crossed its Unfed: two would feed from now on.
		return m.end(p, errNotAsked)
	}
	c, err := m.assembly.Take(u)
	if err != nil {
		return m.fault(p, err)
	}
	if c == nil {
		return nil
	}
	p.faults, p.canFeed = 0, true
	return m.apply(c)
}

// apply applies a change and acknowledges it on all streams.
func (m *machine) apply(c *Change) []effect {
	o := m.applier.Apply(c)
	for _, rej := range o.Refused {
		rej.Node = m.node
	}
	m.refused.applied(c, o)
	if m.first != nil && c.To.GetEpoch() != m.first.GetEpoch() {
		m.first = c.To // the history it was in is no more
	}
	m.checkReady()
	var out []effect
	for _, stream := range m.streams() {
		out = append(out, effect{Stream: stream, Ack: &signalboxv1.Ack{
			Version: c.To, Rejections: o.Refused, Accepted: o.Accepted,
		}})
	}
	return out
}

// fault answers a part that cannot be used: with what is served, then by
// asking for the whole state, and if that cannot be used either by ending
// the stream.
func (m *machine) fault(p *peer, err error) []effect {
	p.faults++
	if p.faults >= maxFaults {
		return m.end(p, &faultError{err})
	}
	have := m.assembly.Serving()
	if p.faults > 1 {
		have = nil
	}
	return []effect{{Stream: p.stream, Feed: &signalboxv1.Feed{Have: have}, Because: err}}
}

// end closes a stream, and asks another if it fed.
func (m *machine) end(p *peer, why error) []effect {
	return append([]effect{{Stream: p.stream, End: why}}, m.ended(p.stream)...)
}

// choose asks the best peer to feed, unless one was asked already. One that
// cannot feed keeps being the one asked only while nobody else is there.
func (m *machine) choose() []effect {
	best := m.best()
	if best == nil {
		return nil
	}
	if feeder := m.peers[m.asked]; feeder != nil {
		if feeder.canFeed || !best.canFeed {
			return nil
		}
		// Another may be asked only once this stream has ended.
		return m.end(feeder, errCannotFeed)
	}
	if !m.settled && m.awaits(best) {
		return nil
	}
	m.settled = true
	m.asked = best.stream
	m.assembly.Drop()
	return []effect{{Stream: best.stream, Feed: &signalboxv1.Feed{Have: m.assembly.Serving()}}}
}

// best is the peer to ask, nil when there is none.
func (m *machine) best() *peer {
	var best *peer
	for _, p := range m.peers {
		if p.askable() && (best == nil || better(m.node, p, best) < 0) {
			best = p
		}
	}
	return best
}

// awaits reports whether a member that is not connected yet would be chosen
// before p. Until control planes were named, one may.
func (m *machine) awaits(p *peer) bool {
	if m.members == nil || !p.canFeed {
		return true
	}
	return slices.ContainsFunc(m.members, func(id string) bool {
		return m.streamOf(id) == 0 && heavier(m.node, id, p.replica) < 0
	})
}

// checkReady makes the node ready once it serves what was current when the
// first control plane answered. Once ready it stays so: a node that lost touch
// serves on, and does not take itself away.
func (m *machine) checkReady() {
	serving := m.assembly.Serving()
	if m.first == nil || empty(serving) {
		return
	}
	m.ready = m.ready || reached(serving, m.first)
}

// unanswered says that no control plane answers. A node that has something to
// serve then is ready with that.
func (m *machine) unanswered() {
	if m.first == nil && !empty(m.assembly.Serving()) {
		m.ready = true
	}
}

// streamOf is the stream that ends at a replica, 0 when there is none.
func (m *machine) streamOf(replica string) int {
	for stream, p := range m.peers {
		if p.replica == replica {
			return stream
		}
	}
	return 0
}

// streams are the numbers of all open streams, in order.
func (m *machine) streams() []int { return slices.Sorted(maps.Keys(m.peers)) }
