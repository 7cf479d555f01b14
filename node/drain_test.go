package node

import (
	"bufio"
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"strings"
	"sync"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/types/known/durationpb"

	signalboxv1 "signalbox/proto/gen/signalbox/v1"
)

// readyz waits until the admin endpoint answers so.
func (r *running) readyz(want int) {
	r.t.Helper()
	ctx, cancel := context.WithTimeout(r.t.Context(), patience)
	defer cancel()
	for {
		status, body, _ := get(r.t, "http://"+r.AdminAddr()+"/readyz", "")
		if status == want {
			return
		}
		select {
		case <-time.After(10 * time.Millisecond):
		case <-ctx.Done():
			r.t.Fatalf("/readyz answers %d %q, want %d", status, body, want)
		}
	}
}

func TestNodeDrainsWhenThatIsWanted(t *testing.T) {
	p := newPlane(t, "cp1")
	n := start(t, Config{ControlPlanes: []string{p.addr}})
	p.put("/a", target(t, "a"))
	n.readyz(http.StatusOK)
	wanted := func(name string, drain bool) *signalboxv1.Record {
		return &signalboxv1.Record{Record: &signalboxv1.Record_Node{Node: &signalboxv1.Node{
			Name: name, Wanted: &signalboxv1.NodeWanted{Drain: drain},
		}}}
	}
	key := &signalboxv1.RecordKey{Kind: signalboxv1.Kind_KIND_NODE, Name: "n"}
	for i, step := range []struct {
		upserts  []*signalboxv1.Record
		removals []*signalboxv1.RecordKey
		drains   bool
	}{
		{[]*signalboxv1.Record{wanted("other", true)}, nil, false},
		{[]*signalboxv1.Record{wanted("n", true)}, nil, true},
		{[]*signalboxv1.Record{wanted("other", false)}, nil, true},
		{[]*signalboxv1.Record{wanted("n", false)}, nil, false},
		{[]*signalboxv1.Record{wanted("n", true)}, nil, true},
		{nil, []*signalboxv1.RecordKey{key}, false},
	} {
		rev := p.write(step.upserts, step.removals...)
		ack := p.until("an Ack", func(m *signalboxv1.ConnectRequest) bool { return m.GetAck().GetVersion().GetRevision() == rev })
		if ack.GetAck().GetReady() == step.drains || n.Ready() == step.drains {
			t.Errorf("step %d: the node says ready %v in its Ack, and is %v", i, ack.GetAck().GetReady(), n.Ready())
		}
		status, body, h := n.get("/a")
		if closes := h.Get("Connection") == "close"; closes != step.drains || status != http.StatusOK || body != "a /a" {
			t.Errorf("step %d: the answer is %d %q, with Connection %q", i, status, body, h.Get("Connection"))
		}
	}
}

// wants writes what is wanted of the node "n", and waits until it has heard of it.
func (p *plane) wants(w *signalboxv1.NodeWanted) *signalboxv1.Ack {
	p.t.Helper()
	return p.acked(p.write([]*signalboxv1.Record{{Record: &signalboxv1.Record_Node{Node: &signalboxv1.Node{Name: "n", Wanted: w}}}}))
}

func TestADrainEndsWhatRunsWhenItsTimeIsOver(t *testing.T) {
	p := newPlane(t, "cp1")
	n := start(t, Config{ControlPlanes: []string{p.addr}})
	asked := make(chan string, 2)
	p.put("/ws", sockets(t, asked, nil, nil))
	p.put("/a", target(t, "a"))
	in := n.dial(append([]string{"GET /ws/other HTTP/1.1"}, toWebSocket...)...)
	switched(t, in)
	p.until("that it runs", func(m *signalboxv1.ConnectRequest) bool { return m.GetReport().GetOpenStreams() == 1 })

	// What is for another process is not for this one.
	p.wants(&signalboxv1.NodeWanted{Drain: true, DrainTimeout: durationpb.New(100 * time.Millisecond), StopEpoch: n.epoch - 1})
	if got, err := io.ReadAll(in); err != nil || string(got) != goingAway {
		t.Errorf("the WebSocket ended with % x, %v", got, err)
	}
	n.readyz(http.StatusServiceUnavailable)
	p.until("that nothing runs", func(m *signalboxv1.ConnectRequest) bool {
		return m.GetReport() != nil && m.GetReport().OpenStreams != nil && m.GetReport().GetOpenStreams() == 0
	})
	if status, body, _ := n.get("/a"); status != http.StatusOK || body != "a /a" {
		t.Errorf("drained, it answers %d %q", status, body)
	}
	refused := n.dial(append([]string{"GET /ws/other HTTP/1.1"}, toWebSocket...)...)
	if res, err := http.ReadResponse(refused, nil); err != nil || res.StatusCode != http.StatusServiceUnavailable {
		t.Errorf("an upgrade is answered %v, %v", res, err)
	}
	p.wants(nil)
	n.readyz(http.StatusOK)
	switched(t, n.dial(append([]string{"GET /ws/other HTTP/1.1"}, toWebSocket...)...))
}

func TestADrainEndsWhatBeginsLaterToo(t *testing.T) {
	p := newPlane(t, "cp1")
	n := start(t, Config{ControlPlanes: []string{p.addr}, quiet: 50 * time.Millisecond})
	endless := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		_, _ = io.WriteString(w, "begun, ")
		_ = http.NewResponseController(w).Flush()
		<-r.Context().Done()
	}))
	t.Cleanup(endless.Close)
	p.put("/endless", endless.URL)
	p.wants(&signalboxv1.NodeWanted{Drain: true, DrainTimeout: durationpb.New(time.Millisecond)})
	for range 3 { // the first may be earlier than the drain's end
		in := n.dial("GET /endless HTTP/1.1", "Host: n")
		if _, err := io.ReadAll(in); errors.Is(err, os.ErrDeadlineExceeded) {
			t.Fatal("it goes on")
		}
	}
}

func TestAProcessThatIsWantedToStopEndsOnceItIsDrained(t *testing.T) {
	t.Run("when nothing has run for a while", func(t *testing.T) {
		p := newPlane(t, "cp1")
		n := start(t, Config{ControlPlanes: []string{p.addr}, quiet: 50 * time.Millisecond})
		begun, finish := make(chan struct{}), make(chan struct{})
		slow := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
			close(begun)
			<-finish
			_, _ = io.WriteString(w, "done")
		}))
		t.Cleanup(slow.Close)
		p.put("/slow", slow.URL)
		p.put("/a", target(t, "a"))
		answered := make(chan string, 1)
		go func() {
			_, body, _ := n.get("/slow")
			answered <- body
		}()
		<-begun
		p.wants(&signalboxv1.NodeWanted{Drain: true, StopEpoch: n.epoch})
		n.readyz(http.StatusServiceUnavailable)
		if status, _, _ := n.get("/a"); status != http.StatusOK { // others come still
			t.Errorf("it answers %d", status)
		}
		select {
		case err := <-n.ended:
			t.Errorf("it ended with %v while an exchange was running", err)
		default:
		}
		close(finish)
		if body := <-answered; body != "done" {
			t.Errorf("the exchange is answered %q", body)
		}
		if err := <-n.ended; err != nil {
			t.Errorf("Run returned %v", err)
		}
		p.until("goodbye", func(m *signalboxv1.ConnectRequest) bool { return m.GetGoodbye() != nil })
	})
	t.Run("when the time of the drain is over", func(t *testing.T) {
		p := newPlane(t, "cp1")
		n := start(t, Config{ControlPlanes: []string{p.addr}})
		asked := make(chan string, 2)
		p.put("/ws", sockets(t, asked, nil, nil))
		in := n.dial(append([]string{"GET /ws/other HTTP/1.1"}, toWebSocket...)...)
		switched(t, in)
		p.wants(&signalboxv1.NodeWanted{Drain: true, DrainTimeout: durationpb.New(time.Millisecond), StopEpoch: n.epoch})
		if got, err := io.ReadAll(in); err != nil || string(got) != goingAway {
			t.Errorf("the WebSocket ended with % x, %v", got, err)
		}
		if err := <-n.ended; err != nil {
			t.Errorf("Run returned %v", err)
		}
	})
	t.Run("but not when it is more than a node", func(t *testing.T) {
		p := newPlane(t, "cp1")
		n := start(t, Config{ControlPlanes: []string{p.addr}, InProcess: true, quiet: time.Millisecond})
		ack := p.wants(&signalboxv1.NodeWanted{Drain: true, DrainTimeout: &durationpb.Duration{}, StopEpoch: n.epoch})
		if r := ack.GetRejections(); len(r) != 1 || r[0].GetKind() != signalboxv1.Kind_KIND_NODE || !strings.Contains(r[0].GetReason(), "more than a node") {
			t.Errorf("rejected are %v", r)
		}
		n.readyz(http.StatusOK)
	})
}

// A request that runs when the node is told to stop is answered, what it
// carried is reported, and only then the node says goodbye.
func TestNodeStopsInOrder(t *testing.T) {
	p := newPlane(t, "cp1")
	n := start(t, Config{ControlPlanes: []string{p.addr}})
	begun, finish := make(chan struct{}), make(chan struct{})
	slow := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		close(begun)
		<-finish
		_, _ = io.WriteString(w, "done")
	}))
	t.Cleanup(slow.Close)
	p.put("/slow", slow.URL)
	answered := make(chan string, 1)
	go func() {
		_, body, _ := n.get("/slow")
		answered <- body
	}()
	<-begun
	n.stop()
	p.until("not ready", func(m *signalboxv1.ConnectRequest) bool { return m.GetReport() != nil && !m.GetReport().GetReady() })
	addr := n.Addr("public")
	for { // the listener closes at about the same time
		c, err := (&net.Dialer{}).DialContext(t.Context(), "tcp", addr)
		if err != nil {
			break
		}
		_ = c.Close()
	}
	close(finish)
	if body := <-answered; body != "done" {
		t.Errorf("the running request is answered %q", body)
	}
	if err := <-n.ended; err != nil {
		t.Errorf("Run returned %v", err)
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	last := p.said[len(p.said)-1]
	if last.GetGoodbye() == nil {
		t.Fatalf("the last word is %v", last)
	}
	carried := uint64(0)
	for _, m := range p.said {
		for _, r := range m.GetReport().GetRoutes() {
			carried = r.GetCounters().GetStatuses()[1]
		}
	}
	if carried != 1 {
		t.Errorf("reported are %d answers, want the one", carried)
	}
}

func TestNodeCutsWhatTakesLongerThanDrainTimeout(t *testing.T) {
	p := newPlane(t, "cp1")
	n := start(t, Config{ControlPlanes: []string{p.addr}, DrainTimeout: -1})
	begun := make(chan struct{})
	slow := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		close(begun)
		<-r.Context().Done()
	}))
	t.Cleanup(slow.Close)
	p.put("/slow", slow.URL)
	conn := n.dial("GET /slow HTTP/1.1", "Host: a")
	<-begun
	n.end()
	if b, err := io.ReadAll(conn); err != nil || !strings.HasPrefix(string(b), "HTTP/1.1 503 ") || !strings.Contains(string(b), "(shutting_down)") {
		t.Errorf("the request was answered %q, %v", b, err)
	}
}

// dial opens a connection to the public listener and sends a request's head.
func (r *running) dial(lines ...string) *bufio.Reader {
	r.t.Helper()
	conn, err := (&net.Dialer{}).DialContext(r.t.Context(), "tcp", r.Addr("public"))
	if err != nil {
		r.t.Fatal(err)
	}
	r.t.Cleanup(func() { _ = conn.Close() })
	_ = conn.SetDeadline(time.Now().Add(patience))
	if _, err := io.WriteString(conn, strings.Join(lines, "\r\n")+"\r\n\r\n"); err != nil {
		r.t.Fatal(err)
	}
	return bufio.NewReader(conn)
}

// sockets is an upstream that switches to WebSockets when it is let, and ends
// them when asked for. It says on the first channel that it was asked.
func sockets(t *testing.T, asked chan<- string, let, end <-chan struct{}) string {
	t.Helper()
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		asked <- r.URL.Path
		if r.URL.Path == "/ws/late" {
			<-let
		}
		c, rw, err := http.NewResponseController(w).Hijack()
		if err != nil {
			t.Error(err)
			return
		}
		defer func() { _ = c.Close() }()
		_, _ = rw.WriteString("HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n")
		_ = rw.Flush()
		if r.URL.Path == "/ws/first" {
			<-end
			return
		}
		_, _ = io.Copy(io.Discard, rw)
	}))
	t.Cleanup(s.Close)
	return s.URL
}

var toWebSocket = []string{"Host: a", "Connection: Upgrade", "Upgrade: websocket"}

// switched reads the answer that switches protocols.
func switched(t *testing.T, in *bufio.Reader) {
	t.Helper()
	res, err := http.ReadResponse(in, nil)
	if err != nil || res.StatusCode != http.StatusSwitchingProtocols {
		t.Fatalf("the answer is %v, %v", res, err)
	}
}

// goingAway is what a WebSocket ends with when its node does.
const goingAway = "\x88\x02\x03\xe9"

func TestNodeClosesUpgradedConnectionsOnceAllElseIsOver(t *testing.T) {
	p := newPlane(t, "cp1")
	n := start(t, Config{ControlPlanes: []string{p.addr}}) // with time enough
	asked := make(chan string, 2)
	p.put("/ws", sockets(t, asked, nil, nil))
	in := n.dial(append([]string{"GET /ws/other HTTP/1.1"}, toWebSocket...)...)
	switched(t, in)
	n.end()
	if got, err := io.ReadAll(in); err != nil || string(got) != goingAway {
		t.Errorf("the WebSocket ended with % x, %v", got, err)
	}
}

func TestAWebSocketOpenedLateInADrainIsToldOfTheEnd(t *testing.T) {
	p := newPlane(t, "cp1")
	n := start(t, Config{ControlPlanes: []string{p.addr}})
	asked, let, end := make(chan string, 2), make(chan struct{}), make(chan struct{})
	p.put("/ws", sockets(t, asked, let, end))
	first := n.dial(append([]string{"GET /ws/first HTTP/1.1"}, toWebSocket...)...)
	switched(t, first)
	late := n.dial(append([]string{"GET /ws/late HTTP/1.1"}, toWebSocket...)...)
	for range 2 {
		<-asked
	}
	n.stop()
	p.until("not ready", func(m *signalboxv1.ConnectRequest) bool { return m.GetReport() != nil && !m.GetReport().GetReady() })
	close(end) // the last of the WebSockets ends by itself
	if got, err := io.ReadAll(first); err != nil || len(got) > 0 {
		t.Errorf("the first ended with % x, %v", got, err)
	}
	close(let)
	switched(t, late)
	if got, err := io.ReadAll(late); err != nil || string(got) != goingAway {
		t.Errorf("the late one ended with % x, %v", got, err)
	}
	if err := <-n.ended; err != nil {
		t.Errorf("Run returned %v", err)
	}
}

// A node that is not the node any more lets its exchanges end, and says why.
func TestNodeThatWasReplacedEnds(t *testing.T) {
	refuse := grpc.NewServer(grpc.StreamInterceptor(func(any, grpc.ServerStream, *grpc.StreamServerInfo, grpc.StreamHandler) error {
		return status.Error(codes.AlreadyExists, "epoch 9 is known")
	}))
	signalboxv1.RegisterFeedServiceServer(refuse, signalboxv1.UnimplementedFeedServiceServer{})
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	var serving sync.WaitGroup
	serving.Go(func() { _ = refuse.Serve(ln) })
	t.Cleanup(func() { refuse.Stop(); serving.Wait() })
	n := start(t, Config{ControlPlanes: []string{ln.Addr().String()}})
	if err := <-n.ended; err == nil || !strings.Contains(err.Error(), `another process joined as node "n"`) {
		t.Errorf("Run returned %v", err)
	}
}
