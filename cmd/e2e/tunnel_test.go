//go:build e2e

// A tunnel between two nodes carries TCP and UDP, moves when a node of it dies,
// and loses no count; a panel that follows the NodePass API sees it all.

package e2e

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"google.golang.org/protobuf/proto"

	signalboxv1 "signalbox/proto/gen/signalbox/v1"
)

// echoes answers TCP and UDP at one port until the test ends: a connection with
// what it was sent, a datagram with itself, twice.
func echoes(t testing.TB) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	u, err := net.ListenPacket("udp", l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	var work sync.WaitGroup
	work.Go(func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			work.Go(func() {
				defer c.Close()
				_, _ = io.Copy(c, c)
			})
		}
	})
	work.Go(func() {
		b := make([]byte, 65536)
		for {
			n, from, err := u.ReadFrom(b)
			if err != nil {
				return
			}
			_, _ = u.WriteTo(b[:n], from)
			_, _ = u.WriteTo(b[:n], from)
		}
	})
	t.Cleanup(func() { _ = l.Close(); _ = u.Close(); work.Wait() })
	return l.Addr().String()
}

// carries sends bytes through a tunnel and reads them back, in TCP to the end of
// both directions and in UDP twice.
func carries(ctx context.Context, at string, tcp, udp int) error {
	deadline, ok := ctx.Deadline()
	if !ok {
		deadline = time.Now().Add(patience)
	}
	c, err := new(net.Dialer).DialContext(ctx, "tcp", at)
	if err != nil {
		return err
	}
	defer c.Close()
	_ = c.SetDeadline(deadline)
	sent := bytes.Repeat([]byte("x"), tcp)
	wrote := make(chan error, 1)
	go func() {
		_, err := c.Write(sent)
		wrote <- errors.Join(err, c.(*net.TCPConn).CloseWrite())
	}()
	got, err := io.ReadAll(c)
	if err = errors.Join(err, <-wrote); err != nil || !bytes.Equal(got, sent) {
		return fmt.Errorf("%d of %d bytes came back: %w", len(got), tcp, err)
	}
	u, err := net.Dial("udp", at)
	if err != nil {
		return err
	}
	defer u.Close()
	_ = u.SetDeadline(deadline)
	datagram := bytes.Repeat([]byte("y"), udp)
	if _, err := u.Write(datagram); err != nil {
		return err
	}
	for range 2 {
		b := make([]byte, 65536)
		n, err := u.Read(b)
		if err != nil || !bytes.Equal(b[:n], datagram) {
			return fmt.Errorf("%d of %d bytes came back in a datagram: %w", n, udp, err)
		}
	}
	return nil
}

// A panel follows the events of the NodePass API.
type panel struct {
	mu   sync.Mutex
	seen map[string]panelInstance
	said []string // "TYPE ID STATUS"

	ended chan struct{} // closed when the stream has ended
}

type panelInstance struct {
	ID, Status, URL            string
	TCPRX, TCPTX, UDPRX, UDPTX uint64
}

// panel opens a panel at a control plane's gateway.
func (c *cluster) panel(plane int, key string) *panel {
	c.t.Helper()
	return newPanel(c.t, c.client, "http://"+c.planes[plane].api+"/api/v1", key)
}

// newPanel opens a panel at an API.
func newPanel(t testing.TB, client *http.Client, base, key string) *panel {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, base+"/events", nil)
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("X-API-Key", key)
	res, err := client.Do(req)
	if err != nil || res.StatusCode != http.StatusOK {
		t.Fatalf("events: %v, %v", res, err)
	}
	p := &panel{seen: map[string]panelInstance{}, ended: make(chan struct{})}
	t.Cleanup(func() { _ = res.Body.Close(); <-p.ended })
	go func() {
		defer close(p.ended)
		lines := bufio.NewScanner(res.Body)
		for lines.Scan() {
			data, ok := strings.CutPrefix(lines.Text(), "data: ")
			var e struct {
				Type     string
				Instance panelInstance
			}
			if !ok || json.Unmarshal([]byte(data), &e) != nil {
				continue
			}
			p.mu.Lock()
			p.seen[e.Instance.ID] = e.Instance
			p.said = append(p.said, e.Type+" "+e.Instance.ID+" "+e.Instance.Status)
			p.mu.Unlock()
		}
	}()
	return p
}

// sees waits until the panel shows an instance with a status and counts.
func (p *panel) sees(t testing.TB, id, status string, tcprx, udprx uint64) {
	t.Helper()
	eventually(t, fmt.Sprintf("the panel shows %s %s with %d and %d bytes", id, status, tcprx, udprx), func(context.Context) error {
		p.mu.Lock()
		defer p.mu.Unlock()
		if i := p.seen[id]; i.Status != status || i.TCPRX != tcprx || i.UDPRX != udprx {
			return fmt.Errorf("it shows %+v", i)
		}
		return nil
	})
}

// on is which node runs an instance, once one does.
func (c *cluster) on(id string) (node string) {
	c.t.Helper()
	api := c.services(0).instances
	eventually(c.t, id+" runs", func(ctx context.Context) error {
		res, err := api.GetInstance(ctx, &signalboxv1.GetInstanceRequest{Name: id})
		if err != nil {
			return err
		}
		o := res.GetInstance().GetObserved()
		if o.GetState() != signalboxv1.InstanceState_INSTANCE_STATE_RUNNING || len(o.GetRuns()) != 1 {
			return fmt.Errorf("%v", o)
		}
		node = o.GetRuns()[0].GetNode()
		return nil
	})
	return node
}

func TestATunnelMovesWhenItsNodeDies(t *testing.T) {
	c := newCluster(t, 2, 3)
	target, port, users := echoes(t), freeAddr(t), freeAddr(t)
	key := c.secret("the panel's key", c.createKey(&signalboxv1.ApiKey{Name: "panel", Scopes: []string{"instances:write", "events:read"}}))
	api := dialGRPC(t, c.planes[0].grpc, key, nil).instances
	p := c.panel(1, key)
	put := func(url string, nodes ...*nodeProcess) string {
		placement := &signalboxv1.Placement{}
		for _, n := range nodes {
			placement.Nodes = append(placement.Nodes, n.id)
		}
		res, err := api.PutInstance(t.Context(), &signalboxv1.PutInstanceRequest{Instance: &signalboxv1.Instance{Url: url, Placement: placement}})
		if err != nil {
			t.Fatal(err)
		}
		return res.GetInstance().GetName()
	}
	server := put("server://tunnel-key@"+port+"/"+users+"?mode=1", c.nodes[0], c.nodes[1])
	client := put("client://tunnel-key@"+port+"/"+target+"?mode=2", c.nodes[2])

	const tcp, udp = 100_000, 1000
	carried := uint64(0)
	carry := func(what string) time.Duration {
		began := time.Now()
		eventually(t, what, func(ctx context.Context) error {
			ctx, cancel := context.WithTimeout(ctx, 2*time.Second)
			defer cancel()
			return carries(ctx, users, tcp, udp)
		})
		return time.Since(began)
	}
	first := c.on(server)
	if c.on(client) != c.nodes[2].id {
		t.Errorf("the client is on %s", c.on(client))
	}
	carry("the tunnel carries TCP and UDP")
	if err := carries(t.Context(), users, tcp, udp); err != nil {
		t.Errorf("again: %v", err)
	}
	carried += 2
	p.sees(t, server, "running", carried*tcp, carried*udp)
	p.sees(t, client, "running", carried*tcp, 2*carried*udp)

	for round, victim := range []string{first, c.nodes[2].id} {
		var n *nodeProcess
		for _, one := range c.nodes {
			if one.id == victim {
				n = one
			}
		}
		n.kill()
		if round == 1 { // nobody else may run the client: it comes back with its node
			eventually(t, "the panel shows that nobody runs the client", func(ctx context.Context) error {
				p.mu.Lock()
				defer p.mu.Unlock()
				if i := p.seen[client]; i.Status != "error" {
					return fmt.Errorf("it shows %+v", i)
				}
				return nil
			})
			n.start()
		}
		took := carry("the tunnel carries again")
		if round == 0 {
			t.Logf("%s was killed: the tunnel carries again after %.1f s", victim, took.Seconds())
		}
		carried++
		if round == 0 && c.on(server) == first {
			t.Error("the server is where it was, on a node that is dead")
		}
		p.sees(t, server, "running", carried*tcp, carried*udp)
		p.sees(t, client, "running", carried*tcp, 2*carried*udp)
	}

	p.mu.Lock()
	defer p.mu.Unlock()
	for _, said := range p.said {
		if strings.HasPrefix(said, "delete") || strings.HasPrefix(said, "shutdown") {
			t.Errorf("the panel was told %q", said)
		}
	}
	for i, plane := range c.planes {
		res, err := c.services(i).instances.GetInstance(t.Context(), &signalboxv1.GetInstanceRequest{Name: server})
		want := &signalboxv1.InstanceCounters{TcpReceived: carried * tcp, TcpSent: carried * tcp, UdpReceived: carried * udp, UdpSent: 2 * carried * udp}
		if got := res.GetInstance().GetObserved().GetCounters(); err != nil || !proto.Equal(got, want) {
			t.Errorf("%s counts %v, %v; want %v", plane.id, got, err, want)
		}
	}
}
