package feed

import (
	"fmt"
	"maps"
	"slices"
	"testing"

	signalboxv1 "signalbox/proto/gen/signalbox/v1"
)

// A sim is a store, control planes on it and one node's machine, with every
// message in a pipe of its stream until the test lets it through.
type sim struct {
	t       *testing.T
	epoch   string
	history []map[string]int64 // by revision: each route's revision
	floor   int64              // removals before it are forgotten
	planes  []*simPlane
	streams []*simStream // open ones, in order of opening
	last    int          // number of the newest stream
	node    *machine
	table   *simTable
}

// A simPlane is a replica: it has read the history up to a revision.
type simPlane struct {
	id      string
	epoch   string
	rev     int64
	refused map[string]int64 // by route, the revision refused, as heard
}

// A simStream is one stream: what is in flight on it, both ways, and what the
// control plane knows of it.
type simStream struct {
	number int
	plane  *simPlane
	up     []*signalboxv1.ConnectRequest
	down   []*signalboxv1.ConnectResponse
	fed    bool                 // Feed was the last word
	have   *signalboxv1.Version // what the node serves
	flying *signalboxv1.Version // where the update in flight leads
}

// A simTable is an applier that refuses every seventh revision of a route and
// keeps the last good one. It refuses every revision of r3 while there is r4.
type simTable struct {
	routes map[string]int64
	newest map[string]int64 // revisions as they came, those refused included
}

func newSimTable() *simTable {
	return &simTable{routes: map[string]int64{}, newest: map[string]int64{}}
}

func (s *simTable) Apply(c *Change) (o Outcome) {
	stood, was := s.inTheWay()
	if c.Whole {
		clear(s.newest)
	}
	written := map[string]bool{}
	for _, u := range c.Upserts {
		name, rev := u.GetRoute().GetName(), u.GetRoute().GetMeta().GetRevision()
		written[name], s.newest[name] = true, rev
		if rev%7 == 0 {
			o.Refused = append(o.Refused, refusal(name, rev))
			continue
		}
		s.routes[name] = rev
	}
	for _, k := range c.Removals {
		delete(s.newest, k.GetName())
	}
	maps.DeleteFunc(s.routes, func(name string, _ int64) bool { return s.newest[name] == 0 })
	switch stands, rev := s.inTheWay(); {
	case stands && (!stood || written["r3"]):
		o.Refused = append(o.Refused, refusal("r3", rev))
	case !stands && stood && was == s.newest["r3"]:
		o.Accepted = append(o.Accepted, change("-r3").Removals...)
	}
	return o
}

// inTheWay reports whether r3 is refused because of r4, and of which revision.
func (s *simTable) inTheWay() (bool, int64) {
	rev := s.newest["r3"]
	return s.newest["r4"] != 0 && rev%7 != 0, rev
}

// newSim has one revision with nothing in it, and replicas that have read it.
func newSim(t *testing.T, replicas int) *sim {
	s := &sim{t: t, epoch: "e1", history: []map[string]int64{{}, {}}, table: newSimTable()}
	for i := range replicas {
		s.planes = append(s.planes, &simPlane{id: fmt.Sprintf("cp%d", i), epoch: s.epoch, rev: 1, refused: map[string]int64{}})
	}
	s.node = newMachine("n", s.table)
	return s
}

// head is the newest revision.
func (s *sim) head() int64 { return int64(len(s.history) - 1) }

// write gives a route a new revision, or removes it.
func (s *sim) write(name string, remove bool) {
	next := maps.Clone(s.history[s.head()])
	next[name] = s.head() + 1
	if remove {
		delete(next, name)
	}
	s.history = append(s.history, next)
}

// restore begins a new history with the state of an earlier revision, as a
// store restored from a backup does; all replicas read it afresh.
func (s *sim) restore(rev int64) {
	s.epoch += "'"
	s.history, s.floor = s.history[:rev+1], 0
	for _, p := range s.planes {
		p.epoch, p.rev, p.refused = s.epoch, 0, map[string]int64{}
	}
	for _, st := range slices.Clone(s.streams) {
		s.lose(st)
	}
}

// open opens a stream to a replica.
func (s *sim) open(p *simPlane) {
	s.last++
	st := &simStream{number: s.last, plane: p, have: s.node.assembly.Serving()}
	s.streams = append(s.streams, st)
	s.node.open(st.number)
	clear(p.refused) // Hello names all
	for _, rej := range s.node.refused.all() {
		p.hear(rej)
	}
	current := &signalboxv1.Version{Epoch: p.epoch, Revision: p.rev}
	st.say(&signalboxv1.ConnectResponse{Message: &signalboxv1.ConnectResponse_Welcome{
		Welcome: &signalboxv1.Welcome{ControlPlane: p.id, Current: current, CanFeed: p.rev%3 != 0},
	}})
	members := &signalboxv1.Members{}
	for _, p := range s.planes {
		members.Members = append(members.Members, &signalboxv1.Member{Id: p.id})
	}
	st.say(&signalboxv1.ConnectResponse{Message: &signalboxv1.ConnectResponse_Members{Members: members}})
}

// lose ends a stream; what was in flight is gone.
func (s *sim) lose(st *simStream) {
	s.streams = slices.DeleteFunc(s.streams, func(o *simStream) bool { return o == st })
	s.do(s.node.ended(st.number))
}

// do carries out what the machine wants.
func (s *sim) do(effects []effect) {
	for _, e := range effects {
		i := slices.IndexFunc(s.streams, func(st *simStream) bool { return st.number == e.Stream })
		if i < 0 {
			continue
		}
		st := s.streams[i]
		switch {
		case e.Feed != nil:
			st.up = append(st.up, &signalboxv1.ConnectRequest{Message: &signalboxv1.ConnectRequest_Feed{Feed: e.Feed}})
		case e.Ack != nil:
			st.up = append(st.up, &signalboxv1.ConnectRequest{Message: &signalboxv1.ConnectRequest_Ack{Ack: e.Ack}})
		case e.End != nil:
			s.lose(st)
		}
	}
}

// hear takes one message of the node on a stream.
func (s *sim) hear(st *simStream) {
	if len(st.up) == 0 {
		return
	}
	req := st.up[0]
	st.up = st.up[1:]
	switch {
	case req.GetFeed() != nil:
		st.fed, st.have, st.flying = true, req.GetFeed().GetHave(), nil
	case req.GetAck() != nil:
		st.have = req.GetAck().GetVersion()
		if st.flying != nil && same(st.have, st.flying) {
			st.flying = nil
		}
		for _, k := range req.GetAck().GetAccepted() {
			delete(st.plane.refused, k.GetName())
		}
		for _, rej := range req.GetAck().GetRejections() {
			st.plane.hear(rej)
		}
	}
	s.feed(st, 2)
}

// hear takes note of a rejection.
func (p *simPlane) hear(rej *signalboxv1.Rejection) {
	p.refused[rej.GetName()] = rej.GetRevision()
}

// feed sends what a fed node lacks, if nothing is in flight, in as many parts.
func (s *sim) feed(st *simStream, parts int32) {
	p, have := st.plane, st.have
	if !st.fed || st.flying != nil || p.rev == 0 {
		return
	}
	to := &signalboxv1.Version{Epoch: p.epoch, Revision: p.rev}
	if have.GetEpoch() == p.epoch && have.GetRevision() > p.rev && have.GetRevision() <= s.head() || same(have, to) {
		return
	}
	c, from := new(Change), have
	now, before := s.history[p.rev], map[string]int64{}
	if have.GetEpoch() == p.epoch && have.GetRevision() >= s.floor && have.GetRevision() <= p.rev {
		before = s.history[have.GetRevision()]
	} else {
		from = nil
	}
	for _, name := range slices.Sorted(maps.Keys(now)) {
		if before[name] != now[name] {
			c.Upserts = append(c.Upserts, change(fmt.Sprintf("+%s@%d", name, now[name])).Upserts...)
		}
	}
	for _, name := range slices.Sorted(maps.Keys(before)) {
		if _, ok := now[name]; !ok {
			c.Removals = append(c.Removals, change("-"+name).Removals...)
		}
	}
	st.flying = to
	for k := int32(1); k <= parts; k++ {
		u := &signalboxv1.Update{From: from, To: to, Part: k, Parts: parts}
		n := len(c.Upserts) / int(parts-k+1)
		u.Upserts, c.Upserts = c.Upserts[:n], c.Upserts[n:]
		if k == parts {
			u.Removals = c.Removals
		}
		st.say(&signalboxv1.ConnectResponse{Message: &signalboxv1.ConnectResponse_Update{Update: u}})
	}
}

// say puts a message of the control plane on the stream.
func (st *simStream) say(m *signalboxv1.ConnectResponse) { st.down = append(st.down, m) }

// deliver hands the node one message of a stream.
func (s *sim) deliver(st *simStream) {
	if len(st.down) == 0 {
		return
	}
	m := st.down[0]
	st.down = st.down[1:]
	switch {
	case m.GetWelcome() != nil:
		s.do(s.node.welcome(st.number, m.GetWelcome()))
	case m.GetMembers() != nil:
		s.do(s.node.named(m.GetMembers()))
	case m.GetUpdate() != nil:
		s.do(s.node.update(st.number, m.GetUpdate()))
	case m.GetUnfed() != nil:
		s.do(s.node.unfed(st.number))
	}
}

// unfeed makes a control plane stop feeding on a stream.
func (s *sim) unfeed(st *simStream) {
	if st.fed {
		st.fed, st.flying = false, nil
		st.say(&signalboxv1.ConnectResponse{Message: &signalboxv1.ConnectResponse_Unfed{Unfed: &signalboxv1.Unfed{}}})
	}
}

// calm lets everything through until nothing moves any more.
func (s *sim) calm() {
	for range 10_000 {
		moved := false
		for _, st := range slices.Clone(s.streams) {
			moved = moved || len(st.up)+len(st.down) > 0
			s.hear(st)
			s.deliver(st)
		}
		if !moved {
			return
		}
	}
	s.t.Fatal("the streams never come to rest")
}
