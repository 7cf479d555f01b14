//go:build e2e

package faults

import (
	"bytes"
	"crypto/rand"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"
)

// namespaces is the driver of processes: each has a network namespace of its
// own, with one address, on a bridge in one that is nobody's. Traffic between
// them is in the clear: TLS is the containers' part.
type namespaces struct {
	dir string
	// program is what parts run unless a release names another.
	program string
	own     string   // begins the names of what is made
	subnet  string   // first three numbers of all addresses
	access  []string // environment of operators

	mu     sync.Mutex
	runs   map[*part]*process
	closed bool
}

// A process is one part's, over all its lives.
type process struct {
	netns string
	args  []string
	env   []string
	log   string // file
	cmd   *exec.Cmd
	ended chan struct{}
}

// netnsPrefix begins the names of our namespaces, followed by the process id of
// the test that made them.
const netnsPrefix = "sbfaults"

// newNamespaces makes the bridge, with this test at one address of it.
func newNamespaces(dir string) (*namespaces, error) {
	sweep()
	program, err := binary()
	if err != nil {
		return nil, err
	}
	pid := os.Getpid()
	n := &namespaces{
		dir: dir, program: program, own: netnsPrefix + strconv.Itoa(pid), subnet: fmt.Sprintf("10.213.%d", pid%250), runs: map[*part]*process{},
	}
	hub, link := n.own+"-hub", "sbf"+strconv.Itoa(pid)
	err = all(
		"ip netns add "+hub,
		"ip -n "+hub+" link add name hub0 type bridge",
		"ip -n "+hub+" link set hub0 up",
		"ip link add "+link+" type veth peer name host netns "+hub,
		"ip -n "+hub+" link set host master hub0 up",
		"ip addr add "+n.host()+"/24 dev "+link,
		"ip link set "+link+" up",
	)
	if err != nil {
		n.close()
		return nil, err
	}
	return n, nil
}

// binary is the program to run, as `make build` leaves it unless SIGNALBOX_BIN
// names another.
func binary() (string, error) {
	name := os.Getenv("SIGNALBOX_BIN")
	if name == "" {
		name = "../../../bin/signalbox"
	}
	path, err := filepath.Abs(name)
	if err == nil {
		_, err = os.Stat(path)
	}
	if err != nil {
		return "", fmt.Errorf("no program to test; run `make build`: %w", err)
	}
	return path, nil
}

// host is the test's own address.
func (n *namespaces) host() string { return n.subnet + ".1" }

// add makes a part, which is not started.
func (n *namespaces) add(p *part, env []string, args ...string) error {
	run := &process{netns: n.own + "-" + p.name, args: args, env: env, log: filepath.Join(n.dir, p.name+".log")}
	n.mu.Lock()
	n.runs[p] = run
	n.mu.Unlock()
	hub := n.own + "-hub"
	return all(
		"ip netns add "+run.netns,
		"ip -n "+run.netns+" link set lo up",
		"ip link add eth0 netns "+run.netns+" type veth peer name "+p.name+" netns "+hub,
		"ip -n "+hub+" link set "+p.name+" master hub0 up",
		"ip -n "+run.netns+" addr add "+p.addrs()[0]+"/24 dev eth0",
		"ip -n "+run.netns+" link set eth0 up",
	)
}

func (n *namespaces) start(p *part, r release) error {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.closed {
		return errors.New("the cluster is gone")
	}
	run := n.runs[p]
	log, err := os.OpenFile(run.log, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	defer func() { _ = log.Close() }()
	program := r.program
	if program == "" {
		program = n.program
	}
	// nsenter becomes the program: its process is the part's.
	cmd := exec.Command("nsenter", append([]string{"--net=/run/netns/" + run.netns, program}, run.args...)...)
	cmd.Dir, cmd.Stdout, cmd.Stderr = n.dir, log, log
	cmd.Env = append(append(cleanEnv(), run.env...), r.env...)
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	if err := cmd.Start(); err != nil {
		return err
	}
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		_ = cmd.Wait() // its exit code is asked for where it matters
	}()
	run.cmd, run.ended = cmd, ended
	return nil
}

// cleanEnv is the environment without what would configure the program.
func cleanEnv() []string {
	var env []string
	for _, e := range os.Environ() {
		if !strings.HasPrefix(e, "SIGNALBOX_") && !strings.HasPrefix(e, "CONFIGPROXY_") {
			env = append(env, e)
		}
	}
	return env
}

func (n *namespaces) run(p *part) *process {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.runs[p]
}

func (n *namespaces) signal(p *part, s syscall.Signal) error {
	return syscall.Kill(-n.run(p).cmd.Process.Pid, s)
}

func (n *namespaces) wait(p *part) (int, error) {
	run := n.run(p)
	select {
	case <-run.ended:
		return run.cmd.ProcessState.ExitCode(), nil
	case <-time.After(patience):
		return 0, fmt.Errorf("%s does not end", p.name)
	}
}

func (n *namespaces) pid(p *part) (int, error) { return n.run(p).cmd.Process.Pid, nil }

func (n *namespaces) log(p *part) string {
	text, err := os.ReadFile(n.run(p).log)
	if err != nil {
		return err.Error()
	}
	return string(text)
}

// stateOf is the directory of a part's.
func (n *namespaces) stateOf(p *part) string { return filepath.Join(n.dir, p.name) }

func (n *namespaces) operate(_ *part, data []byte, args ...string) (string, error) {
	file := filepath.Join(n.dir, "data")
	if err := os.WriteFile(file, data, 0o600); err != nil {
		return "", err
	}
	for i, a := range args {
		args[i] = strings.ReplaceAll(a, dataFile, file)
	}
	cmd := exec.Command(n.program, args...)
	cmd.Dir, cmd.Env = n.dir, append(cleanEnv(), n.access...)
	return output(cmd)
}

// output is what a command prints. That it fails says what it printed as
// errors.
func output(cmd *exec.Cmd) (string, error) {
	var said bytes.Buffer
	cmd.Stderr = &said
	out, err := cmd.Output()
	if err != nil {
		err = fmt.Errorf("%s: %w: %s", strings.Join(cmd.Args, " "), err, bytes.TrimSpace(said.Bytes()))
	}
	return string(out), err
}

func (n *namespaces) close() {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.closed = true
	for _, run := range n.runs {
		if run.cmd != nil {
			_ = syscall.Kill(-run.cmd.Process.Pid, syscall.SIGKILL)
			<-run.ended
		}
		_ = all("ip netns del " + run.netns)
	}
	clear(n.runs)
	_ = all("ip netns del " + n.own + "-hub") // and the test's link with it
}

// sweep removes what tests left that were ended before they could clean up.
func sweep() {
	out, err := exec.Command("ip", "netns", "list").Output()
	if err != nil {
		return
	}
	for line := range strings.Lines(string(out)) {
		name, _, _ := strings.Cut(strings.TrimSpace(line), " ")
		owner, _, _ := strings.Cut(strings.TrimPrefix(name, netnsPrefix), "-")
		pid, err := strconv.Atoi(owner)
		if err != nil || !strings.HasPrefix(name, netnsPrefix) || syscall.Kill(pid, 0) == nil {
			continue
		}
		pids, _ := exec.Command("ip", "netns", "pids", name).Output()
		for left := range strings.FieldsSeq(string(pids)) {
			if pid, err := strconv.Atoi(left); err == nil {
				_ = syscall.Kill(pid, syscall.SIGKILL)
			}
		}
		_ = all("ip netns del " + name)
	}
}

// all runs commands whose words have no spaces, until one fails.
func all(commands ...string) error {
	for _, c := range commands {
		words := strings.Fields(c)
		if out, err := exec.Command(words[0], words[1:]...).CombinedOutput(); err != nil {
			return fmt.Errorf("%s: %w: %s", c, err, bytes.TrimSpace(out))
		}
	}
	return nil
}

// newNamespacesLab lays out a cluster of processes, which are not started.
func newNamespacesLab(dir string) (*lab, error) {
	n, err := newNamespaces(dir)
	if err != nil {
		return nil, err
	}
	l := &lab{driver: n, operator: n, host: n.host(), admin: rand.Text()}
	add := func(k kind, name string) *part {
		p := &part{name: name, kind: k, id: name, at: []string{fmt.Sprintf("%s.%d", n.subnet, 10+len(l.parts))}}
		l.parts = append(l.parts, p)
		return p
	}
	var members, stores, planes []string
	for i := range 3 {
		p := add(member, fmt.Sprintf("etcd%d", i+1))
		members = append(members, p.name+"=http://"+p.addrs()[0]+":2380")
		stores = append(stores, "http://"+p.addrs()[0]+":2379")
	}
	for i := range 2 {
		planes = append(planes, add(plane, fmt.Sprintf("cp%d", i+1)).addrs()[0]+":8002")
	}
	add(gateway, "gateway")
	for i := range 3 {
		add(node, fmt.Sprintf("node%d", i+1))
	}
	l.members, l.state = strings.Join(members, ","), n.stateOf
	n.access = []string{
		"SIGNALBOX_ETCD=" + strings.Join(stores, ","), "SIGNALBOX_CONTROLPLANE=" + strings.Join(planes, ","),
		"SIGNALBOX_KEY=" + l.admin, "SIGNALBOX_ALLOW_PLAINTEXT=true",
	}
	for i, p := range l.parts {
		at := p.addrs()[0]
		env, args := []string(nil), []string(nil)
		switch p.kind {
		case member:
			env = []string{"SIGNALBOX_DATA_DIR=" + n.stateOf(p)}
			args = []string{"etcd", "--name", p.name, "--listen-client", stores[i],
				"--listen-peer", "http://" + at + ":2380", "--initial-cluster", strings.Join(members, ",")}
		case plane:
			env = []string{"SIGNALBOX_ADMIN_KEY=" + l.admin, "SIGNALBOX_CHP_TOKEN=" + rand.Text()}
			args = []string{"controlplane", "--controlplane-id", p.name, "--etcd", strings.Join(stores, ","),
				"--grpc-listen", at + ":8002", "--api-listen", at + ":8001"}
		case gateway:
			args = []string{"gateway", "--controlplane", strings.Join(planes, ","), "--api-listen", at + ":8001"}
		case node:
			env = []string{"SIGNALBOX_KEY=" + l.admin}
			args = []string{"node", "--id", p.id, "--controlplane", strings.Join(planes, ","), "--listen", at + ":8000",
				"--state-dir", filepath.Join(dir, p.name), "--drain-timeout", "5s"}
		}
		if err := n.add(p, env, append(args, "--allow-plaintext")...); err != nil {
			n.close()
			return nil, err
		}
	}
	return l, nil
}
