package main

import (
	"errors"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"
)

// chpArgs is the variable that makes a process of the test binary the program,
// with these arguments.
const chpArgs = "SIGNALBOX_TEST_CHP"

// TestBeingCHP is no test: it is the program, in processes that tests start.
func TestBeingCHP(t *testing.T) {
	args, ok := os.LookupEnv(chpArgs)
	if !ok {
		t.Skip("for processes that other tests start")
	}
	os.Args = append([]string{chpName}, strings.Split(args, "\n")...)
	main()
}

// A chpProcess is the drop-in in a process of its own.
type chpProcess struct {
	chpSystem
	cmd *exec.Cmd
}

// startCHPProcess starts the drop-in in a process of its own, to which signals
// can be sent.
func startCHPProcess(t *testing.T, env []string, args ...string) *chpProcess {
	t.Helper()
	s := &chpProcess{chpSystem: chpSystem{public: freeAddr(t), api: freeAddr(t), log: &safeBuffer{}}}
	s.cmd = exec.Command(os.Args[0], "-test.run=^TestBeingCHP$") //nolint:gosec // this very program
	s.cmd.Env = append(append(os.Environ(), env...), "CONFIGPROXY_AUTH_TOKEN="+chpToken, chpArgs+"="+strings.Join(append(s.where(), args...), "\n"))
	s.cmd.Stdout, s.cmd.Stderr = s.log, s.log
	if err := s.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = s.cmd.Process.Kill() // unless it has ended
		_ = s.cmd.Wait()
	})
	s.await(t)
	s.says(t, "Proxy API at")
	return s
}

// wait waits until the process has ended, and returns its exit code; -1 is a
// signal.
func (s *chpProcess) wait(t *testing.T) int {
	t.Helper()
	timer := time.AfterFunc(20*time.Second, func() { _ = s.cmd.Process.Signal(syscall.SIGQUIT) })
	defer timer.Stop()
	var exit *exec.ExitError
	if err := s.cmd.Wait(); err != nil && !errors.As(err, &exit) {
		t.Fatal(err)
	}
	return s.cmd.ProcessState.ExitCode()
}

// Some send a signal twice, as timeout does, to the process and to its group.
func TestASecondSignalEndsItAsCHPEnds(t *testing.T) {
	for name, between := range map[string]string{"at once": "", "while it ends": "Terminated"} {
		t.Run(name, func(t *testing.T) {
			pid := filepath.Join(t.TempDir(), "pid")
			s := startCHPProcess(t, nil, "--pid-file", pid)
			s.post(t, "/a", "http://"+chpUpstream(t, "A"))
			running, err := net.Dial("tcp", s.public) // what the first signal waits for
			if err != nil {
				t.Fatal(err)
			}
			defer func() { _ = running.Close() }()
			_, _ = running.Write([]byte("GET /a?sleep=5000 HTTP/1.1\r\nHost: x\r\n\r\n"))
			s.ask(t, "GET /a")
			for range 2 {
				if err := s.cmd.Process.Signal(syscall.SIGTERM); err != nil {
					t.Fatal(err)
				}
				if between != "" {
					s.says(t, between)
				}
			}
			if code := s.wait(t); code != chpStopped {
				t.Errorf("it ends with %d, want %d", code, chpStopped)
			}
			if _, err := os.Lstat(pid); err == nil {
				t.Error("the pid file is left behind")
			}
		})
	}
}

// CHP writes nothing anywhere.
func TestCHPNeedsNoRoomOnADisk(t *testing.T) {
	nowhere := filepath.Join(t.TempDir(), "none")
	s := startCHPProcess(t, []string{"TMPDIR=" + nowhere})
	s.post(t, "/a", "http://"+chpUpstream(t, "A"))
	if a := s.ask(t, "GET /a"); a.status != 200 {
		t.Errorf("got %d %s", a.status, a.body)
	}
	if _, err := os.Lstat(nowhere); err == nil {
		t.Error("it made a directory")
	}
	if err := s.cmd.Process.Signal(syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	if code := s.wait(t); code != chpStopped {
		t.Errorf("it ends with %d", code)
	}
}

// What etcd says of it is a stack trace.
func TestADirectoryWithoutRoomEndsItWithASentence(t *testing.T) {
	cmd := exec.Command("/bin/sh", "-c", `ulimit -f 1000; exec "$0" -test.run='^TestBeingCHP$'`, os.Args[0]) //nolint:gosec // this very program
	cmd.Env = append(os.Environ(), chpArgs+"="+strings.Join([]string{"--data-dir", t.TempDir(), "--ip", "127.0.0.1"}, "\n"))
	said, err := cmd.CombinedOutput()
	if code := cmd.ProcessState.ExitCode(); err == nil || code != 1 || strings.Contains(string(said), "goroutine") || !strings.Contains(string(said), "\nerror: etcd member: ") {
		t.Errorf("it ends with %d and says\n%s", code, said)
	}
}
