//go:build e2e

// `signalbox chp` is what configurable-http-proxy's parent process expects: it
// is there soon, by that name too, ends soon when it is told to, and leaves
// nothing behind.

package e2e

import (
	"context"
	"errors"
	"net"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"
)

// chpEnd is how long it may take to end: JupyterHub kills it after that.
const chpEnd = 5 * time.Second

func TestTheDropInEndsAsCHPDoes(t *testing.T) {
	for _, by := range []struct {
		signal syscall.Signal
		says   string
	}{{syscall.SIGTERM, "Terminated"}, {syscall.SIGINT, "Interrupted"}} {
		t.Run(by.says, func(t *testing.T) {
			l := newLab(t)
			temp, pid := filepath.Join(l.dir, "tmp"), filepath.Join(l.dir, "pid")
			if err := os.Mkdir(temp, 0o700); err != nil {
				t.Fatal(err)
			}
			named := filepath.Join(l.dir, "configurable-http-proxy")
			if err := os.Symlink(program(t), named); err != nil {
				t.Fatal(err)
			}
			secret := l.secret("the token", "a-token-that-is-long-enough-for-all")
			public, api := freeAddr(t), freeAddr(t)
			_, port, _ := net.SplitHostPort(public)
			_, apiPort, _ := net.SplitHostPort(api)
			// As JupyterHub calls it.
			p := l.process("chp", []string{"TMPDIR=" + temp, "CONFIGPROXY_AUTH_TOKEN=" + secret},
				"--ip", "127.0.0.1", "--port", port, "--api-ip", "127.0.0.1", "--api-port", apiPort,
				"--error-target", "http://127.0.0.1:1/hub/error", "--log-level", "info", "--pid-file", pid)
			p.path = named
			p.start()
			eventually(t, "the API is there", func(ctx context.Context) error {
				c, err := new(net.Dialer).DialContext(ctx, "tcp", api)
				if err == nil {
					_ = c.Close()
				}
				return err
			})
			to := newUpstream(t, "up")
			hub := &caller{t: t, base: "http://" + api, key: secret, client: newHTTP(t)}
			hub.post("/ws", to.url)
			s, err := openSocket(public, "/ws")
			if err != nil {
				t.Fatal(err)
			}
			defer s.close()
			begun := time.Now()
			if code := p.stop(by.signal); code != 2 {
				t.Errorf("it exits with %d", code)
			}
			if took := time.Since(begun); took > chpEnd {
				t.Errorf("it takes %v to end", took)
			}
			printed, err := os.ReadFile(p.out)
			if err != nil || !strings.Contains(string(printed), "warn: "+by.says) {
				t.Errorf("%v, it says\n%s", err, printed)
			}
			if _, err := os.Stat(pid); !errors.Is(err, os.ErrNotExist) {
				t.Error("the pid file is left behind")
			}
			if left, _ := os.ReadDir(temp); len(left) > 0 {
				t.Errorf("%s is left behind", left[0].Name())
			}
		})
	}
}
