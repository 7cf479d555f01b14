package node

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"signalbox/node/certfile"
)

func TestConfigNamesTheFieldThatIsWrong(t *testing.T) {
	good := Config{ID: "n", ControlPlanes: []string{"cp:8002"}}
	if _, err := New(good); err != nil {
		t.Fatalf("a good one: %v", err)
	}
	for want, change := range map[string]func(*Config){
		`id: "a b"`: func(c *Config) { c.ID = "a b" },
		"control planes: at least one address is needed": func(c *Config) { c.ControlPlanes = nil },
		`control planes: "cp" is not of the form`:        func(c *Config) { c.ControlPlanes = []string{"cp"} },
		"key: it is given twice":                         func(c *Config) { c.Key, c.KeyFile = "a", "b" },
		`listener "A B": name`:                           func(c *Config) { c.Listeners = map[string]Listener{"A B": {Addr: ":1"}} },
		`listener "x": an address is needed`:             func(c *Config) { c.Listeners = map[string]Listener{"x": {}} },
		`listener "x": a certificate and its key`:        func(c *Config) { c.Listeners = map[string]Listener{"x": {Addr: ":1", TLS: certfile.Server{Key: "k"}}} },
		`listener "x": clients can be asked`: func(c *Config) {
			c.Listeners = map[string]Listener{"x": {Addr: ":1", TLS: certfile.Server{ClientCA: "c"}}}
		},
		"control plane TLS: a certificate and its key": func(c *Config) { c.TLS.Cert = "c" },
		"control plane TLS: open /nowhere":             func(c *Config) { c.TLS.CA = "/nowhere" },
		"admin address: 0.0.0.0:1 can be reached":      func(c *Config) { c.AdminAddr = "0.0.0.0:1" },
		"admin address: :1 can be reached":             func(c *Config) { c.AdminAddr = ":1" },
	} {
		c := good
		change(&c)
		if _, err := New(c); err == nil || !strings.HasPrefix(err.Error(), want) {
			t.Errorf("got %v, want %q", err, want)
		}
	}
}

func TestConfigHasUsefulDefaults(t *testing.T) {
	host, err := os.Hostname()
	if err != nil {
		t.Fatal(err)
	}
	c, err := Config{}.withDefaults()
	if err != nil || c.ID != host || c.Listeners["public"].Addr != ":8000" || c.DrainTimeout != 30*time.Second || c.Log == nil {
		t.Errorf("got %+v, %v", c, err)
	}
	if c, _ := (Config{DrainTimeout: -1}).withDefaults(); c.DrainTimeout != 0 {
		t.Errorf("a negative drain timeout is %v, want none", c.DrainTimeout)
	}
}

func TestKeyFileIsReadAnew(t *testing.T) {
	file := filepath.Join(t.TempDir(), "key")
	c, err := Config{KeyFile: file}.withDefaults()
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{"", "one", "two"} {
		if want != "" {
			if err := os.WriteFile(file, []byte(want+"\n"), 0o600); err != nil {
				t.Fatal(err)
			}
		}
		if got := c.key()(); got != want {
			t.Errorf("the key is %q, want %q", got, want)
		}
	}
}

func TestListenSaysWhichAddressIsTaken(t *testing.T) {
	p := newPlane(t, "cp1")
	free := Listener{Addr: "127.0.0.1:0"}
	n, err := New(Config{ID: "n", ControlPlanes: []string{p.addr}, AdminAddr: "127.0.0.1:0",
		Listeners: map[string]Listener{"a": free, "b": {Addr: p.addr}, "c": free}})
	if err != nil {
		t.Fatal(err)
	}
	if err := n.Run(t.Context()); err == nil || !strings.HasPrefix(err.Error(), `listener "b": listen tcp `+p.addr) {
		t.Errorf("Run returned %v", err)
	}
	if n.Addr("a") != "" {
		t.Error("the listener before it stays bound")
	}
}
