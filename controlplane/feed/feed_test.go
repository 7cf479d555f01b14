package feed_test

import (
	"context"
	"fmt"
	"log/slog"
	"maps"
	"net"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/status"
	"google.golang.org/grpc/test/bufconn"

	"signalbox/controlplane/feed"
	"signalbox/controlplane/observe"
	"signalbox/controlplane/presence"
	"signalbox/controlplane/replica"
	signalboxv1 "signalbox/proto/gen/signalbox/v1"
	"signalbox/store"
	"signalbox/store/mem"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// A plane is one replica: all real parts, over a store in memory.
type plane struct {
	t       testing.TB
	keeper  *mem.Keeper
	replica *replica.Replica
	nodes   *observe.Nodes
	stand   *presence.Presence
	// instances is how those stand, logged what they say.
	instances *observe.Instances
	logged    chan string
	dial      func(context.Context, string) (net.Conn, error)
	stop      func()
}

// noTally drops reports.
type noTally struct{}

func (noTally) Report(string, int64, []*signalboxv1.RouteReport)             {}
func (noTally) ReportInstances(string, int64, []*signalboxv1.InstanceReport) {}
func (noTally) Joined(string, int64)                                         {}
func (noTally) Ended(string, int64)                                          {}
func (noTally) Left(string, int64)                                           {}

func startPlane(t testing.TB, keeper *mem.Keeper, id string) *plane {
	return startPlaneOver(t, keeper, keeper, keeper, id)
}

// startPlaneOver is startPlane with other ways to the store for the records
// that are followed, and for the head.
func startPlaneOver(t testing.TB, followed *mem.Keeper, head feed.Head, keeper *mem.Keeper, id string) *plane {
	log := slog.New(slog.DiscardHandler)
	p := &plane{t: t, keeper: keeper, replica: replica.New(followed, log), nodes: observe.NewNodes(), instances: observe.NewInstances(), logged: make(chan string, 1)}
	p.stand = presence.New(presence.Config{ID: id, Address: id + ":1", TTL: time.Second}, keeper, log, p.nodes)
	server := feed.New(feed.Config{
		Views: p.replica, Head: head, Presence: p.stand, Nodes: p.nodes, Instances: p.instances, Tally: noTally{}, Logs: p, Log: log,
	})
	ln := bufconn.Listen(1 << 16)
	g := grpc.NewServer(grpc.ForceServerCodecV2(feed.Codec()))
	signalboxv1.RegisterFeedServiceServer(g, server)
	p.dial = func(ctx context.Context, _ string) (net.Conn, error) { return ln.DialContext(ctx) }

	ctx, cancel := context.WithCancel(context.Background())
	var running sync.WaitGroup
	running.Go(func() { _ = p.replica.Run(ctx) })
	running.Go(func() { _ = p.stand.Run(ctx) })
	running.Go(func() { _ = g.Serve(ln) })
	p.stop = sync.OnceFunc(func() {
		g.Stop()
		cancel()
		running.Wait()
	})
	t.Cleanup(p.stop)
	if _, err := p.stand.Session(t.Context()); err != nil {
		t.Fatal(err)
	}
	p.current()
	return p
}

// Add implements feed.Logs.
func (p *plane) Add(node string, _ int64, lines []*signalboxv1.LogLine) {
	for _, l := range lines {
		p.logged <- node + ": " + l.GetInstance() + ": " + l.GetText()
	}
}

func (p *plane) current() *replica.View {
	p.t.Helper()
	v, err := p.replica.Current(p.t.Context())
	if err != nil {
		p.t.Fatal(err)
	}
	return v
}

// put writes a route and returns its revision.
func (p *plane) put(name string) store.Revision {
	p.t.Helper()
	rev, err := p.keeper.Commit(p.t.Context(), store.Txn{Put: []store.Record{{
		Key:     store.Key{Kind: store.KindRoute, Name: name},
		Message: &signalboxv1.Route{Name: name, Match: &signalboxv1.Match{PathPrefix: "/" + name}},
	}}})
	if err != nil {
		p.t.Fatal(err)
	}
	return rev
}

func (p *plane) delete(name string) store.Revision {
	p.t.Helper()
	rev, err := p.keeper.Commit(p.t.Context(), store.Txn{Delete: []store.Key{{Kind: store.KindRoute, Name: name}}})
	if err != nil {
		p.t.Fatal(err)
	}
	return rev
}

// A script is a node's end of a stream, spoken line by line.
type script struct {
	t      testing.TB
	conn   *grpc.ClientConn
	stream grpc.BidiStreamingClient[signalboxv1.ConnectRequest, signalboxv1.ConnectResponse]
	have   map[string]int64 // route name to revision
	at     *signalboxv1.Version
}

// connect says hello and hears the welcome.
func (p *plane) connect(node string, epoch int64, at *signalboxv1.Version) *script {
	p.t.Helper()
	conn, err := grpc.NewClient("passthrough:///plane", grpc.WithContextDialer(p.dial), grpc.WithTransportCredentials(insecure.NewCredentials()))
	if err != nil {
		p.t.Fatal(err)
	}
	p.t.Cleanup(func() { _ = conn.Close() })
	ctx, cancel := context.WithTimeout(p.t.Context(), 20*time.Second)
	p.t.Cleanup(cancel)
	stream, err := signalboxv1.NewFeedServiceClient(conn).Connect(ctx)
	if err != nil {
		p.t.Fatal(err)
	}
	s := &script{t: p.t, conn: conn, stream: stream, have: map[string]int64{}, at: at}
	s.say(&signalboxv1.ConnectRequest{Message: &signalboxv1.ConnectRequest_Hello{Hello: &signalboxv1.Hello{Node: node, Epoch: epoch, Serving: at}}})
	if w := s.hear().GetWelcome(); w == nil {
		p.t.Fatal("no welcome")
	}
	if m := s.hear().GetMembers(); m == nil {
		p.t.Fatal("no members")
	}
	return s
}

func (s *script) say(m *signalboxv1.ConnectRequest) {
	s.t.Helper()
	if err := s.stream.Send(m); err != nil {
		s.t.Fatal(err)
	}
}

// hear returns the next message that is not about members, once those were
// told.
func (s *script) hear() *signalboxv1.ConnectResponse {
	s.t.Helper()
	m, err := s.stream.Recv()
	if err != nil {
		s.t.Fatal(err)
	}
	return m
}

func (s *script) ask() {
	s.t.Helper()
	s.say(&signalboxv1.ConnectRequest{Message: &signalboxv1.ConnectRequest_Feed{Feed: &signalboxv1.Feed{Have: s.at}}})
}

// update hears all parts of one update and applies them.
func (s *script) update() (whole bool, touched []string) {
	s.t.Helper()
	for {
		m := s.hear()
		up := m.GetUpdate()
		if up == nil {
			if m.GetMembers() != nil {
				continue
			}
			s.t.Fatalf("heard %v, want an update", m)
		}
		if up.From == nil && up.Part == 1 {
			whole = true
			clear(s.have)
		}
		if up.From != nil && up.From.String() != s.at.String() {
			s.t.Fatalf("update from %v, but the node is at %v", up.From, s.at)
		}
		for _, r := range up.Upserts {
			s.have[r.GetRoute().GetName()] = r.GetRoute().GetMeta().GetRevision()
			touched = append(touched, r.GetRoute().GetName())
		}
		for _, k := range up.Removals {
			delete(s.have, k.GetName())
			touched = append(touched, "-"+k.GetName())
		}
		if up.Part == up.Parts {
			s.at = up.To
			return whole, touched
		}
	}
}

func (s *script) ack() {
	s.t.Helper()
	s.say(&signalboxv1.ConnectRequest{Message: &signalboxv1.ConnectRequest_Ack{Ack: &signalboxv1.Ack{Version: s.at}}})
}

// catchUp takes updates until the node is at a revision.
func (s *script) catchUp(rev store.Revision) (touched []string) {
	s.t.Helper()
	for s.at.GetRevision() < int64(rev) {
		_, some := s.update()
		touched = append(touched, some...)
		s.ack()
	}
	return touched
}

// Whoever waits for an ack may write again the moment it is heard. What is
// written then is sent, though the session is still busy with the ack.
func TestAWriteOnTheHeelsOfAnAckIsSent(t *testing.T) {
	p := startPlane(t, mem.New(), "cp")
	s := p.connect("n", 1, nil)
	s.ask()
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	var writing sync.WaitGroup
	defer writing.Wait()
	writing.Go(func() {
		for i := range 500 {
			rev := p.put(fmt.Sprintf("r%d", i%10))
			p.nodes.Wait(ctx, store.Version{Epoch: p.current().Version.Epoch, Revision: rev})
		}
		p.put("last")
	})
	for s.have["last"] == 0 {
		s.update()
		s.ack()
	}
}

// A new node is given the whole state, and then every change alone.
func TestWholeThenChanges(t *testing.T) {
	p := startPlane(t, mem.New(), "cp")
	p.put("a")
	p.put("b")
	p.current()
	s := p.connect("n", 1, nil)
	s.ask()
	if whole, touched := s.update(); !whole || len(touched) != 2 {
		t.Fatalf("first update: whole %t, %v", whole, touched)
	}
	s.ack()
	rev := p.put("c")
	if whole, touched := s.update(); whole || fmt.Sprint(touched) != "[c]" || s.at.GetRevision() != int64(rev) {
		t.Errorf("second update: whole %t, %v at %d, want c alone at %d", whole, touched, s.at.GetRevision(), rev)
	}
	s.ack()
	p.delete("a")
	if whole, touched := s.update(); whole || fmt.Sprint(touched) != "[-a]" {
		t.Errorf("third update: whole %t, %v", whole, touched)
	}
}

// While an update is in flight later changes gather: the node is sent each
// record once, in its newest form.
func TestChangesGatherWhileOneIsInFlight(t *testing.T) {
	p := startPlane(t, mem.New(), "cp")
	s := p.connect("n", 1, nil)
	s.ask()
	s.update() // and no ack yet
	for range 50 {
		p.put("a")
	}
	p.put("b")
	p.delete("b")
	last := p.put("c")
	p.current()
	s.ack()
	whole, touched := s.update()
	// b came and went between two versions of the node's: its removal may be told.
	if whole || s.at.GetRevision() != int64(last) || len(touched) > 3 || s.have["a"] == 0 || s.have["c"] == 0 {
		t.Errorf("gathered update: whole %t, %v at %d, want %d", whole, touched, s.at.GetRevision(), last)
	}
}

// A node that comes from another replica of the same store is sent only what
// it lacks, and nothing if it lacks nothing.
func TestContinueElsewhere(t *testing.T) {
	keeper := mem.New()
	one, two := startPlane(t, keeper, "one"), startPlane(t, keeper.Another(), "two")
	one.put("a")
	s := one.connect("n", 1, nil)
	s.ask()
	s.catchUp(one.current().Version.Revision)
	two.current()

	again := two.connect("n", 1, s.at)
	again.have = maps.Clone(s.have)
	again.ask()
	two.put("b")
	if whole, touched := again.update(); whole || fmt.Sprint(touched) != "[b]" {
		t.Errorf("continued with: whole %t, %v", whole, touched)
	}
}

// A node is sent the whole state when its version is of another history, or
// from a future that was rolled back.
func TestWholeForStrangers(t *testing.T) {
	p := startPlane(t, mem.New(), "cp")
	p.put("a")
	v := p.current().Version
	for name, at := range map[string]*signalboxv1.Version{
		"another epoch":         {Epoch: "other", Revision: int64(v.Revision)},
		"a revision not yet":    {Epoch: v.Epoch, Revision: int64(v.Revision) + 1000},
		"older than its memory": {Epoch: v.Epoch, Revision: 0},
	} {
		t.Run(name, func(t *testing.T) {
			s := p.connect("n-"+fmt.Sprint(len(name)), 1, at)
			s.ask()
			if whole, _ := s.update(); !whole {
				t.Error("not sent the whole state")
			}
		})
	}
}

// A node that is ahead of a replica is sent nothing, least of all the older
// state, until that has caught up; then it is sent what it lacks.
func TestANodeAheadOfTheReplica(t *testing.T) {
	for name, lost := range map[string]bool{"the change is followed": false, "history is gone": true} {
		t.Run(name, func(t *testing.T) {
			keeper := mem.New()
			followed, asked := keeper.Another(), askedHead{keeper, make(chan struct{}, 1)}
			p, ahead := startPlaneOver(t, followed, asked, keeper, "behind"), startPlane(t, keeper.Another(), "ahead")
			s := ahead.connect("n", 1, nil)
			s.ask()
			s.catchUp(ahead.current().Version.Revision)
			followed.SetAvailable(false)
			s.catchUp(ahead.put("a"))

			again := p.connect("n", 1, s.at)
			again.have = maps.Clone(s.have)
			again.ask()
			select {
			case <-asked.asked:
			case <-time.After(10 * time.Second):
				t.Fatal("the store was not asked what is newest")
			}
			if lost {
				keeper.Compact()
			}
			followed.SetAvailable(true)
			p.put("b")
			if whole, touched := again.update(); whole || again.have["b"] == 0 {
				t.Errorf("sent %v, a whole state: %t; want b", touched, whole)
			}
		})
	}
}

// An askedHead tells when it is asked.
type askedHead struct {
	*mem.Keeper
	asked chan struct{}
}

func (h askedHead) Head(ctx context.Context) (store.Version, error) {
	defer func() {
		select {
		case h.asked <- struct{}{}:
		default:
		}
	}()
	return h.Keeper.Head(ctx)
}

// A node whose stream ends without a word is vouched for as long as a lease
// lasts, and no longer: by nobody, if it does not come back.
func TestAStreamThatBreaksLeavesNoLease(t *testing.T) {
	keeper := mem.New()
	p, other := startPlane(t, keeper, "cp"), startPlane(t, keeper.Another(), "other")
	s := p.connect("n", 1, nil)
	s.ask()
	s.catchUp(p.current().Version.Revision)
	holder(t, other.nodes, "n", "cp")
	_ = s.conn.Close()
	holder(t, other.nodes, "n", "")

	// At once, if it says goodbye.
	s = p.connect("l", 1, nil)
	s.ask()
	s.catchUp(p.current().Version.Revision)
	holder(t, other.nodes, "l", "cp")
	s.say(&signalboxv1.ConnectRequest{Message: &signalboxv1.ConnectRequest_Goodbye{Goodbye: &signalboxv1.Goodbye{}}})
	holder(t, other.nodes, "l", "")

	// The same when it is sent elsewhere.
	s = p.connect("m", 1, nil)
	s.ask()
	s.catchUp(p.current().Version.Revision)
	holder(t, other.nodes, "m", "cp")
	keeper.SetAvailable(false)
	for s.hear().GetUnfed() == nil {
	}
	keeper.SetAvailable(true)
	if _, err := p.stand.Session(t.Context()); err != nil {
		t.Fatal(err)
	}
	// Leases are written a few at a time, in turns: after two more, its would
	// have been.
	for _, name := range []string{"y", "z"} {
		late := p.connect(name, 1, nil)
		late.ask()
		late.catchUp(p.current().Version.Revision)
		holder(t, other.nodes, name, "cp")
	}
	holder(t, other.nodes, "m", "")
}

// A replica that has lost touch with the store sends nodes elsewhere, and
// vouches for none of them.
func TestUnfedWithoutTheStore(t *testing.T) {
	keeper := mem.New()
	p := startPlane(t, keeper, "cp")
	s := p.connect("n", 1, nil)
	s.ask()
	s.catchUp(p.current().Version.Revision)
	keeper.SetAvailable(false)
	for {
		m := s.hear()
		if m.GetMembers() != nil {
			continue
		}
		if m.GetUnfed().GetReason() == "" {
			t.Fatalf("heard %v, want Unfed with a reason", m)
		}
		break
	}
	keeper.SetAvailable(true)
	if _, err := p.stand.Session(t.Context()); err != nil {
		t.Fatal(err)
	}
	s.ask()
	rev := p.put("a")
	if touched := s.catchUp(rev); fmt.Sprint(touched) != "[a]" {
		t.Errorf("fed again with %v", touched)
	}
}

// What is wanted of a node is sent to that node and to no other.
func TestNodeRecordsAreTheirOwn(t *testing.T) {
	p := startPlane(t, mem.New(), "cp")
	mine, other := p.connect("mine", 1, nil), p.connect("other", 1, nil)
	for _, s := range []*script{mine, other} {
		s.ask()
		s.catchUp(p.current().Version.Revision)
	}
	if _, err := p.keeper.Commit(t.Context(), store.Txn{Put: []store.Record{{
		Key:     store.Key{Kind: store.KindNode, Name: "mine"},
		Message: &signalboxv1.Node{Name: "mine", Wanted: &signalboxv1.NodeWanted{Drain: true}},
	}}}); err != nil {
		t.Fatal(err)
	}
	for _, s := range []*script{mine, other} {
		m := s.hear()
		for m.GetMembers() != nil {
			m = s.hear()
		}
		got := len(m.GetUpdate().GetUpserts())
		if want := map[*script]int{mine: 1, other: 0}[s]; got != want {
			t.Errorf("sent %d records, want %d", got, want)
		}
	}
	late := p.connect("mine", 2, nil)
	late.ask()
	if m := late.hear(); m.GetUpdate().GetUpserts()[0].GetNode().GetWanted().GetDrain() != true {
		t.Errorf("a whole state lacks the node's own record: %v", m)
	}
}

// A large state comes in parts, and a record larger than a part comes whole.
func TestParts(t *testing.T) {
	p := startPlane(t, mem.New(), "cp")
	for i := range 25 {
		var txn store.Txn
		for j := range 100 {
			name := fmt.Sprintf("r-%d-%d", i, j)
			txn.Put = append(txn.Put, store.Record{Key: store.Key{Kind: store.KindRoute, Name: name}, Message: &signalboxv1.Route{Name: name, Data: string(make([]byte, 100))}})
		}
		if _, err := p.keeper.Commit(t.Context(), txn); err != nil {
			t.Fatal(err)
		}
	}
	big := store.Record{Key: store.Key{Kind: store.KindRoute, Name: "z"}, Message: &signalboxv1.Route{Name: "z", Data: string(make([]byte, 700<<10))}}
	if _, err := p.keeper.Commit(t.Context(), store.Txn{Put: []store.Record{big}}); err != nil {
		t.Fatal(err)
	}
	view := p.current()
	s := p.connect("n", 1, nil)
	s.ask()
	parts := 0
	for {
		up := s.hear().GetUpdate()
		if parts++; up.GetPart() != int32(parts) {
			t.Fatalf("part %d came as number %d", up.GetPart(), parts)
		}
		for _, r := range up.GetUpserts() {
			s.have[r.GetRoute().GetName()] = 1
		}
		if up.GetPart() == up.GetParts() {
			break
		}
	}
	if len(s.have) != view.Len() || parts < 4 {
		t.Errorf("%d records in %d parts, want %d", len(s.have), parts, view.Len())
	}
}

// The newer of two processes with one name is the node; the older is told.
func TestReplaced(t *testing.T) {
	p := startPlane(t, mem.New(), "cp")
	old := p.connect("n", 1, nil)
	p.connect("n", 2, nil)
	for {
		_, err := old.stream.Recv()
		if err == nil {
			continue
		}
		if status.Code(err) != codes.AlreadyExists {
			t.Errorf("the older stream ended with %v", err)
		}
		break
	}
}

// A stream must begin with Hello, and a name must be one.
func TestHello(t *testing.T) {
	p := startPlane(t, mem.New(), "cp")
	for name, first := range map[string]*signalboxv1.ConnectRequest{
		"not hello":  {Message: &signalboxv1.ConnectRequest_Ack{Ack: &signalboxv1.Ack{}}},
		"no message": {},
		"a bad name": {Message: &signalboxv1.ConnectRequest_Hello{Hello: &signalboxv1.Hello{Node: "a/b"}}},
	} {
		conn, err := grpc.NewClient("passthrough:///plane", grpc.WithContextDialer(p.dial), grpc.WithTransportCredentials(insecure.NewCredentials()))
		if err != nil {
			t.Fatal(err)
		}
		stream, err := signalboxv1.NewFeedServiceClient(conn).Connect(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		_ = stream.Send(first)
		if _, err := stream.Recv(); status.Code(err) != codes.InvalidArgument {
			t.Errorf("%s: %v", name, err)
		}
		_ = conn.Close()
	}
}

// A node's lease is taken over by whoever feeds it next, and ended by goodbye.
func TestLeases(t *testing.T) {
	keeper := mem.New()
	one, two := startPlane(t, keeper, "one"), startPlane(t, keeper.Another(), "two")
	s := one.connect("n", 1, nil)
	s.ask()
	s.catchUp(one.current().Version.Revision)
	holder(t, two.nodes, "n", "one")

	again := two.connect("n", 1, s.at)
	again.ask()
	holder(t, one.nodes, "n", "two")
	one.stop()
	after := two.connect("after", 1, nil)
	after.ask()
	after.catchUp(two.current().Version.Revision)
	holder(t, two.nodes, "after", "two") // so two has followed all there was before
	if got := two.nodes.Get("n", nil).GetControlPlane(); got != "two" {
		t.Errorf("the end of the first feeder ended the node's lease under the second: held by %q", got)
	}
	again.say(&signalboxv1.ConnectRequest{Message: &signalboxv1.ConnectRequest_Goodbye{Goodbye: &signalboxv1.Goodbye{}}})
	holder(t, two.nodes, "n", "")
}

// A node that reaches one replica only is waited for at the other: its acks
// come with its lease, as long as they are asked for.
func TestWaitForANodeThatIsHeardElsewhere(t *testing.T) {
	keeper := mem.New()
	one, two := startPlane(t, keeper, "one"), startPlane(t, keeper.Another(), "two")
	s := two.connect("n", 1, nil)
	s.ask()
	s.catchUp(two.current().Version.Revision)
	holder(t, one.nodes, "n", "two")
	for i := range 3 {
		rev := one.put("a")
		waited := make(chan observe.Standing, 1)
		go func() {
			ctx, cancel := context.WithTimeout(t.Context(), 15*time.Second)
			defer cancel()
			waited <- one.nodes.Wait(ctx, store.Version{Epoch: one.current().Version.Epoch, Revision: rev})
		}()
		s.catchUp(rev)
		if got := <-waited; got.Live != 1 || got.Serving != 1 {
			t.Fatalf("wait %d ended with %+v", i, got)
		}
	}
}

// holder waits until a node is vouched for by a control plane, or by nobody.
func holder(t *testing.T, ns *observe.Nodes, node, want string) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	defer cancel()
	for {
		_, _, next := ns.Changed(0)
		if got := ns.Get(node, nil).GetControlPlane(); got == want {
			return
		}
		select {
		case <-next:
		case <-ctx.Done():
			t.Fatalf("%s is held by %q, want %q", node, ns.Get(node, nil).GetControlPlane(), want)
		}
	}
}
