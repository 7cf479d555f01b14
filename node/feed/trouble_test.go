package feed

import (
	"context"
	"errors"
	"io"
	"net"
	"strings"
	"sync"
	"testing"
	"time"

	signalboxv1 "signalbox/proto/gen/signalbox/v1"
)

// A control plane that reads nothing more must not hold up what is said to
// the others, and must be told the newest once it reads again.
func TestClientIsNotHeldUpByOneThatReadsNothing(t *testing.T) {
	frozen, good := newPlane(t, "cp1"), newPlane(t, "cp2")
	frozen.reads = make(chan struct{})
	frozen.members = &signalboxv1.Members{Members: []*signalboxv1.Member{{Id: "cp2"}}} // so that it is not asked to feed
	frozen.welcome.CanFeed = false
	r := newRig(t, frozen.serve(), good.serve())
	for i := range 2000 { // more than a stream takes unread
		r.carried.carry(strings.Repeat("x", 1000)+string(rune('a'+i%26))+text(at("e", int64(i))), 1)
	}
	r.start()
	stuck, s := frozen.session(), good.session()
	s.feed()
	last := at("e", 5)
	s.update(part(nil, last, 1, 1, "+a@1"))
	s.ack(last)
	for rev := int64(6); rev < 60; rev++ {
		next := at("e", rev)
		s.update(part(last, next, 1, 1, "+a@7", "+b@"+text(next)[2:]))
		s.ack(next)
		last = next
	}
	close(frozen.reads)
	for acks := 1; ; acks++ {
		a := await(stuck, "Ack", (*signalboxv1.ConnectRequest).GetAck)
		if !same(a.GetVersion(), last) {
			continue
		}
		if acks > 3 {
			t.Errorf("it was told of %d versions, want the newest alone", acks)
		}
		if got := a.GetRejections(); len(got) != 1 || got[0].GetName() != "a" {
			t.Errorf("the last Ack has rejections %v, want that of a", got)
		}
		return
	}
}

// A relay is a line between a node and a control plane that can go dead.
type relay struct {
	t      *testing.T
	ln     net.Listener
	target string
	mu     sync.Mutex
	dead   bool
	conns  []net.Conn
	work   sync.WaitGroup
}

func newRelay(t *testing.T, target string) *relay {
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	r := &relay{t: t, ln: ln, target: target}
	r.work.Go(r.accept)
	t.Cleanup(func() {
		_ = ln.Close()
		r.mu.Lock()
		for _, c := range r.conns {
			_ = c.Close()
		}
		r.mu.Unlock()
		r.work.Wait()
	})
	return r
}

func (r *relay) accept() {
	for {
		in, err := r.ln.Accept()
		if err != nil {
			return
		}
		out, err := net.Dial("tcp", r.target)
		if err != nil {
			_ = in.Close()
			continue
		}
		r.mu.Lock()
		r.conns = append(r.conns, in, out)
		r.mu.Unlock()
		r.work.Go(func() { _, _ = io.Copy(mute{out, r}, in); _ = out.Close() })
		r.work.Go(func() { _, _ = io.Copy(mute{in, r}, out); _ = in.Close() })
	}
}

// die makes the line swallow everything from now on.
func (r *relay) die() {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.dead = true
}

// A mute writer writes nothing once its line is dead.
type mute struct {
	io.Writer
	r *relay
}

func (m mute) Write(b []byte) (int, error) {
	m.r.mu.Lock()
	dead := m.r.dead
	m.r.mu.Unlock()
	if dead {
		return len(b), nil
	}
	return m.Writer.Write(b)
}

// A control plane that is there but does not answer is left for another.
func TestClientLeavesAFrozenControlPlane(t *testing.T) {
	p, other := newPlane(t, "cp1"), newPlane(t, "cp2")
	line := newRelay(t, p.serve())
	r := newRig(t, line.ln.Addr().String())
	r.conf.timing.probeTimeout = 200 * time.Millisecond
	r.conf.Seeds = append(r.conf.Seeds, other.serve())
	other.welcome.CanFeed = false
	r.start()
	s, second := p.session(), other.session()
	s.feed()
	s.update(part(nil, at("e", 5), 1, 1, "+a@1"))
	second.ack(at("e", 5))
	line.die()
	if got := second.feed(); got != "e.5" {
		t.Errorf("Feed has %s, want e.5", got)
	}
}

func TestClientLooksUpNames(t *testing.T) {
	p := newPlane(t, "cp1")
	_, port, err := net.SplitHostPort(p.serve())
	if err != nil {
		t.Fatal(err)
	}
	r := newRig(t, "control.example:"+port)
	answers := make(chan []string, 100)
	r.conf.Resolve = func(_ context.Context, host string) ([]string, error) {
		if host != "control.example" {
			t.Errorf("looked up was %q", host)
		}
		select {
		case a := <-answers:
			return a, nil
		default:
			return nil, errors.New("no such host")
		}
	}
	r.start()
	answers <- []string{"127.0.0.1"} // the look-ups before it fail
	s := p.session()
	s.feed()
	s.update(part(nil, at("e", 5), 1, 1, "+a@1"))
	s.ack(at("e", 5)) // the look-ups after it fail too, and change nothing
}

func TestTransportKeepsTheKeyFromTravellingInTheClear(t *testing.T) {
	for addr, allowed := range map[string]bool{
		"127.0.0.1:1": true, "[::1]:1": true, "localhost:1": true,
		"192.0.2.1:8002": false, "cp.example:8002": false, "[2001:db8::1]:1": false, "localhost.example:1": false,
	} {
		if _, err := transport(nil, false, addr, "host"); (err == nil) != allowed {
			t.Errorf("%s: %v", addr, err)
		}
		if _, err := transport(nil, true, addr, "host"); err != nil {
			t.Errorf("%s, when plaintext is allowed: %v", addr, err)
		}
	}
}

// A control plane that is there and takes nothing for long is left as well.
func TestClientLeavesAControlPlaneThatTakesNothing(t *testing.T) {
	p := newPlane(t, "cp1")
	p.reads = make(chan struct{})
	r := newRig(t, p.serve())
	r.conf.timing.blocked = 100 * time.Millisecond
	for i := range 200 {
		r.carried.carry(strings.Repeat("x", 1000)+text(at("e", int64(i))), 1)
	}
	r.start()
	<-p.session().stream.Context().Done()
	p.session()
}
