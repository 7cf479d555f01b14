package tunnel_test

import (
	"io"
	"net"
	"strings"
	"testing"
	"time"

	"signalbox/node/certfile/certtest"
	"signalbox/node/tunnel"
	signalboxv1 "signalbox/proto/gen/signalbox/v1"
)

func TestWhatIsWrongIsShownWithItsReasonAndEndsByItself(t *testing.T) {
	for name, network := range map[string]string{"TCP": "tcp", "UDP": "udp"} {
		t.Run("a port of "+name+" that is taken", func(t *testing.T) {
			m, at := boot(t, tunnel.Config{}), free(t)
			var taken io.Closer
			var err error
			if network == "tcp" {
				taken, err = net.Listen(network, at)
			} else {
				taken, err = net.ListenPacket(network, at)
			}
			if err != nil {
				t.Fatal(err)
			}
			m.Apply([]tunnel.Wanted{{Name: "one", URL: "client://" + at + "/127.0.0.1:1?mode=1"}})
			if got := m.state("one", failing).GetReason(); got != "cannot listen at "+network+" "+at+": address already in use" {
				t.Errorf("the reason is %q", got)
			}
			_ = taken.Close()
			if got := m.state("one", running).GetReason(); got != "" {
				t.Errorf("it runs, and the reason is %q", got)
			}
			count := strings.Count(strings.Join(m.logged(), "\n"), "Client error:")
			if count != 1 {
				t.Errorf("%d lines about it", count)
			}
		})
	}
	for what, c := range map[string]struct{ url, want string }{
		"a URL":             {"server://127.0.0.1:0/x:1", "the URL: the tunnel address"},
		"a name":            {"client://nowhere.invalid:1/127.0.0.1:1", "cannot resolve nowhere.invalid"},
		"nobody there":      {"client://{free}/127.0.0.1:1?mode=2", "nobody listens there"},
		"a wire":            {"client://127.0.0.1:1/127.0.0.1:2?mode=2&wire=1.4", "wire=1.4 is not spoken"},
		"a server's wire":   {"server://{free}/127.0.0.1:1?mode=2&wire=1.14", "wire=1.14 is not spoken"},
		"a foreign address": {"server://192.0.2.1:9/127.0.0.1:1", "no address of this machine"},
		"a certificate":     {"server://{free}/127.0.0.1:1?tls=2&crt=/no/such/file&key=/no/such/file", "crt and key cannot be used: open /no/such/file"},
	} {
		t.Run(what, func(t *testing.T) {
			m := boot(t, tunnel.Config{})
			m.Apply([]tunnel.Wanted{{Name: "one", URL: strings.ReplaceAll(c.url, "{free}", free(t))}})
			if got := m.state("one", failing).GetReason(); !strings.Contains(got, c.want) {
				t.Errorf("the reason is %q; want %q in it", got, c.want)
			}
		})
	}
}

func TestAWrongKeyIsShownAndNoSecretIsLogged(t *testing.T) {
	m, door := boot(t, tunnel.Config{}), free(t)
	server := tunnel.Wanted{Name: "server", URL: "server://verysecret@" + door + "/127.0.0.1:1?mode=2&log=debug"}
	m.Apply([]tunnel.Wanted{server, {Name: "client", URL: "client://alsosecret@" + door + "/" + free(t) + "?mode=2&log=debug"}})
	if got := m.state("client", failing).GetReason(); !strings.Contains(got, "key") {
		m.report("client", "has the key as its reason", func(r *signalboxv1.InstanceReport) bool {
			return strings.Contains(r.GetRun().GetReason(), "key")
		})
	}
	m.state("server", starting)
	m.Apply([]tunnel.Wanted{server, {Name: "client", URL: "client://verysecret@" + door + "/" + free(t) + "?mode=2"}})
	m.state("client", running)
	m.state("server", running)
	if all := strings.Join(m.logged(), "\n"); strings.Contains(all, "secret") {
		t.Errorf("a key is logged:\n%s", all)
	}
}

func TestACertificateOfFilesIsUsedAsSoonAsItCanBe(t *testing.T) {
	files, m := certtest.New(t), boot(t, tunnel.Config{})
	crt, key := files.File("tunnel.pem"), files.File("tunnel.key")
	m.Apply([]tunnel.Wanted{{Name: "server", URL: "server://" + free(t) + "/127.0.0.1:1?mode=2&tls=2&crt=" + crt + "&key=" + key}})
	m.state("server", failing)
	files.Make("tunnel", 1)
	m.state("server", starting)
}

func TestOnlyAnotherURLOrStartBeginsAnew(t *testing.T) {
	m, users, to := boot(t, tunnel.Config{}), free(t), answering(t, same)
	one := tunnel.Wanted{Name: "one", URL: "client://" + users + "/" + to.address, Starts: 1, Incarnation: 5}
	m.Apply([]tunnel.Wanted{one})
	m.state("one", running)
	c, err := net.Dial("tcp", users)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	_ = c.SetDeadline(time.Now().Add(20 * time.Second))
	_, _ = c.Write([]byte("0123456789"))
	m.counted("one", [4]uint64{0, 10, 0, 0})

	one.Incarnation = 6 // a reset
	m.Apply([]tunnel.Wanted{one})
	m.report("one", "counts anew", func(r *signalboxv1.InstanceReport) bool { return r.GetIncarnation() == 6 })
	_, _ = c.Write([]byte("01234"))
	m.counted("one", [4]uint64{0, 5, 0, 0})

	one.Starts = 2
	m.Apply([]tunnel.Wanted{one})
	if _, err := c.Read(make([]byte, 1)); err == nil {
		t.Error("the connection goes on")
	}
	m.report("one", "has begun anew", func(r *signalboxv1.InstanceReport) bool {
		return r.GetRun().GetStarts() == 2 && r.GetRun().GetState() == running && r.GetCounters().GetTcpSent() == 5
	})

	m.Apply(nil)
	m.report("one", "has ended", func(r *signalboxv1.InstanceReport) bool { return r.GetRun() == nil })
	if l, err := net.Listen("tcp", users); err != nil {
		t.Errorf("its port is still taken: %v", err)
	} else {
		_ = l.Close()
	}
}

func TestEndingCutsEverything(t *testing.T) {
	p := tunnelled(t, flows["users come in at the server"], same, "", "")
	c, err := net.Dial("tcp", p.users)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	_ = c.SetDeadline(time.Now().Add(20 * time.Second))
	_, _ = c.Write([]byte("x"))
	p.counted("server", [4]uint64{1, 0, 0, 0})
	tell(t, p.users, []byte("1"), 1)
	p.stop() // and goleak looks at the end
	if _, err := c.Read(make([]byte, 1)); err == nil {
		t.Error("the connection goes on")
	}
	if n := p.Open(); n != 0 {
		t.Errorf("%d still run", n)
	}
}

func TestModesAreFoundAsNodePassFindsThem(t *testing.T) {
	to := answering(t, same)
	server := signalboxv1.InstanceMode_INSTANCE_MODE_SERVER_RECEIVES
	client := signalboxv1.InstanceMode_INSTANCE_MODE_CLIENT_RECEIVES
	single := signalboxv1.InstanceMode_INSTANCE_MODE_SINGLE
	for what, c := range map[string]struct {
		url  string
		want signalboxv1.InstanceMode
	}{
		"a server whose target is free":        {"server://{free}/{other}", server},
		"a server whose target is taken":       {"server://{free}/" + to.address, client},
		"a server whose target is elsewhere":   {"server://{free}/192.0.2.1:9", client},
		"a server that must not receive":       {"server://{free}/{other}?mode=2", client},
		"a client whose tunnel is free":        {"client://{free}/" + to.address, single},
		"a client whose tunnel has no host":    {"client://:{port}/" + to.address, single},
		"a client whose tunnel is of this one": {"client://localhost:{port}/" + to.address, single},
	} {
		t.Run(what, func(t *testing.T) {
			m, at := boot(t, tunnel.Config{}), free(t)
			_, port, _ := net.SplitHostPort(at)
			m.Apply([]tunnel.Wanted{{Name: "one", URL: strings.NewReplacer("{free}", at, "{port}", port, "{other}", free(t)).Replace(c.url)}})
			m.report("one", "has found its mode", func(r *signalboxv1.InstanceReport) bool { return r.GetRun().GetMode() == c.want })
		})
	}
}

// A client that is quicker than the server on its machine would take the
// server's port.
func TestAClientLeavesThePortToAServerOfItsNode(t *testing.T) {
	m, door, users := boot(t, tunnel.Config{}), free(t), free(t)
	wanted := []tunnel.Wanted{
		{Name: "client", URL: "client://k@" + door + "/" + answering(t, same).address},
		{Name: "server", URL: "server://k@" + door + "/" + users + "?tls=2&crt=/no/such/file&key=/no/such/file"},
	}
	m.Apply(wanted)
	m.state("server", failing)
	m.state("client", failing)
	wanted[1].URL = "server://k@" + door + "/" + users
	m.Apply(wanted)
	m.state("client", running)
	m.state("server", running)
}
