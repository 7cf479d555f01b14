package main

import (
	"bytes"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"signalbox/node/certfile"
	signalboxv1 "signalbox/proto/gen/signalbox/v1"
)

func TestAMastersURLIsReadAsByNodePass(t *testing.T) {
	for url, want := range map[string]struct{ addr, base, tls, log string }{
		"master://127.0.0.1:9090":                            {"127.0.0.1:9090", "/api/v1", "0", ""},
		"master://:9090/":                                    {":9090", "/api/v1", "0", ""},
		"MASTER://0.0.0.0:9090/admin/?tls=1&log=debug":       {"0.0.0.0:9090", "/admin/v1", "1", "debug"},
		"master://[::1]:9090/a/b?tls=7":                      {"[::1]:9090", "/a/b/v1", "0", ""},
		"master://localhost:9090/api?tls=2&crt=c.pem&key=k&": {"localhost:9090", "/api/v1", "2", ""},
	} {
		u, err := readNodePassURL(url)
		if err != nil || u.addr != want.addr || u.base() != want.base || u.tls != want.tls || u.log != want.log {
			t.Errorf("%s: %+v, %v; want %+v", url, u, err, want)
		}
	}
	for url, want := range map[string]string{
		"":                            "expected master://",
		"http://127.0.0.1:1":          "expected master://",
		"master://127.0.0.1":          "HOST:PORT",
		"master://a:b":                "cannot be read",
		"server://topsecret@a:1":      "target address",
		"client://topsecret@a:1/b:no": "target address",
	} {
		_, err := readNodePassURL(url)
		if err == nil || !strings.Contains(err.Error(), want) || strings.Contains(err.Error(), "topsecret") {
			t.Errorf("%s: %v, want %q in it", url, err, want)
		}
	}
}

func TestACertificateThatCannotBeReadIsReplacedByOneMadeHere(t *testing.T) {
	var out bytes.Buffer
	u, err := readNodePassURL("master://127.0.0.1:1?tls=2&crt=none.pem&key=none.key&log=error")
	if err != nil {
		t.Fatal(err)
	}
	conf, err := u.secure(newNodePassLog(&out, u.log))
	if err != nil || len(conf.Certificates) != 1 || u.config().TLS != "1" {
		t.Errorf("%v, %v", conf, err)
	}
	if said := out.String(); !strings.Contains(said, "\x1b[31mERROR\x1b[0m  Certificate load failed") || strings.Count(said, "\n") != 1 {
		t.Errorf("it says %q", said)
	}
}

func TestAPrefixThatIsAnothersIsRefusedBeforeAnythingIsStarted(t *testing.T) {
	for _, args := range []string{"up --nodepass-prefix /v1/x", "gateway --nodepass-prefix /docs", "nodepass master://127.0.0.1:1/v1"} {
		dir := t.TempDir()
		root := newRoot()
		var said bytes.Buffer
		root.SetErr(&said)
		root.SetOut(io.Discard)
		args := strings.Fields(args)
		if args[0] != "gateway" {
			args = append(args, "--data-dir", dir)
		}
		root.SetArgs(args)
		err := root.ExecuteContext(t.Context())
		if err == nil || !strings.Contains(said.String()+err.Error(), "another API's") {
			t.Errorf("%q: %v, %s", args, err, said.String())
		}
		if _, err := os.Stat(filepath.Join(dir, "etcd")); err == nil {
			t.Errorf("%q started an etcd", args)
		}
	}
}

func TestLinesOfANodePassLog(t *testing.T) {
	at := time.Date(2026, 11, 20, 15, 36, 1, 257_000_000, time.Local)
	var out bytes.Buffer
	log := newNodePassLog(&out, "trace") // is none, and so info
	log.write(at, slog.LevelInfo, "Master started: /api/v1")
	if want := "2026-11-20 15:36:01.257  \x1b[32mINFO\x1b[0m  Master started: /api/v1\n"; out.String() != want {
		t.Errorf("%q, want %q", out.String(), want)
	}
	out.Reset()
	log.say(slog.LevelDebug, "no")
	log.parts().Info("no news")
	log.parts().With("node", "n").Warn("old news", "err", "a b")
	if said := out.String(); !strings.HasSuffix(said, "  \x1b[33mWARN\x1b[0m  old news node=\"n\" err=\"a b\"\n") || strings.Contains(said, "no\n") {
		t.Errorf("%q", said)
	}
}

func TestVariablesOfNodePass(t *testing.T) {
	var out bytes.Buffer
	t.Setenv("NP_SERVICE_COOLDOWN", "1s")
	t.Setenv("NP_UDP_READ_TIMEOUT", "ten")
	c := nodepassVariables(newNodePassLog(&out, ""))
	if c.Retry != time.Second || c.UDPIdle != 0 || !strings.Contains(out.String(), `NP_UDP_READ_TIMEOUT "ten" is not used`) {
		t.Errorf("%+v, %s", c, out.String())
	}
}

func TestTheBinaryIsWhatItIsCalled(t *testing.T) {
	for name, want := range map[string]string{"/usr/bin/nodepass": "nodepass", "configurable-http-proxy": "chp", "/signalbox": "x"} {
		if got := byName([]string{name, "x"}); got[0] != want || got[len(got)-1] != "x" {
			t.Errorf("%s: %q", name, got)
		}
	}
}

// As masters of 1.4.4, 1.7 and 1.14 answer.
const oldInstances = `[{"id":"********","alias":"","type":"","status":"","url":"0123456789abcdef0123456789abcdef","restart":false,"tcprx":0},
 {"id":"c03c5468","alias":"","type":"client","status":"stopped","url":"client://k@127.0.0.1:1/127.0.0.1:2","restart":false,"tcprx":7},
 {"id":"c03c5467","alias":"web","type":"server","status":"error","url":"server://127.0.0.1:1/127.0.0.1:2","restart":true,"tags":[{"key":"a","value":"b"}]},
 {"id":"c03c5469","alias":"","type":"server","status":"running","url":"server://127.0.0.1:1/127.0.0.1:2","config":"x","restart":true,
  "meta":{"peer":{"sid":"s","type":"t","alias":"n"},"tags":{"c":"d"}},"mode":1}]`

func TestInstancesOfAnOldMasterAreRead(t *testing.T) {
	const key = "0123456789abcdef0123456789abcdef"
	server := httptest.NewTLSServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		switch {
		case r.URL.Path == "/moved/v1/instances":
			http.Redirect(w, r, "/api/v1/instances", http.StatusFound)
		case r.URL.Path != "/api/v1/instances":
			http.NotFound(w, r)
		case r.Header.Get("X-API-Key") != key:
			w.WriteHeader(http.StatusUnauthorized)
		default:
			_, _ = w.Write([]byte(oldInstances))
		}
	}))
	defer server.Close()
	insecure := certfile.Client{Insecure: true}
	for _, path := range []string{"", "/", "/api", "/api/v1", "/api/v1/?x=y"} {
		old, err := newOldMaster(server.URL+path, key, insecure)
		if err != nil {
			t.Fatal(err)
		}
		all, err := old.instances(t.Context())
		if err != nil || len(all) != 3 || all[0].ID != "c03c5467" {
			t.Fatalf("%s: %+v, %v", path, all, err)
		}
		if i := all[0].record(); i.GetWanted() != signalboxv1.InstanceWanted_INSTANCE_WANTED_RUNNING || !i.GetRestart() || i.GetAlias() != "web" || i.GetTags()["a"] != "b" {
			t.Errorf("%v", i)
		}
		if i := all[1].record(); i.GetWanted() != signalboxv1.InstanceWanted_INSTANCE_WANTED_STOPPED || i.GetTags() != nil || i.GetPeer() != nil {
			t.Errorf("%v", i)
		}
		if i := all[2].record(); i.GetTags()["c"] != "d" || i.GetPeer().GetSid() != "s" || i.GetPeer().GetType() != "t" || i.GetPeer().GetAlias() != "n" {
			t.Errorf("%v", i)
		}
	}
	for _, c := range []struct {
		path, key, says string
		files           certfile.Client
	}{
		{"", "wrong", "refuses its key", insecure},
		{"/admin", key, "give the path", insecure},
		{"/moved", key, "sends elsewhere", insecure},
		{"", key, "certificate", certfile.Client{}},
	} {
		old, err := newOldMaster(server.URL+c.path, c.key, c.files)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := old.instances(t.Context()); err == nil || !strings.Contains(err.Error(), c.says) || strings.Contains(err.Error(), c.key) {
			t.Errorf("%s: %v, want %q in it", c.path, err, c.says)
		}
	}
}
