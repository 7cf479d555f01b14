//go:build e2e

package faults

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
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
