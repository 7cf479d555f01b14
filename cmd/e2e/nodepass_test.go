//go:build e2e

// `signalbox nodepass` is a NodePass master: what its documentation does to one
// works, its tunnels carry TCP and UDP, and ids, counters and states are there
// again after a restart. The key of the API is printed once, and never again.

package e2e

import (
	"context"
	"crypto/tls"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"syscall"
	"testing"
)

// A master is `signalbox nodepass` at ports of its own.
type master struct {
	*process
	addr, grpc, base, key string
	client                *http.Client
}

// newMaster returns one that is not started. more follows what the URL says.
func newMaster(l *lab, name, more string, args ...string) *master {
	m := &master{addr: freeAddr(l.t), grpc: freeAddr(l.t), client: newHTTP(l.t)}
	m.base = "http://" + m.addr + "/api"
	if strings.Contains(more, "tls=") {
		m.base = "https://" + m.addr + "/api"
		m.client.Transport.(*http.Transport).TLSClientConfig = &tls.Config{InsecureSkipVerify: true} //nolint:gosec // as panels do
	}
	m.process = l.process(name, nil, append([]string{"nodepass", "master://" + m.addr + more,
		"--data-dir", "data/" + name, "--grpc-listen", m.grpc}, args...)...)
	return m
}

// started starts it, and returns what it prints until it is up.
func (m *master) started() string {
	m.t.Helper()
	m.start()
	var printed []byte
	eventually(m.t, "the master says that it is up", func(context.Context) (err error) {
		if !m.running() {
			m.t.Fatal("the master has ended")
		}
		printed, err = os.ReadFile(m.out)
		if err == nil && !strings.Contains(string(printed), "Master started: "+m.addr) {
			err = errors.New("not yet")
		}
		return err
	})
	if made := regexp.MustCompile(`API Key created: (\S+)`).FindSubmatch(printed); made != nil {
		m.key = string(made[1])
	}
	return string(printed)
}

// call calls the API, which must answer with a status; into is filled from the
// answer, unless it is nil.
func (m *master) call(code int, method, path, body string, into any) {
	m.t.Helper()
	a, err := send(m.t.Context(), m.client, method, m.base+path, body, "X-API-Key", m.key)
	if err != nil || a.status != code {
		m.t.Fatalf("%s %s: got %d %s %v, want %d", method, path, a.status, a.body, err, code)
	}
	if into != nil {
		if err := json.Unmarshal([]byte(a.body), into); err != nil {
			m.t.Fatalf("%s %s: %s: %v", method, path, a.body, err)
		}
	}
}

// made makes an instance.
func (m *master) made(url string) (i panelInstance) {
	m.t.Helper()
	m.call(http.StatusCreated, "POST", "/v1/instances", fmt.Sprintf(`{"url":%q}`, url), &i)
	return i
}

// says waits until an instance has a status and counts.
func (m *master) says(id, status string, tcprx, udprx uint64) {
	m.t.Helper()
	eventually(m.t, fmt.Sprintf("%s is %s with %d and %d bytes", id, status, tcprx, udprx), func(ctx context.Context) error {
		a, err := send(ctx, m.client, "GET", m.base+"/instances/"+id, "", "X-API-Key", m.key)
		if err != nil {
			return err
		}
		var i panelInstance
		if err := json.Unmarshal([]byte(a.body), &i); err != nil || i.Status != status || i.TCPRX != tcprx || i.UDPRX != udprx {
			return fmt.Errorf("it says %s %w", a.body, err)
		}
		return nil
	})
}

func TestAMasterOfOneMachine(t *testing.T) {
	l := newLab(t)
	m := newMaster(l, "master", "?log=info")
	printed := m.started()
	if m.key == "" || !strings.Contains(printed, "\x1b[33mWARN\x1b[0m  TLS code-0: unencrypted") {
		t.Fatalf("it prints %q", printed)
	}
	p := newPanel(t, m.client, m.base, m.key)

	// 1. a tunnel, both ends here
	users, tunnel, target := freeAddr(t), freeAddr(t), echoes(t)
	server := m.made("server://secret@" + tunnel + "/" + users)
	client := m.made("client://secret@" + tunnel + "/" + target + "?log=warn")
	for _, i := range []panelInstance{server, client} {
		if !regexp.MustCompile(`^[0-9a-f]{8}$`).MatchString(i.ID) || i.Status != "stopped" {
			t.Errorf("%+v", i)
		}
		m.says(i.ID, "running", 0, 0)
	}
	if want := "server://secret@" + tunnel + "/" + users + "?log=info"; server.URL != want {
		t.Errorf("its URL is %s, want %s", server.URL, want)
	}
	eventually(t, "the tunnel carries", func(ctx context.Context) error { return carries(ctx, users, 10_000, 500) })
	p.sees(t, server.ID, "running", 10_000, 500)
	m.says(client.ID, "running", 10_000, 1000)

	// 2. what the documentation does to instances
	var changed struct {
		Alias   string
		Restart bool
	}
	m.call(http.StatusOK, "PATCH", "/instances/"+client.ID, `{"alias":"web","restart":true,"action":"stop"}`, &changed)
	if changed.Alias != "web" || !changed.Restart {
		t.Errorf("after PATCH: %+v", changed)
	}
	m.says(client.ID, "stopped", 10_000, 1000)
	other := m.made("client://" + freeAddr(t) + "/" + target)
	m.call(http.StatusConflict, "PUT", "/v1/instances/"+other.ID, fmt.Sprintf(`{"url":%q}`, other.URL), nil)
	m.call(http.StatusNoContent, "DELETE", "/v1/instances/"+other.ID, "", nil)
	m.call(http.StatusForbidden, "DELETE", "/v1/instances/********", "", nil)
	var info struct{ OS, Ver, Name, Log, TLS string }
	if m.call(http.StatusOK, "GET", "/info", "", &info); info.Name != "127.0.0.1" || info.Log != "info" || info.TLS != "0" {
		t.Errorf("info: %+v", info)
	}

	// 3. an end and a new beginning: the server ran and runs, the client was
	// stopped and has the restart policy
	if code := m.stop(syscall.SIGTERM); code != 0 {
		t.Errorf("it ends with %d", code)
	}
	<-p.ended
	if last := p.said[len(p.said)-1]; last != "shutdown  " {
		t.Errorf("the last that the panel hears is %q", last)
	}
	if printed = m.started(); !strings.Contains(printed, "API Key loaded") || strings.Contains(printed, m.key) {
		t.Errorf("the second time it prints %q", printed)
	}
	m.says(server.ID, "running", 10_000, 500)
	m.says(client.ID, "running", 10_000, 1000)

	// 4. sudden death
	m.kill()
	m.started()
	m.says(server.ID, "running", 10_000, 500)
	eventually(t, "the tunnel carries again", func(ctx context.Context) error { return carries(ctx, users, 10, 20) })
	m.says(server.ID, "running", 10_010, 520)
	var all []panelInstance
	if m.call(http.StatusOK, "GET", "/v1/instances", "", &all); len(all) != 3 || all[0].ID != "********" || all[0].URL != m.key {
		t.Errorf("there are %+v", all)
	}

	// 5. the port is taken
	second := l.process("second", nil, "nodepass", "master://"+m.addr, "--data-dir", "data/second")
	second.start()
	<-second.ended
	if code := second.cmd.ProcessState.ExitCode(); code != 1 || !strings.Contains(strings.Join(second.lines(), "\n"), m.addr+": address already in use") {
		t.Errorf("a second one ends with %d and says %q", code, second.lines())
	}
}

func TestALostKeyOfAMasterIsReplaced(t *testing.T) {
	m := newMaster(newLab(t), "master", "/admin?tls=1&log=error")
	m.base = "https://" + m.addr + "/admin"
	if m.start(); !m.running() {
		t.Fatal("it has ended")
	}
	first := m.printsKey()
	m.key = first
	m.call(http.StatusOK, "GET", "/v1/instances", "", nil)
	m.stop(syscall.SIGINT)
	m.args = append(m.args, "--new-key")
	m.start()
	if m.key = m.printsKey(); m.key == first {
		t.Fatal("the key is the same")
	}
	m.call(http.StatusOK, "GET", "/instances", "", nil)
	m.key = first
	m.call(http.StatusUnauthorized, "GET", "/instances", "", nil)
}

// printsKey waits for a key, and until the API can be asked.
func (m *master) printsKey() (key string) {
	m.t.Helper()
	eventually(m.t, "the master prints its key", func(ctx context.Context) error {
		printed, err := os.ReadFile(m.out)
		if err != nil {
			return err
		}
		made := regexp.MustCompile(`API Key created: (\S+)`).FindSubmatch(printed)
		if made == nil {
			return errors.New("not yet")
		}
		key = string(made[1])
		_, err = send(ctx, m.client, "GET", m.base+"/info", "")
		return err
	})
	return key
}

func TestTheBinaryIsNodePassByItsName(t *testing.T) {
	l := newLab(t)
	name := filepath.Join(l.dir, "nodepass")
	if err := os.Symlink(program(t), name); err != nil {
		t.Fatal(err)
	}
	users, tunnel, target := freeAddr(t), freeAddr(t), echoes(t)
	server := l.process("server", nil, "server://"+tunnel+"/"+users+"?log=debug")
	client := l.process("client", nil, "client://"+tunnel+"/"+target+"?mode=2")
	server.path, client.path = name, name
	server.start()
	client.start()
	eventually(t, "the tunnel carries", func(ctx context.Context) error { return carries(ctx, users, 10_000, 500) })
	for _, p := range []*process{server, client} {
		if code := p.stop(syscall.SIGINT); code != 0 {
			t.Errorf("%s ends with %d", p.name, code)
		}
	}
	printed, err := os.ReadFile(server.out)
	if err != nil || !regexp.MustCompile(`(?m)^\d{4}-\d\d-\d\d \d\d:\d\d:\d\d\.\d{3}  \x1b\[32mINFO\x1b\[0m  Tunnel handshaked`).Match(printed) {
		t.Errorf("the server prints %q, %v", printed, err)
	}
	for _, args := range [][]string{nil, {"ftp://127.0.0.1:1"}, {"master://nowhere"}, {"server://a:1"}} {
		p := l.process("wrong", nil, args...)
		p.path = name
		p.start()
		<-p.ended
		printed, _ := os.ReadFile(p.out)
		if code := p.cmd.ProcessState.ExitCode(); code != 1 || !strings.Contains(string(printed), "master://HOST:PORT") {
			t.Errorf("%q ends with %d and prints %q", args, code, printed)
		}
	}
}

func TestInstancesAreTakenOverFromAnotherMaster(t *testing.T) {
	l := newLab(t)
	from, to := newMaster(l, "from", "?tls=1"), newMaster(l, "to", "")
	from.started()
	to.started()
	running := from.made("client://topsecret@" + freeAddr(t) + "/" + echoes(t) + "?mode=1&log=warn")
	idle := from.made("server://" + freeAddr(t) + "/127.0.0.1:9")
	from.call(http.StatusOK, "PATCH", "/instances/"+idle.ID, `{"alias":"idle","restart":true,"action":"stop","meta":{"tags":{"a":"b"},"peer":{"sid":"1","type":"2","alias":"3"}}}`, nil)
	from.says(idle.ID, "stopped", 0, 0)
	from.says(running.ID, "running", 0, 0)

	command := func(env string, args ...string) string {
		t.Helper()
		p := l.process("command", []string{env, "SIGNALBOX_KEY=" + to.key}, append(args, "--controlplane", to.grpc)...)
		p.start()
		<-p.ended
		printed, _ := os.ReadFile(p.out)
		if code := p.cmd.ProcessState.ExitCode(); code != 0 || strings.Contains(string(printed), "topsecret") {
			t.Errorf("%q ends with %d, and prints %s, %q", args, code, printed, p.lines())
		}
		return string(printed)
	}
	take := []string{"import", "nodepass", "https://" + from.addr, "--old-insecure", "--stopped"}
	var all []panelInstance
	command("SIGNALBOX_OLD_KEY="+from.key, append(take, "--dry-run")...)
	if to.call(http.StatusOK, "GET", "/instances", "", &all); len(all) != 1 {
		t.Errorf("a dry run wrote %+v", all)
	}
	command("SIGNALBOX_OLD_KEY="+from.key, take...)
	if said := command("SIGNALBOX_OLD_KEY="+from.key, take...); !strings.Contains(said, "is here already, the same") {
		t.Errorf("the second time it says %s", said)
	}
	from.stop(syscall.SIGTERM) // and the port is free
	command("", "instance", "start", running.ID)
	to.says(running.ID, "running", 0, 0)
	to.says(idle.ID, "stopped", 0, 0)
	var taken map[string]any
	to.call(http.StatusOK, "GET", "/instances/"+idle.ID, "", &taken)
	if got := fmt.Sprintln(taken["alias"], taken["restart"], taken["meta"], taken["url"]); got != "idle true map[peer:map[alias:3 sid:1 type:2] tags:map[a:b]] "+idle.URL+"\n" {
		t.Errorf("it is %s", got)
	}
	if said := command("", "instance", "list"); !strings.Contains(said, "client://********@") {
		t.Errorf("the list is %s", said)
	}
}
