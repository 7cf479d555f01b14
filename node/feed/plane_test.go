package feed

import (
	"context"
	"errors"
	"io"
	"log/slog"
	"net"
	"slices"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/types/known/durationpb"

	signalboxv1 "signalbox/proto/gen/signalbox/v1"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// patience is how long a test waits for what must come.
const patience = 20 * time.Second

// A plane is a control plane that does what the test says: a real server, on
// one address or more.
type plane struct {
	signalboxv1.UnimplementedFeedServiceServer
	t        *testing.T
	id       string
	server   *grpc.Server
	sessions chan *session
	// refuse, when set, answers every call to Connect.
	refuse func(metadata.MD) error
	// reads, when set, keeps it from reading more than Hello until it is closed.
	reads chan struct{}
	// welcome and members are what it says first. It names no members unless
	// the test does, and is at e.5.
	welcome *signalboxv1.Welcome
	members *signalboxv1.Members

	mu     sync.Mutex
	latest *session // ended when the next one takes its place
}

// A session is one stream as the control plane has it.
type session struct {
	t      *testing.T
	stream grpc.BidiStreamingServer[signalboxv1.ConnectRequest, signalboxv1.ConnectResponse]
	hello  *signalboxv1.Hello
	got    chan *signalboxv1.ConnectRequest
	quit   chan error // what Connect returns
	done   chan struct{}
	once   sync.Once
	saying sync.Mutex
	kept   []*signalboxv1.ConnectRequest // what came and was not waited for yet
}

// newPlane prepares a control plane; serve starts it.
func newPlane(t *testing.T, id string, options ...grpc.ServerOption) *plane {
	p := &plane{
		t: t, id: id, sessions: make(chan *session, 100),
		welcome: &signalboxv1.Welcome{
			ControlPlane: id, Current: at("e", 5), CanFeed: true, ReportInterval: durationpb.New(50 * time.Millisecond),
		},
		members: &signalboxv1.Members{Members: []*signalboxv1.Member{{Id: id}}},
	}
	p.server = grpc.NewServer(options...)
	signalboxv1.RegisterFeedServiceServer(p.server, p)
	return p
}

// serve listens on an address of its own, and returns it.
func (p *plane) serve() string {
	p.t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		p.t.Fatal(err)
	}
	var running sync.WaitGroup
	running.Go(func() { _ = p.server.Serve(ln) })
	p.t.Cleanup(func() { p.server.Stop(); running.Wait() })
	return ln.Addr().String()
}

// Connect hands the stream to the test and reads all that comes.
func (p *plane) Connect(stream grpc.BidiStreamingServer[signalboxv1.ConnectRequest, signalboxv1.ConnectResponse]) error {
	if p.refuse != nil {
		md, _ := metadata.FromIncomingContext(stream.Context())
		if err := p.refuse(md); err != nil {
			return err
		}
	}
	first, err := stream.Recv()
	if err != nil {
		return err
	}
	s := &session{
		t: p.t, stream: stream, hello: first.GetHello(), got: make(chan *signalboxv1.ConnectRequest, 10_000),
		quit: make(chan error, 1), done: make(chan struct{}),
	}
	defer close(s.done)
	p.mu.Lock()
	if p.latest != nil {
		p.latest.end(status.Error(codes.AlreadyExists, "another stream has taken this one's place"))
	}
	p.latest = s
	p.sessions <- s
	p.mu.Unlock()
	s.say(&signalboxv1.ConnectResponse{Message: &signalboxv1.ConnectResponse_Welcome{Welcome: p.welcome}})
	s.say(&signalboxv1.ConnectResponse{Message: &signalboxv1.ConnectResponse_Members{Members: p.members}})
	go s.read(p.reads)
	select {
	case err := <-s.quit:
		return err
	case <-stream.Context().Done():
		return stream.Context().Err()
	}
}

// read takes what the node says, once it may, until it says no more.
func (s *session) read(may <-chan struct{}) {
	if may != nil {
		select {
		case <-may:
		case <-s.stream.Context().Done():
			return
		}
	}
	for {
		m, err := s.stream.Recv()
		if err != nil {
			if errors.Is(err, io.EOF) {
				s.end(nil)
			}
			return
		}
		s.got <- m
	}
}

// end ends the stream.
func (s *session) end(err error) { s.once.Do(func() { s.quit <- err }) }

func (s *session) say(m *signalboxv1.ConnectResponse) {
	s.saying.Lock()
	defer s.saying.Unlock()
	if err := s.stream.Send(m); err != nil {
		s.t.Logf("the node is gone: %v", err)
	}
}

func (s *session) update(u *signalboxv1.Update) {
	s.say(&signalboxv1.ConnectResponse{Message: &signalboxv1.ConnectResponse_Update{Update: u}})
}

// session waits for the next stream.
func (p *plane) session() *session {
	p.t.Helper()
	return wait(p.t, p.sessions, "a stream to "+p.id)
}

// await waits for the first message of the node that is of the kind wanted,
// and keeps others for later.
func await[M comparable](s *session, what string, get func(*signalboxv1.ConnectRequest) M) M {
	s.t.Helper()
	for i, m := range s.kept {
		if got := get(m); got != *new(M) {
			s.kept = slices.Delete(s.kept, i, i+1)
			return got
		}
	}
	timeout := time.After(patience)
	for {
		select {
		case m := <-s.got:
			if got := get(m); got != *new(M) {
				return got
			}
			s.kept = append(s.kept, m)
		case <-timeout:
			s.t.Fatalf("%s did not come", what)
		}
	}
}

// feed waits for Feed and returns what the node has.
func (s *session) feed() string {
	s.t.Helper()
	return text(await(s, "Feed", (*signalboxv1.ConnectRequest).GetFeed).GetHave())
}

// ack waits for an Ack of a version.
func (s *session) ack(v *signalboxv1.Version) *signalboxv1.Ack {
	s.t.Helper()
	return await(s, "Ack of "+text(v), func(m *signalboxv1.ConnectRequest) *signalboxv1.Ack {
		if a := m.GetAck(); a != nil && same(a.GetVersion(), v) {
			return a
		}
		return nil
	})
}

// report waits for a Report that is as wanted.
func (s *session) report(what string, ok func(*signalboxv1.Report) bool) *signalboxv1.Report {
	s.t.Helper()
	return await(s, what, func(m *signalboxv1.ConnectRequest) *signalboxv1.Report {
		if r := m.GetReport(); r != nil && ok(r) {
			return r
		}
		return nil
	})
}

// wait takes the next element of a channel.
func wait[T any](t *testing.T, c <-chan T, what string) T {
	t.Helper()
	select {
	case v := <-c:
		return v
	case <-time.After(patience):
		t.Fatalf("%s did not come", what)
		panic("unreachable")
	}
}

// A carried is what the test says the node carried.
type carried struct {
	mu     sync.Mutex
	mark   uint64
	routes map[string]*signalboxv1.RouteReport
	marks  map[string]uint64
	open   int // readers

	instances []*signalboxv1.InstanceReport
	lines     []*signalboxv1.LogLine
}

// A carriedReader is one stream's reports.
type carriedReader struct {
	*carried
	mark uint64

	toldInstances, toldLines int
}

func (c *carried) reports() Reports {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.open++
	return &carriedReader{carried: c}
}

func (r *carriedReader) Close() {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.open--
}

func (r *carriedReader) Changed() (changed []*signalboxv1.RouteReport) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for name, m := range r.marks {
		if m > r.mark {
			changed = append(changed, r.routes[name])
		}
	}
	r.mark = r.carried.mark
	return changed
}

func (r *carriedReader) Instances() (changed []*signalboxv1.InstanceReport) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.toldInstances < len(r.instances) {
		changed = r.instances[r.toldInstances:]
		r.toldInstances = len(r.instances)
	}
	return changed
}

func (r *carriedReader) Lines() (lines []*signalboxv1.LogLine) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.toldLines < len(r.lines) {
		lines = r.lines[r.toldLines:]
		r.toldLines = len(r.lines)
	}
	return lines
}

// carry makes a route have carried so many requests.
func (c *carried) carry(name string, requests uint64) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.mark++
	c.marks[name] = c.mark
	c.routes[name] = &signalboxv1.RouteReport{Route: name, Counters: &signalboxv1.RouteCounters{Requests: requests}}
}

// A table is a simTable that says what was applied.
type table struct {
	simTable
	applied chan *Change
}

func (t *table) Apply(c *Change) Outcome {
	o := t.simTable.Apply(c)
	t.applied <- c
	return o
}

// A rig is a client under test, and what it works on.
type rig struct {
	t       *testing.T
	conf    Config
	table   *table
	carried *carried
	client  *Client
	stop    context.CancelCauseFunc
	ended   chan error
}

// hasten makes everything that waits wait shorter.
func hasten() timing {
	t := defaults()
	t.resolve, t.backoff, t.backoffMax, t.refused = 50*time.Millisecond, 5*time.Millisecond, 50*time.Millisecond, 20*time.Millisecond
	t.again, t.heartbeat, t.probeEvery = 20*time.Millisecond, 300*time.Millisecond, 50*time.Millisecond
	return t
}

// newRig prepares a client of node "n"; start starts it.
func newRig(t *testing.T, seeds ...string) *rig {
	r := &rig{
		t: t, ended: make(chan error, 1),
		table:   &table{simTable: *newSimTable(), applied: make(chan *Change, 1000)},
		carried: &carried{routes: map[string]*signalboxv1.RouteReport{}, marks: map[string]uint64{}},
	}
	r.conf = Config{
		Node: "n", Epoch: 7, Version: "1.2", Seeds: seeds, Key: func() string { return "sekrit" },
		Labels: map[string]string{"zone": "a"}, Listeners: map[string]string{"public": ":8000"},
		Applier: r.table, Reports: r.carried.reports, timing: hasten(), Log: slog.New(slog.NewTextHandler(testLog{t}, nil)),
	}
	return r
}

// make makes the client, which does nothing yet.
func (r *rig) make() *Client {
	r.t.Helper()
	client, err := New(r.conf)
	if err != nil {
		r.t.Fatal(err)
	}
	return client
}

// start runs the client until the test ends.
func (r *rig) start() *rig {
	r.t.Helper()
	client := r.make()
	ctx, stop := context.WithCancelCause(context.Background())
	r.client, r.stop = client, stop
	var running sync.WaitGroup
	running.Go(func() { r.ended <- client.Run(ctx) })
	r.t.Cleanup(func() { stop(nil); running.Wait() })
	return r
}

// testLog writes a log to the test's.
type testLog struct{ t *testing.T }

func (l testLog) Write(b []byte) (int, error) {
	l.t.Log(string(slices.Clone(b)))
	return len(b), nil
}
