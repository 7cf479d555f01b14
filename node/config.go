package node

import (
	"bytes"
	"cmp"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/netip"
	"os"
	"slices"
	"strings"
	"time"

	"signalbox/node/certfile"
	"signalbox/node/proxy"
	"signalbox/node/tunnel"
	"signalbox/proto/rules"
)

// Config is every knob of a node. ControlPlanes must be set.
type Config struct {
	// ID is the node's name. Of two processes with one name the one started
	// later is the node. Default: the host name.
	ID string
	// ControlPlanes are where to find control planes, "host:port". One is
	// enough, it names the others; a name stands for all its addresses.
	ControlPlanes []string
	// Key is the API key to join with; KeyFile is a file that holds it, read
	// anew on every connection. At most one of them.
	Key, KeyFile string
	// IdentityDir is where a certificate of the node's own is kept, which it
	// gets from control planes with the key, and connects with from then on.
	// It needs TLS. Default: nowhere, the node connects with the key.
	IdentityDir string
	// TLS is how control planes are reached. Default: in the clear.
	TLS certfile.Client
	// AllowPlaintext lets the key travel in the clear to other machines.
	AllowPlaintext bool
	// Labels are told to control planes, for operators to list nodes by.
	Labels map[string]string

	// Listeners are the addresses for public traffic, by listener name.
	// Default, for nil: "public" on ":8000".
	Listeners map[string]Listener
	// StateDir is where the last-known-good file is kept. Default: nowhere.
	StateDir string
	// AdminAddr is where the admin endpoint listens, "host:port". Default:
	// nowhere. AllowRemoteAdmin must be set unless the host is this one's.
	AdminAddr        string
	AllowRemoteAdmin bool
	// DrainTimeout is how long running exchanges may take to end when the
	// node stops. Default 30 s; negative is not at all.
	DrainTimeout time.Duration
	// InProcess says that the process is more than this node, so that the node
	// rejects what is wanted of it when that would stop the process.
	InProcess bool
	// AllowUnixUpstreams lets whoever may write routes reach the unix sockets
	// of this machine.
	AllowUnixUpstreams bool
	// Upstreams says which certificates https upstreams, and those asked for
	// error pages, must have and are shown, where a route does not say
	// otherwise. Default: of the system's authorities, and none.
	Upstreams certfile.Client
	// Tunnels is how tunnel instances are run; its Node and Lines are the node's
	// own.
	Tunnels tunnel.Config
	// Hold is how long requests that come before the node has a table wait for
	// one, instead of being answered 503. Default: not at all.
	Hold time.Duration
	// Observe is told of every exchange when it is over, by many goroutines at
	// once, and must not wait for anything. Default: nobody is.
	Observe func(proxy.Exchange)
	// AccessLogSample logs every n-th exchange. Default 0: only failures;
	// 1 is all, -1 nothing.
	AccessLogSample int

	// Log gets everything there is to say. Default: nobody does.
	Log *slog.Logger
	// Version of the software, told to control planes.
	Version string

	quiet time.Duration // quietTime outside tests
}

// A Listener is where public traffic of one listener name comes in.
type Listener struct {
	// Addr is what to listen on, "host:port", or "unix:" and the path of a
	// socket.
	Addr string
	// TLS names its certificate. Default: in the clear.
	TLS certfile.Server
}

// defaults of what is not said.
const (
	defaultListener = "public"
	defaultAddr     = ":8000"
	defaultDrain    = 30 * time.Second
)

// withDefaults returns c with what was left out filled in.
func (c Config) withDefaults() (Config, error) {
	if c.ID == "" {
		host, err := os.Hostname()
		if err != nil {
			return c, fmt.Errorf("id: the host name cannot be read: %w", err)
		}
		c.ID = host
	}
	if c.Listeners == nil {
		c.Listeners = map[string]Listener{defaultListener: {Addr: defaultAddr}}
	}
	c.quiet = cmp.Or(c.quiet, quietTime)
	c.DrainTimeout = max(cmp.Or(c.DrainTimeout, defaultDrain), 0)
	if c.Log == nil {
		c.Log = slog.New(slog.DiscardHandler)
	}
	c.Log = c.Log.With("node", c.ID)
	return c, nil
}

// check names the field that is wrong.
func (c *Config) check() error {
	if err := rules.NodeName(c.ID); err != nil {
		return fmt.Errorf("id: %q %w", c.ID, err)
	}
	if c.Key != "" && c.KeyFile != "" {
		return errors.New("key: it is given twice, as itself and as a file")
	}
	// One that is not there may come yet; an empty one is a mishap.
	if text, err := os.ReadFile(c.KeyFile); err == nil && len(bytes.TrimSpace(text)) == 0 {
		return fmt.Errorf("key file: %s is empty", c.KeyFile)
	}
	for name, l := range c.Listeners {
		if err := rules.Listener(listenerRecord(name)); err != nil {
			return fmt.Errorf("listener %q: %w", name, err)
		}
		if err := l.check(); err != nil {
			return fmt.Errorf("listener %q: %w", name, err)
		}
	}
	if err := c.TLS.Check(); err != nil {
		return fmt.Errorf("control plane TLS: %w", err)
	}
	if c.IdentityDir != "" && (c.TLS == certfile.Client{} || c.TLS.Cert != "") {
		return errors.New("identity folder: it needs TLS to control planes, and no other client certificate")
	}
	if c.AdminAddr != "" && !c.AllowRemoteAdmin && !onLoopback(c.AdminAddr) {
		return fmt.Errorf("admin address: %s can be reached from other machines, and that must be allowed explicitly", c.AdminAddr)
	}
	return nil
}

func (l Listener) check() error {
	if l.Addr == "" {
		return errors.New("an address is needed")
	}
	return l.TLS.Check()
}

// onLoopback reports whether only this machine can reach an address.
func onLoopback(addr string) bool {
	host, _, err := net.SplitHostPort(addr)
	if err != nil {
		return false
	}
	ip, err := netip.ParseAddr(host)
	return err == nil && ip.IsLoopback() || host == "localhost"
}

// key returns what reads the node's key.
func (c *Config) key() func() string {
	if c.KeyFile == "" {
		return func() string { return c.Key }
	}
	return func() string {
		b, err := os.ReadFile(c.KeyFile)
		if err != nil {
			c.Log.Error("key file cannot be read", "err", err)
			return ""
		}
		return strings.TrimSpace(string(b))
	}
}

// names are the listeners' names in order.
func (c *Config) names() []string {
	names := make([]string, 0, len(c.Listeners))
	for name := range c.Listeners {
		names = append(names, name)
	}
	slices.Sort(names)
	return names
}
