package feed

import (
	"fmt"
	"maps"
	"math/rand/v2"
	"testing"

	signalboxv1 "signalbox/proto/gen/signalbox/v1"
)

// Whatever was lost, came twice, came from two sides or was nonsense: once the
// control planes have read everything and the streams are at rest, the node
// serves what was written, refuses what it must, and all have heard it.
func FuzzMachine(f *testing.F) {
	f.Add([]byte("\x20\x40\x00\x01\x10\x30\x50\x70\x90"))
	f.Add([]byte{0x00, 0x01, 0x02, 0x20, 0x40, 0x41, 0x30, 0x50, 0x21, 0x60, 0x42, 0x80, 0x90, 0xa0, 0xb0})
	f.Add([]byte("\x00\x01\x10\x02\x20\x21\x22\x30\x40\x50\x31\x41\x51\x70\x71\x72\x80\x81\x90\x00\x33\xc1\xd1\xe1\xf1"))
	f.Fuzz(func(t *testing.T, script []byte) {
		if len(script) <= 400 {
			play(t, script)
		}
	})
}

// The same for scripts at random, the same ones each time.
func TestMachineOnRandomScripts(t *testing.T) {
	random := rand.New(rand.NewPCG(1, 2))
	for i := range 2000 {
		script := make([]byte, random.IntN(400))
		for k := range script {
			script[k] = byte(random.Uint32())
		}
		play(t, script)
		if t.Failed() {
			t.Fatalf("the script was number %d", i)
		}
	}
}

// play runs a script of one step a byte.
func play(t *testing.T, script []byte) {
	s := newSim(t, 3)
	for _, b := range script {
		s.step(b>>4, int(b&0x0f))
		s.checkAsked()
	}
	s.end()
}

// step does one thing, of sixteen, to one of sixteen.
func (s *sim) step(what byte, n int) {
	plane := s.planes[n%len(s.planes)]
	var st *simStream
	if len(s.streams) > 0 {
		st = s.streams[n%len(s.streams)]
	}
	switch what {
	case 0, 1:
		s.write(fmt.Sprintf("r%d", n%5), false)
	case 2:
		s.write(fmt.Sprintf("r%d", n%5), true)
	case 3:
		s.read(plane, plane.rev+int64(n/3)+1)
	case 4:
		s.open(plane)
	case 5:
		s.node.unanswered()
	case 6:
		s.do(s.node.settle())
	case 7:
		s.do(s.node.again())
	case 8:
		s.floor = s.head() - int64(n)
	case 9:
		if n == 0 {
			s.restore(1 + s.head()/2)
		}
	}
	if st == nil {
		return
	}
	switch what {
	case 10:
		s.lose(st)
	case 11:
		s.unfeed(st)
	case 12:
		s.garble(st, n)
	case 13:
		s.hear(st)
	case 14, 15:
		s.deliver(st)
	}
}

// read brings a replica to a revision, and has it feed what is new, in one
// part or several.
func (s *sim) read(p *simPlane, rev int64) {
	p.rev = min(rev, s.head())
	for _, st := range s.streams {
		if st.plane == p {
			s.feed(st, 1+int32(p.rev%3))
		}
	}
}

// garble puts a message on a stream that does not belong there.
func (s *sim) garble(st *simStream, n int) {
	to := at(s.epoch, s.head()+100)
	say := func(u *signalboxv1.Update) {
		s.do(s.node.update(st.number, u))
	}
	switch n % 7 {
	case 6:
		say(part(at(s.epoch, s.head()+50), to, 1, 1, "+bad@1"))
	case 0:
		say(part(at("other", 3), to, 1, 1, "+bad@1"))
	case 1:
		say(part(nil, to, 2, 3, "+bad@1"))
	case 2:
		say(part(nil, nil, 1, 1, "+bad@1"))
	case 3:
		say(&signalboxv1.Update{})
	case 4:
		s.do(s.node.welcome(st.number, &signalboxv1.Welcome{ControlPlane: st.plane.id}))
	case 5:
		if len(st.down) > 0 { // the part comes again
			m := st.down[0]
			if u := m.GetUpdate(); u != nil && u.GetParts() > 1 {
				st.down = append([]*signalboxv1.ConnectResponse{m}, st.down...)
			}
		}
	}
}

// checkAsked: at most one stream feeds, one that is open; and once the first
// choice was made, one always does while there is anybody to ask.
func (s *sim) checkAsked() {
	s.t.Helper()
	if s.node.asked != 0 && s.node.peers[s.node.asked] == nil {
		s.t.Fatalf("stream %d was asked to feed and is not open", s.node.asked)
	}
	if s.node.asked == 0 && s.node.settled && s.node.best() != nil {
		s.t.Fatal("nobody was asked to feed, though somebody could be")
	}
}

// end lets everything come to rest and compares the node with the history.
func (s *sim) end() {
	s.do(s.node.settle())
	for range 8 { // each fault that is still in flight may cost a stream
		for _, p := range s.planes {
			s.read(p, s.head())
			if s.node.streamOf(p.id) == 0 {
				s.open(p)
			}
		}
		s.calm()
		s.do(s.node.again())
	}
	s.calm()
	if got, want := s.node.assembly.Serving(), at(s.epoch, s.head()); !same(got, want) {
		s.t.Fatalf("the node serves %s, want %s", text(got), text(want))
	}
	if !s.node.ready {
		s.t.Error("the node serves everything and is not ready")
	}
	s.checkTable()
	s.checkRefusals()
}

// checkTable: every route is served as it was last written. One that is
// refused may be an older one, or not there.
func (s *sim) checkTable() {
	want := maps.Clone(s.history[s.head()])
	for name, rev := range want {
		if rev%7 == 0 {
			if got := s.table.routes[name]; got != 0 && got%7 == 0 {
				s.t.Errorf("route %s is served as of revision %d, which was refused", name, got)
			}
			delete(want, name)
			delete(s.table.routes, name)
		}
	}
	if !maps.Equal(s.table.routes, want) {
		s.t.Errorf("the node serves %v, want %v", s.table.routes, want)
	}
}

// checkRefusals: the node and every control plane know of the same refusals.
func (s *sim) checkRefusals() {
	want := map[string]int64{}
	now := s.history[s.head()]
	for name, rev := range now {
		if rev%7 == 0 || name == "r3" && now["r4"] != 0 {
			want[name] = rev
		}
	}
	got := map[string]int64{}
	for _, rej := range s.node.refused.all() {
		got[rej.GetName()] = rej.GetRevision()
	}
	if !maps.Equal(got, want) {
		s.t.Errorf("the node refuses %v, want %v", got, want)
	}
	for _, p := range s.planes {
		maps.DeleteFunc(p.refused, func(name string, rev int64) bool { return s.history[s.head()][name] != rev })
		if !maps.Equal(p.refused, want) {
			s.t.Errorf("%s heard of %v being refused, want %v", p.id, p.refused, want)
		}
	}
}
