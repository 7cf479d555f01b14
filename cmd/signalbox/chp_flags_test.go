package main

import (
	"bytes"
	"context"
	"net"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/spf13/pflag"

	"signalbox/node/certfile/certtest"
)

// Every flag of configurable-http-proxy 5.3.0, with what it takes: "" is
// nothing.
var chpFlagList = map[string]string{
	"version": "", "help": "",
	"ip": "ip-address", "port": "n", "socket": "path",
	"ssl-key": "keyfile", "ssl-cert": "certfile", "ssl-ca": "ca-file", "ssl-request-cert": "", "ssl-reject-unauthorized": "",
	"ssl-protocol": "ssl-protocol", "ssl-ciphers": "ciphers", "ssl-allow-rc4": "", "ssl-dhparam": "dhparam-file",
	"api-ip": "ip", "api-port": "n", "api-socket": "path",
	"api-ssl-key": "keyfile", "api-ssl-cert": "certfile", "api-ssl-ca": "ca-file", "api-ssl-request-cert": "", "api-ssl-reject-unauthorized": "",
	"client-ssl-key": "keyfile", "client-ssl-cert": "certfile", "client-ssl-ca": "ca-file", "client-ssl-request-cert": "", "client-ssl-reject-unauthorized": "",
	"default-target": "host", "error-target": "host", "error-path": "path",
	"redirect-port": "redirect-port", "redirect-to": "port", "pid-file": "pid-file",
	"no-x-forward": "", "no-prepend-path": "", "no-include-prefix": "", "auto-rewrite": "", "change-origin": "",
	"protocol-rewrite": "proto", "custom-header": "header", "insecure": "", "host-routing": "",
	"metrics-ip": "ip", "metrics-port": "n", "metrics-socket": "path", "log-level": "loglevel",
	"timeout": "n", "proxy-timeout": "n", "storage-backend": "storage-class", "keep-alive-timeout": "timeout",
}

// chpValues are values for flags that do not take just any.
var chpValues = map[string]string{
	"port": "8123", "api-port": "8124", "metrics-port": "8125", "redirect-port": "8126", "redirect-to": "443", "custom-header": "X-A: b",
	"timeout": "1000", "proxy-timeout": "1000", "keep-alive-timeout": "1000",
}

func TestEveryFlagOfCHPsIsAccepted(t *testing.T) {
	for name, what := range chpFlagList {
		tls := []string{"--ssl-key", "k", "--ssl-cert", "c"} // which redirections need
		if what == "" {
			var c chpFlags
			if err := c.parse([]string{"--" + name}); err != nil {
				t.Errorf("--%s: %v", name, err)
			}
			continue
		}
		value := chpValues[name]
		if value == "" {
			value = "x"
		}
		for _, args := range [][]string{{"--" + name, value}, {"--" + name + "=" + value}} {
			var c chpFlags
			if err := c.parse(append(args, tls...)); err != nil {
				t.Errorf("%q: %v", args, err)
			}
		}
		var c chpFlags
		if err := c.parse([]string{"--" + name}); err == nil || err.Error() != "error: option '--"+name+" <"+what+">' argument missing" {
			t.Errorf("--%s without a value: %v", name, err)
		}
	}
	new(chpFlags).flags().VisitAll(func(f *pflag.Flag) {
		if _, theirs := chpFlagList[f.Name]; !theirs && f.Name != "data-dir" && f.Name != "print-listener" {
			t.Errorf("--%s is neither CHP's nor meant to be ours", f.Name)
		}
	})
}

func TestCHPsDefaults(t *testing.T) {
	for _, c := range []struct {
		args                 string
		public, api, metrics string
	}{
		{"", ":8000", "localhost:8001", ""},
		{"--port 9000", ":9000", "localhost:9001", ""},
		{"--port x --api-port y --metrics-port z", ":8000", "localhost:8001", ""},
		{"--port 0 --metrics-port 9", ":8000", "localhost:8001", ":9"},
		{"--ip * --api-ip ::", ":8000", "[::]:8001", ""},
		{"--ip :: --api-ip 0.0.0.0 --api-port 81 --metrics-ip 127.0.0.1 --metrics-port=82", "[::]:8000", "0.0.0.0:81", "127.0.0.1:82"},
		{"--socket /s --api-socket /a --metrics-socket /m", "unix:/s", "unix:/a", "unix:/m"},
		{"--socket /s", "unix:/s", "localhost:8001", ""},
	} {
		var f chpFlags
		if err := f.parse(strings.Fields(c.args)); err != nil {
			t.Fatal(c.args, err)
		}
		if f.publicAddr() != c.public || f.apiAddr() != c.api || f.metricsAddr() != c.metrics {
			t.Errorf("%q: public %s, API %s, metrics %q", c.args, f.publicAddr(), f.apiAddr(), f.metricsAddr())
		}
	}
}

func TestWrongCommandLinesAreRefusedAsByCHP(t *testing.T) {
	dir, large := t.TempDir(), t.TempDir()
	if err := os.WriteFile(filepath.Join(large, "404.html"), make([]byte, 1<<20), 0o600); err != nil {
		t.Fatal(err)
	}
	s := &chpSystem{public: freeAddr(t), api: freeAddr(t)}
	_, port, _ := net.SplitHostPort(s.public)
	for _, c := range []struct {
		args []string
		says string
	}{
		{[]string{"--nope"}, "error: unknown option '--nope'"},
		{[]string{"-x"}, "error: unknown option '-x'"},
		{[]string{"here"}, "error: too many arguments. Expected 0 arguments but got 1: here."},
		{[]string{"--ip"}, "error: option '--ip <ip-address>' argument missing"},
		{[]string{"--socket", "/s", "--ip", "1.2.3.4"}, "error: option '--socket <path>' cannot be used with option '--ip"},
		{[]string{"--custom-header", "bad"}, "A colon was expected in custom header: bad"},
		{[]string{"--error-target", "http://x", "--error-path", "y"}, "Cannot specify both error-target and error-path. Pick one."},
		{[]string{"--redirect-port", "80"}, "HTTPS redirection specified but certificates not provided."},
		{[]string{"--pid-file", filepath.Join(dir, "none", "pid")}, "no such file"},
		{[]string{"--ssl-key", filepath.Join(dir, "k"), "--ssl-cert", filepath.Join(dir, "c")}, "no such file"},
		{[]string{"--ssl-key", "k"}, "error: --ssl-key, --ssl-cert, --ssl-ca: a certificate and its key are given together"},
		{[]string{"--api-ssl-cert", "k"}, "error: --api-ssl-key, --api-ssl-cert, --api-ssl-ca: "},
		{[]string{"--client-ssl-key", "k"}, "error: --client-ssl-key, --client-ssl-cert, --client-ssl-ca: "},
		{[]string{"--default-target", "nonsense"}, "error: --default-target: must begin"},
		{[]string{"--error-target", "not a url"}, "error: --error-target: must be"},
		{[]string{"--error-target", "http://x?k=v"}, "error: --error-target: must have no query"},
		{[]string{"--error-path", large}, "error: --error-path"},
		{[]string{"--port", "70000"}, "not a port"},
		{[]string{"--protocol-rewrite", "gopher"}, "error: --protocol-rewrite: "},
		{[]string{"--custom-header", "X Y: b"}, `error: --custom-header["X Y"]: `},
		{[]string{"--custom-header", "Connection: b"}, `error: --custom-header["Connection"]: `},
		{[]string{"--api-ip", "192.0.2.1"}, "error: --api-ip, --api-port, --api-socket: 192.0.2.1:8001: "},
		{append(s.where(), "--api-port", port), "error: --ip, --port, --socket: "},
	} {
		var out, errs bytes.Buffer
		ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
		err := runCHP(ctx, c.args, &out, &errs)
		cancel()
		if exitCode(err) != 1 || !strings.Contains(errs.String(), c.says) {
			t.Errorf("%q: exit %d, says %q, want %q", c.args, exitCode(err), errs.String(), c.says)
		}
	}
}

func TestWhatCHPPrints(t *testing.T) {
	for _, flag := range []string{"-V", "--version"} {
		var out bytes.Buffer
		if err := runCHP(t.Context(), []string{flag}, &out, &out); err != nil || out.String() != "5.3.0\n" {
			t.Errorf("%s: %v %q", flag, err, out.String())
		}
	}
	var out bytes.Buffer
	if err := runCHP(t.Context(), []string{"-h"}, &out, &out); err != nil || !strings.Contains(out.String(), "--host-routing") {
		t.Errorf("-h: %v %q", err, out.String())
	}
	if got := byName([]string{"/usr/bin/configurable-http-proxy", "--ip", "x"}); strings.Join(got, " ") != "chp --ip x" {
		t.Errorf("called by its name it runs %q", got)
	}
}

// What tools look for in the log, and what must never be there.
func TestCHPsLog(t *testing.T) {
	pid := filepath.Join(t.TempDir(), "pid")
	s := startCHP(t, asDropIn, "--log-level", "debug", "--default-target", "http://user:sesame@127.0.0.1:1/x?sesame", "--pid-file", pid, "--auto-rewrite", "--change-origin", "--protocol-rewrite", "https")
	s.ask(t, `POST /api/routes/x%0Ay||{"target":"http://user:sesame@127.0.0.1:1?sesame"}`)
	s.ask(t, "GET /api/routes?sesame|Authorization: token sesame")
	s.ask(t, "DELETE /api/routes/x%0Ay")
	s.ask(t, "DELETE /api/routes/x")
	s.ask(t, "GET /y?sesame")
	text, err := os.ReadFile(pid)
	if err != nil || len(text) == 0 || strings.ContainsAny(string(text), "\n ") {
		t.Errorf("the pid file holds %q, %v", text, err)
	}
	if code := s.stop(); code != chpStopped {
		t.Errorf("it exits with %d", code)
	}
	if _, err := os.Stat(pid); err == nil {
		t.Error("the pid file is left behind")
	}
	_, port, _ := net.SplitHostPort(s.public)
	_, apiPort, _ := net.SplitHostPort(s.api)
	log := s.log.String()
	for _, line := range []string{
		"info: Adding route / -> http://127.0.0.1:1/x\n", "info: Route added / -> http://127.0.0.1:1/x\n",
		"info: Proxying http://" + port + ":127.0.0.1 to http://127.0.0.1:1/x\n", "info: Proxy API at http://" + apiPort + ":127.0.0.1/api/routes\n",
		"info: AutoRewrite of Location headers enabled.\n", "info: Change Origin of host headers enabled.\n", "info: ProtocolRewrite enabled. Rewriting to https\n",
		"info: Route added /x?y -> http://127.0.0.1:1\n", "info: 201 POST /api/routes/x%0Ay\n", "info: Removing route /x?y\n", "info: 204 DELETE /api/routes/x%0Ay\n",
		"warn: 404 DELETE /api/routes/x\n", "warn: 403 GET /api/routes\n", "error: 503 GET /y connect ECONNREFUSED 127.0.0.1:1\n", "warn: Terminated\n",
	} {
		if !strings.Contains(log, " [ConfigProxy] "+line) {
			t.Errorf("the log has no line %q", line)
		}
	}
	for _, secret := range []string{chpToken, "sesame"} {
		if strings.Contains(log, secret) {
			t.Errorf("%q is in the log:\n%s", secret, log)
		}
	}
}

func TestAnUnknownLogLevelIsSilence(t *testing.T) {
	s := startCHP(t, asDropIn, "--log-level", "loud", "no-token")
	s.ask(t, "GET /none")
	s.stop()
	if s.log.String() != "" {
		t.Errorf("it says %q", s.log)
	}
}

func TestABusyPortEndsIt(t *testing.T) {
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = ln.Close() }()
	_, port, _ := net.SplitHostPort(ln.Addr().String())
	var out, errs bytes.Buffer
	err = runCHP(t.Context(), []string{"--ip", "127.0.0.1", "--port", port}, &out, &errs)
	if exitCode(err) != 1 || !strings.Contains(errs.String(), syscall.EADDRINUSE.Error()) {
		t.Errorf("exit %d, says %q", exitCode(err), errs.String())
	}
}

func TestWithADirectoryRoutesAreKept(t *testing.T) {
	dir := t.TempDir()
	s := startCHP(t, asDropIn, "--data-dir", dir, "--default-target", "http://127.0.0.1:1")
	s.ask(t, `POST /api/routes||{"target":"http://127.0.0.1:2"}`)
	s.ask(t, `POST /api/routes/x||{"target":"http://127.0.0.1:3"}`)
	s.stop()
	s = startCHP(t, asDropIn, "--data-dir", dir, "--default-target", "http://127.0.0.1:1")
	want := `{"/":{"target":"http://127.0.0.1:2","last_activity":"TIME"},"/x":{"target":"http://127.0.0.1:3","last_activity":"TIME"}}`
	if a := s.ask(t, "GET /api/routes"); masked(a.body) != want {
		t.Errorf("the table is %s", masked(a.body))
	}
}

func TestKeysOfTLSAreReadAsCHPDoes(t *testing.T) {
	sign := certtest.New(t)
	sign.Make("server", 2)
	var c chpTLS
	if _, err := c.server(""); err != nil {
		t.Error(err)
	}
	c = chpTLS{key: sign.File("server.key"), cert: sign.File("server.pem"), ca: sign.File("ca.pem"), request: true}
	s, err := c.server("")
	if err != nil || s.ClientCA != c.ca {
		t.Errorf("%+v %v", s, err)
	}
	for list, want := range map[string]string{
		"": "", "ECDHE-RSA-AES128-GCM-SHA256:!RC4": "49199", "HIGH:!aNULL": "", "NULL-MD5": "error", "AES128-SHA:ECDHE-ECDSA-AES256-GCM-SHA384": "47,49196",
	} {
		got, err := tlsCiphers(list)
		if err != nil {
			got = "error"
		}
		if got != want {
			t.Errorf("ciphers %q: %q, want %q", list, got, want)
		}
	}
	for name, fine := range map[string]bool{"": true, "TLSv1_2": true, "TLSv1_2_method": true, "TLSv1_3": true, "SSLv3": false, "TLSv1": false} {
		if _, err := tlsVersions(name); (err == nil) != fine {
			t.Errorf("protocol %q: %v", name, err)
		}
	}
}
