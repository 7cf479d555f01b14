package tunnel_test

import (
	"bytes"
	"net"
	"strings"
	"testing"

	"signalbox/node/tunnel"
	signalboxv1 "signalbox/proto/gen/signalbox/v1"
)

// fourteen answers 14 bytes to whatever came.
func fourteen([]byte) []byte { return []byte("01234567890123") }

// A pair is a tunnel between two instances of one machine.
type pair struct {
	*machine
	users  string // where users come in
	target *target
}

// tunnelled starts a tunnel of a flow. server and client are parameters of
// either, beginning with "&".
func tunnelled(t *testing.T, mode signalboxv1.InstanceMode, answer func([]byte) []byte, server, client string) *pair {
	t.Helper()
	m := boot(t, tunnel.Config{})
	p := &pair{m, free(t), answering(t, answer)}
	door, receives, dials := free(t), "1", p.target.address
	serverAt, clientAt := p.users, dials
	if mode == signalboxv1.InstanceMode_INSTANCE_MODE_CLIENT_RECEIVES {
		receives, serverAt, clientAt = "2", dials, p.users
	}
	m.Apply([]tunnel.Wanted{
		{Name: "client", URL: "client://k@" + door + "/" + clientAt + "?mode=2" + client, Incarnation: 1},
		{Name: "server", URL: "server://k@" + door + "/" + serverAt + "?mode=" + receives + server, Incarnation: 2},
	})
	for _, name := range []string{"server", "client"} {
		if got := m.state(name, running); got.GetMode() != mode || got.GetWire() != "signalbox" || got.GetPool() != 7 {
			t.Errorf("%s: %v", name, got)
		}
	}
	return p
}

var flows = map[string]signalboxv1.InstanceMode{
	"users come in at the server": signalboxv1.InstanceMode_INSTANCE_MODE_SERVER_RECEIVES,
	"users come in at the client": signalboxv1.InstanceMode_INSTANCE_MODE_CLIENT_RECEIVES,
}

func TestATunnelCarriesTCPAndUDPBothWays(t *testing.T) {
	for name, mode := range flows {
		t.Run(name, func(t *testing.T) {
			p := tunnelled(t, mode, same, "", "")
			want := bytes.Repeat([]byte("0123456789"), 20_000)
			if got, err := ask(p.users, want); err != nil || !bytes.Equal(got, want) {
				t.Errorf("%d bytes of %d came back, %v", len(got), len(want), err)
			}
			for _, d := range tell(t, p.users, []byte("5 times"), 5) {
				if string(d) != "5 times" {
					t.Errorf("a reply is %q", d)
				}
			}
			long := bytes.Repeat([]byte("1"), 60_000)
			if got := tell(t, p.users, long, 1); !bytes.Equal(got[0], long) {
				t.Errorf("%d bytes of a datagram of %d came back", len(got[0]), len(long))
			}
		})
	}
}

// As measured with NodePass: a user sends 10 bytes and the target 14.
func TestCountersMeanWhatNodePassMeans(t *testing.T) {
	entry, exit := [4]uint64{10, 14, 10, 14}, [4]uint64{14, 10, 14, 10}
	for name, mode := range flows {
		t.Run(name, func(t *testing.T) {
			p := tunnelled(t, mode, fourteen, "", "")
			carryTen(t, p.users)
			if mode == signalboxv1.InstanceMode_INSTANCE_MODE_SERVER_RECEIVES {
				p.counted("server", entry)
				p.counted("client", exit)
			} else {
				p.counted("client", entry)
				p.counted("server", exit)
			}
		})
	}
	t.Run("a single end", func(t *testing.T) {
		m := boot(t, tunnel.Config{})
		users := free(t)
		m.Apply([]tunnel.Wanted{{Name: "one", URL: "client://" + users + "/" + answering(t, fourteen).address}})
		m.state("one", running)
		carryTen(t, users)
		m.counted("one", [4]uint64{14, 10, 10, 14})
	})
}

// carryTen sends ten bytes over TCP and over UDP, and reads fourteen.
func carryTen(t *testing.T, users string) {
	t.Helper()
	if got, err := ask(users, []byte("0123456789")); err != nil || len(got) != 14 {
		t.Fatalf("%q, %v", got, err)
	}
	tell(t, users, []byte("0123456789"), 1)
}

func TestCountersGrowWhileAConnectionRuns(t *testing.T) {
	p := tunnelled(t, flows["users come in at the server"], same, "", "")
	c, err := net.Dial("tcp", p.users)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	_, _ = c.Write([]byte("0123456789"))
	p.counted("server", [4]uint64{10, 0, 0, 0})
	r := p.report("server", "has one connection", func(r *signalboxv1.InstanceReport) bool { return r.GetRun().GetTcpConnections() == 1 })
	if r.GetLastActivity() == nil {
		t.Error("no activity")
	}
	_ = c.Close()
	p.report("server", "has no connection", func(r *signalboxv1.InstanceReport) bool { return r.GetRun().GetTcpConnections() == 0 })
}

func TestUsersWaitAMomentForASession(t *testing.T) {
	m := boot(t, tunnel.Config{})
	users, door, to := free(t), free(t), answering(t, same)
	server := tunnel.Wanted{Name: "server", URL: "server://k@" + door + "/" + users}
	m.Apply([]tunnel.Wanted{server})
	m.state("server", starting)
	answered := make(chan string)
	m.until("users are let in", func() bool {
		c, err := net.Dial("tcp", users)
		if err == nil {
			_ = c.Close()
		}
		return err == nil
	})
	go func() {
		got, _ := ask(users, []byte("hello"))
		answered <- string(got)
	}()
	m.report("server", "has a user", func(r *signalboxv1.InstanceReport) bool { return r.GetRun().GetTcpConnections() > 0 })
	m.Apply([]tunnel.Wanted{server, {Name: "client", URL: "client://k@" + door + "/" + to.address}})
	if got := <-answered; got != "hello" {
		t.Errorf("answered %q", got)
	}
}

func TestUsersAreSpreadOverClientsAndGoToOthersWhenOneIsGone(t *testing.T) {
	m := boot(t, tunnel.Config{})
	users, door := free(t), free(t)
	one, two := answering(t, func([]byte) []byte { return []byte("one") }), answering(t, func([]byte) []byte { return []byte("two") })
	wanted := []tunnel.Wanted{
		{Name: "server", URL: "server://k@" + door + "/" + users + "?mode=1"},
		{Name: "one", URL: "client://k@" + door + "/" + one.address},
		{Name: "two", URL: "client://k@" + door + "/" + two.address},
	}
	m.Apply(wanted)
	m.state("one", running)
	m.state("two", running)
	seen := map[string]int{}
	m.until("both were asked as often", func() bool {
		got, err := ask(users, []byte("x"))
		if err != nil {
			t.Fatal(err)
		}
		seen[string(got)]++
		return seen["one"] >= 2 && seen["two"] >= 2
	})
	m.Apply(wanted[:2])
	m.report("two", "ended", func(r *signalboxv1.InstanceReport) bool { return r.GetRun() == nil })
	for range 4 {
		if got, err := ask(users, []byte("x")); err != nil || string(got) != "one" {
			t.Errorf("%q, %v", got, err)
		}
	}
	m.state("server", running)
	m.Apply(wanted[:1])
	if got := m.state("server", failing); !strings.Contains(got.GetReason(), "is gone") {
		t.Errorf("the reason is %q", got.GetReason())
	}
}
