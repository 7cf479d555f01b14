package main

import (
	"context"
	"fmt"
	"log/slog"
	"os"
	"runtime/debug"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"signalbox/node"
	"signalbox/node/certfile"
)

// nodeFlags are a node's, in `node` and in `up`.
type nodeFlags struct {
	id        string
	listen    []string
	tls       serverTLS
	labels    []string
	admin     string
	remote    bool
	drain     time.Duration
	unix      bool
	upstreams certfile.Client
	accessLog int
}

// add adds what a node does with its traffic; where it is fed from is said
// elsewhere.
func (n *nodeFlags) add(f *pflag.FlagSet, listen string, drain time.Duration) {
	f.StringVar(&n.id, "id", "", "name of the node; the host name if not given")
	f.StringSliceVar(&n.listen, "listen", []string{listen}, "address for public traffic, or LISTENER=ADDRESS; may be repeated")
	n.tls.add(f, "", "public traffic")
	f.StringSliceVar(&n.labels, "label", nil, "label of the node, KEY=VALUE; may be repeated")
	f.StringVar(&n.admin, "admin-listen", "", "address of the admin endpoint: health, and for this machine, with the node's key, the table and profiles; none if not given")
	f.BoolVar(&n.remote, "admin-remote", false, "allow --admin-listen to be other than a loopback address; only health is answered to other machines")
	f.DurationVar(&n.drain, "drain-timeout", drain, "how long running exchanges may take to end at a stop")
	f.BoolVar(&n.unix, "allow-unix-upstreams", false, "let routes reach unix sockets of this machine")
	f.StringVar(&n.upstreams.CA, "upstream-ca", "", "certificate authorities (PEM) that https upstreams and error targets must have a certificate of, where their route does not say otherwise; the system's if not given")
	f.StringVar(&n.upstreams.Cert, "upstream-cert", "", "client certificate file (PEM) to show to https upstreams and error targets; read again when it changes")
	f.StringVar(&n.upstreams.Key, "upstream-cert-key", "", "private key file (PEM) of that certificate")
	f.BoolVar(&n.upstreams.Insecure, "upstream-insecure", false, "take any certificate of https upstreams and error targets: whoever stands between can then read and change everything")
	f.IntVar(&n.accessLog, "access-log", 0, "log every n-th exchange; 1 is all, 0 only failures, -1 nothing")
}

// config is the node that the flags describe.
func (n *nodeFlags) config(log *slog.Logger) (node.Config, error) {
	labels, err := labelMap(n.labels)
	if err != nil {
		return node.Config{}, err
	}
	if n.admin != "" && !n.remote {
		if local, err := loopback("admin-listen", n.admin); err != nil {
			return node.Config{}, err
		} else if !local {
			return node.Config{}, &usageError{fmt.Errorf("--admin-listen %s is not a loopback address: give --admin-remote to answer other machines about health", n.admin)}
		}
	}
	c := node.Config{
		ID: n.id, Labels: labels, Listeners: map[string]node.Listener{},
		AdminAddr: n.admin, AllowRemoteAdmin: n.remote,
		DrainTimeout: n.drain, AllowUnixUpstreams: n.unix, AccessLogSample: n.accessLog, Upstreams: n.upstreams,
		Log: log, Version: version,
	}
	for _, l := range n.listen {
		name, addr, named := strings.Cut(l, "=")
		if !named {
			name, addr = "public", l
		}
		if err := checkAddress("listen", addr); err != nil {
			return node.Config{}, err
		}
		if _, twice := c.Listeners[name]; twice {
			return node.Config{}, &usageError{fmt.Errorf("--listen names the listener %q twice", name)}
		}
		c.Listeners[name] = node.Listener{Addr: addr, TLS: n.tls.Server}
	}
	return c, nil
}

// check says what is wrong with the flags, before anything is started.
func (n *nodeFlags) check(log *slog.Logger) error {
	if _, err := n.config(log); err != nil {
		return err
	}
	if _, err := n.upstreams.Config(); err != nil {
		return &usageError{fmt.Errorf("--upstream-ca, --upstream-cert, --upstream-cert-key: %w", err)}
	}
	_, err := n.tls.config(log)
	return err
}

// easeCollection lets garbage grow to four times of what is live. A node makes a
// lot of it and keeps little, so that Go's default of once would collect many
// times a second. Who sets GOGC or GOMEMLIMIT has decided otherwise.
func easeCollection() {
	if os.Getenv("GOGC") == "" && os.Getenv("GOMEMLIMIT") == "" {
		debug.SetGCPercent(400)
	}
}

func newNode() *cobra.Command {
	var (
		n         nodeFlags
		l         logFlags
		addresses []string
		to        clientTLS
		key       keyFlags
		state     string
		identity  string
		plaintext bool
		m         metricsFlags
	)
	cmd := &cobra.Command{
		Use:   "node",
		Short: "Run one proxy node",
		Long: `Runs a node: it serves public traffic by the routes that control planes feed it,
and reports what it carried. It keeps a stream to every control plane, is fed by
one, and goes on with what it has when there is none. It joins with an API key
of scope "node"; where control planes want a certificate, the key gets it.`,
		Example: `  signalbox node --controlplane cp1.internal:8002,cp2.internal:8002 --controlplane-ca ca.pem \
    --listen :80 --key-file /etc/signalbox/node.key --state-dir /var/lib/signalbox-node`,
		Args: noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			log, err := l.logger(cmd.ErrOrStderr())
			if err != nil {
				return err
			}
			c, err := n.config(log)
			if err != nil {
				return err
			}
			c.ControlPlanes, c.AllowPlaintext, c.StateDir = addresses, plaintext, state
			c.Key, c.KeyFile = key.key, key.file
			c.TLS, c.IdentityDir = to.Client, identity
			running, err := node.New(c)
			if err != nil {
				return &usageError{err}
			}
			shown, err := m.listen("node", plaintext, log)
			if err != nil {
				return err
			}
			if err := running.Listen(cmd.Context()); err != nil {
				return bindHint(err)
			}
			shown.add(running)
			shown.certificates(running.Certificates)
			easeCollection()
			return shown.with(cmd.Context(), func(ctx context.Context) error {
				defer notifyReady(ctx, log)()
				return running.Run(ctx)
			})
		},
	}
	f := cmd.Flags()
	f.StringSliceVar(&addresses, "controlplane", []string{"127.0.0.1:8002"}, "gRPC address of a control plane, HOST:PORT; several may be given, and one names the others")
	to.add(f, "controlplane-", "control planes")
	key.add(f)
	f.StringVar(&state, "state-dir", "", "directory for the last-known-good table, to start from when no control plane answers; none if not given")
	f.StringVar(&identity, "identity-dir", "", "directory for a certificate of the node's own: it is got from a control plane with the key, connected with, and renewed; none if not given")
	n.add(f, ":8000", 30*time.Second)
	m.add(f)
	f.BoolVar(&plaintext, "allow-plaintext", false, "allow control planes other than on loopback to be reached without TLS, and --metrics-listen to have none: the key, or the token, crosses the network in the clear")
	l.add(f)
	return cmd
}
