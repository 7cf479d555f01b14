//go:build e2e

package e2e

import (
	"bytes"
	"context"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"
)

// program is the binary to run, as `make build` leaves it unless
// SIGNALBOX_BIN names another.
func program(t testing.TB) string {
	t.Helper()
	name := os.Getenv("SIGNALBOX_BIN")
	if name == "" {
		name = "../../bin/signalbox"
	}
	path, err := filepath.Abs(name)
	if err == nil {
		_, err = os.Stat(path)
	}
	if err != nil {
		t.Fatalf("no program to test; run `make build`: %v", err)
	}
	return path
}

// A process runs the program in a process group of its own. It can be started
// again after it has ended, with the same arguments.
type process struct {
	t    testing.TB
	name string
	args []string
	env  []string // beside the test's own
	path string   // what to run; empty for the program
	dir  string   // to run in
	log  string   // file of standard error, over all its lives
	out  string   // file of standard output

	cmd   *exec.Cmd
	ended chan struct{} // closed when cmd has ended
}

// start starts the process. It ends with the test, whatever happens.
func (p *process) start() {
	p.t.Helper()
	log, err := os.OpenFile(p.log, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		p.t.Fatal(err)
	}
	defer func() { _ = log.Close() }()
	out, err := os.OpenFile(p.out, os.O_CREATE|os.O_TRUNC|os.O_WRONLY, 0o600)
	if err != nil {
		p.t.Fatal(err)
	}
	defer func() { _ = out.Close() }()
	path := p.path
	if path == "" {
		path = program(p.t)
	}
	cmd := exec.Command(path, p.args...)
	cmd.Dir, cmd.Stdout, cmd.Stderr = p.dir, out, log
	cmd.Env = append(cleanEnv(), p.env...)
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	if err := cmd.Start(); err != nil {
		p.t.Fatalf("start %s: %v", p.name, err)
	}
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		_ = cmd.Wait() // its exit code is asked for where it matters
	}()
	p.cmd, p.ended = cmd, ended
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

func (p *process) running() bool {
	if p.cmd == nil {
		return false
	}
	select {
	case <-p.ended:
		return false
	default:
		return true
	}
}

// signal sends a signal to the process's group.
func (p *process) signal(s syscall.Signal) {
	p.t.Helper()
	if err := syscall.Kill(-p.cmd.Process.Pid, s); err != nil {
		p.t.Errorf("signal %s: %v", p.name, err)
	}
}

// kill is the process's sudden death.
func (p *process) kill() {
	p.t.Helper()
	p.signal(syscall.SIGKILL)
	<-p.ended
}

// stop asks the process to end, and returns its exit code.
func (p *process) stop(s syscall.Signal) int {
	p.t.Helper()
	p.signal(s)
	select {
	case <-p.ended:
	case <-time.After(patience):
		p.t.Errorf("%s does not end", p.name)
		p.kill()
	}
	return p.cmd.ProcessState.ExitCode()
}

// group reports whether anything is left of the process's group.
func (p *process) group() bool {
	return !errors.Is(syscall.Kill(-p.cmd.Process.Pid, 0), syscall.ESRCH)
}

// finish ends what is left of the process, and shows its log if the test
// failed.
func (p *process) finish() {
	if p.running() {
		p.signal(syscall.SIGCONT)
		p.kill()
	}
	if p.cmd != nil && p.group() {
		p.t.Errorf("%s has left processes behind", p.name)
		_ = syscall.Kill(-p.cmd.Process.Pid, syscall.SIGKILL)
	}
	if p.t.Failed() {
		p.t.Logf("---- the end of %s's log\n%s", p.name, tail(p.log, 30))
	}
}

// lines are those of the process's log so far.
func (p *process) lines() []string {
	p.t.Helper()
	text, err := os.ReadFile(p.log)
	if err != nil {
		p.t.Fatal(err)
	}
	return strings.Split(strings.TrimSuffix(string(text), "\n"), "\n")
}

// tail is the last lines of a file.
func tail(file string, lines int) []byte {
	text, err := os.ReadFile(file)
	if err != nil {
		return []byte(err.Error())
	}
	all := bytes.SplitAfter(text, []byte("\n"))
	return bytes.Join(all[max(0, len(all)-lines-1):], nil)
}

// A lab is processes on one machine, and the secrets they know.
type lab struct {
	t       testing.TB
	dir     string
	all     []*process
	secrets map[string]string // what must be in no log, and what it is
}

// newLab returns a lab without processes. When the test ends, or is about to
// be ended for taking too long, so do they.
func newLab(t testing.TB) *lab {
	t.Helper()
	l := &lab{t: t, dir: t.TempDir(), secrets: map[string]string{}}
	ctx, cancel := context.WithCancel(context.Background())
	if deadline, ok := t.(interface{ Deadline() (time.Time, bool) }); ok {
		if end, limited := deadline.Deadline(); limited {
			cancel()
			ctx, cancel = context.WithDeadline(context.Background(), end.Add(-5*time.Second))
		}
	}
	context.AfterFunc(ctx, func() {
		if errors.Is(ctx.Err(), context.DeadlineExceeded) {
			l.abandon()
		}
	})
	t.Cleanup(func() {
		cancel()
		for _, p := range l.all {
			p.finish()
		}
		l.searchLogs()
	})
	return l
}

// abandon kills everything at once: the test binary is about to be ended.
func (l *lab) abandon() {
	for _, p := range l.all {
		if p.cmd != nil && p.cmd.Process != nil {
			_ = syscall.Kill(-p.cmd.Process.Pid, syscall.SIGKILL)
		}
	}
}

// process adds a process that is not started.
func (l *lab) process(name string, env []string, args ...string) *process {
	p := &process{
		t: l.t, name: name, args: args, env: env, dir: l.dir,
		log: filepath.Join(l.dir, name+".log"), out: filepath.Join(l.dir, name+".out"),
	}
	l.all = append(l.all, p)
	return p
}

// secret remembers what must be in no log.
func (l *lab) secret(what, value string) string {
	l.secrets[what] = value
	return value
}

// searchLogs looks for secrets in all logs.
func (l *lab) searchLogs() {
	for _, p := range l.all {
		text, err := os.ReadFile(p.log)
		if err != nil && !os.IsNotExist(err) {
			l.t.Error(err)
		}
		for what, value := range l.secrets {
			if bytes.Contains(text, []byte(value)) {
				l.t.Errorf("%s's log holds %s", p.name, what)
			}
		}
	}
}
