package node

import (
	"errors"
	"io"
	"net"
	"slices"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"
	"google.golang.org/grpc"
	"google.golang.org/protobuf/types/known/durationpb"

	"signalbox/node/feed"
	signalboxv1 "signalbox/proto/gen/signalbox/v1"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// patience is how long a test waits for what must come.
const patience = 20 * time.Second

// A plane is a control plane that keeps routes and feeds them to one node, on
// a real server. It sends what the node lacks as one update of one part.
type plane struct {
	signalboxv1.UnimplementedFeedServiceServer
	t      *testing.T
	id     string
	server *grpc.Server
	addr   string

	mu      sync.Mutex
	moved   chan struct{} // closed and replaced when anything below changes
	history []*signalboxv1.Update
	said    []*signalboxv1.ConnectRequest
	hellos  []*signalboxv1.Hello
}

// newPlane starts a control plane of its own history, on an address of its own
// or the one given.
func newPlane(t *testing.T, id string, addr ...string) *plane {
	t.Helper()
	listen := "127.0.0.1:0"
	if len(addr) > 0 {
		listen = addr[0]
	}
	ln, err := net.Listen("tcp", listen)
	if err != nil {
		t.Fatal(err)
	}
	p := &plane{t: t, id: id, server: grpc.NewServer(), addr: ln.Addr().String(), moved: make(chan struct{})}
	signalboxv1.RegisterFeedServiceServer(p.server, p)
	var running sync.WaitGroup
	running.Go(func() { _ = p.server.Serve(ln) })
	t.Cleanup(func() { p.server.Stop(); running.Wait() })
	return p
}

// stop is the control plane's sudden death.
func (p *plane) stop() { p.server.Stop() }

// write writes and removes records in one revision, and returns it.
func (p *plane) write(upserts []*signalboxv1.Record, removals ...*signalboxv1.RecordKey) int64 {
	p.mu.Lock()
	defer p.mu.Unlock()
	rev := int64(len(p.history) + 1)
	for _, u := range upserts {
		meta := &signalboxv1.Meta{Revision: rev, CreatedRevision: p.created(u, rev)}
		switch m := u.GetRecord().(type) {
		case *signalboxv1.Record_Route:
			m.Route.Meta = meta
		case *signalboxv1.Record_Listener:
			m.Listener.Meta = meta
		case *signalboxv1.Record_Node:
			m.Node.Meta = meta
		}
	}
	p.history = append(p.history, &signalboxv1.Update{Upserts: upserts, Removals: removals})
	p.move()
	return rev
}

// created is the revision at which a record was written first, if it has not
// been removed since. The lock is held.
func (p *plane) created(r *signalboxv1.Record, rev int64) int64 {
	key, _ := feed.KeyOf(r)
	for _, u := range slices.Backward(p.history) {
		for _, k := range u.GetRemovals() {
			if k.GetKind() == key.Kind && k.GetName() == key.Name {
				return rev
			}
		}
		for _, before := range u.GetUpserts() {
			if k, _ := feed.KeyOf(before); k == key && key.Kind == signalboxv1.Kind_KIND_ROUTE {
				return before.GetRoute().GetMeta().GetCreatedRevision()
			}
		}
	}
	return rev
}

// move wakes those who wait. The lock is held.
func (p *plane) move() {
	close(p.moved)
	p.moved = make(chan struct{})
}

// version is a place in the history all planes of a test share.
func version(rev int64) *signalboxv1.Version {
	return &signalboxv1.Version{Epoch: "e", Revision: rev}
}

// since merges what was written after a revision.
func (p *plane) since(have *signalboxv1.Version) *signalboxv1.Update {
	u := &signalboxv1.Update{To: version(int64(len(p.history))), Part: 1, Parts: 1}
	from := int64(0)
	if have.GetEpoch() == "e" {
		u.From, from = have, have.GetRevision()
	}
	for _, h := range p.history[from:] {
		u.Upserts = append(u.Upserts, h.GetUpserts()...)
		if from > 0 {
			u.Removals = append(u.Removals, h.GetRemovals()...)
		}
	}
	return u
}

// Connect feeds one node.
func (p *plane) Connect(stream grpc.BidiStreamingServer[signalboxv1.ConnectRequest, signalboxv1.ConnectResponse]) error {
	first, err := stream.Recv()
	if err != nil {
		return err
	}
	p.mu.Lock()
	p.hellos = append(p.hellos, first.GetHello())
	current := version(int64(len(p.history)))
	p.move()
	p.mu.Unlock()
	send := func(m *signalboxv1.ConnectResponse) { _ = stream.Send(m) }
	send(&signalboxv1.ConnectResponse{Message: &signalboxv1.ConnectResponse_Welcome{Welcome: &signalboxv1.Welcome{
		ControlPlane: p.id, Current: current, CanFeed: true, ReportInterval: durationpb.New(50 * time.Millisecond),
	}}})
	send(&signalboxv1.ConnectResponse{Message: &signalboxv1.ConnectResponse_Members{
		Members: &signalboxv1.Members{Members: []*signalboxv1.Member{{Id: p.id}}},
	}})
	var have *signalboxv1.Version
	fed, flying := false, false
	heard := make(chan error, 1)
	var reading sync.WaitGroup
	defer reading.Wait()
	reading.Go(func() { heard <- p.read(stream, &have, &fed, &flying) })
	for {
		p.mu.Lock()
		var u *signalboxv1.Update
		if fed && !flying && have.GetRevision() != int64(len(p.history)) && len(p.history) > 0 {
			u, flying = p.since(have), true
		}
		moved := p.moved
		p.mu.Unlock()
		if u != nil {
			send(&signalboxv1.ConnectResponse{Message: &signalboxv1.ConnectResponse_Update{Update: u}})
		}
		select {
		case <-moved:
		case err := <-heard:
			return err
		}
	}
}

// read takes in what the node says.
func (p *plane) read(stream grpc.BidiStreamingServer[signalboxv1.ConnectRequest, signalboxv1.ConnectResponse],
	have **signalboxv1.Version, fed, flying *bool,
) error {
	for {
		m, err := stream.Recv()
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return err
		}
		p.mu.Lock()
		p.said = append(p.said, m)
		if f := m.GetFeed(); f != nil {
			*have, *fed, *flying = f.GetHave(), true, false
		}
		if a := m.GetAck(); a != nil {
			*have, *flying = a.GetVersion(), false
		}
		p.move()
		p.mu.Unlock()
	}
}

// until waits until something the node said is as wanted.
func (p *plane) until(what string, ok func(*signalboxv1.ConnectRequest) bool) *signalboxv1.ConnectRequest {
	p.t.Helper()
	timeout := time.After(patience)
	for from := 0; ; {
		p.mu.Lock()
		said, moved := p.said, p.moved
		p.mu.Unlock()
		for ; from < len(said); from++ {
			if ok(said[from]) {
				return said[from]
			}
		}
		select {
		case <-moved:
		case <-timeout:
			p.t.Fatalf("the node did not say: %s", what)
		}
	}
}

// acked waits until the node serves a revision.
func (p *plane) acked(rev int64) *signalboxv1.Ack {
	p.t.Helper()
	return p.until("an Ack", func(m *signalboxv1.ConnectRequest) bool {
		return m.GetAck() != nil && m.GetAck().GetVersion().GetRevision() >= rev
	}).GetAck()
}

// put writes a route to an upstream and waits until the node serves it.
func (p *plane) put(prefix, url string) {
	p.t.Helper()
	p.acked(p.write([]*signalboxv1.Record{routeRecord(prefix, url)}))
}

// routeRecord is a record of a route, named as its prefix.
func routeRecord(prefix, url string) *signalboxv1.Record {
	return &signalboxv1.Record{Record: &signalboxv1.Record_Route{Route: &signalboxv1.Route{
		Name: "r" + prefix, Match: &signalboxv1.Match{PathPrefix: prefix}, Upstreams: []*signalboxv1.Upstream{{Url: url}},
	}}}
}
