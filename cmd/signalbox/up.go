package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"signalbox/controlplane/auth"
	"signalbox/node"
)

// upFlags are those of `signalbox up`.
type upFlags struct {
	plane planeFlags
	node  nodeFlags
	shown metricsFlags
	log   logFlags
	data  string
	demo  string

	expose bool // as in a container
}

func newUp() *cobra.Command {
	var u upFlags
	cmd := &cobra.Command{
		Use:   "up",
		Short: "Run everything in one process, on an etcd of its own",
		Long: `Runs a control plane, its gateway, one node and an etcd in one process: the
quick start, and a small installation for real. Everything is kept in
--data-dir. More nodes can join at --grpc-listen.`,
		Example: `  signalbox up
  signalbox up --data-dir /var/lib/signalbox --listen :80 --demo-listen off`,
		Args: noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			log, err := u.log.logger(cmd.ErrOrStderr())
			if err != nil {
				return err
			}
			if err := chpTokenFromCHP(&u.plane); err != nil {
				return err
			}
			if u.expose {
				u.openUp(cmd.Flags())
			}
			shown, err := u.shown.listen("up", u.plane.plaintext, log)
			if err != nil {
				return err
			}
			return shown.with(cmd.Context(), func(ctx context.Context) error {
				return u.run(ctx, shown, cmd.OutOrStdout(), log)
			})
		},
	}
	f := cmd.Flags()
	f.StringVar(&u.data, "data-dir", "signalbox-data", "directory for everything that is kept")
	f.BoolVar(&u.expose, "expose", false, "listen at every address of this machine where nothing else is said, and in the clear without certificates: for a container, whose image sets SIGNALBOX_EXPOSE")
	f.StringVar(&u.demo, "demo-listen", "127.0.0.1:8003", "address of a small upstream to try things with; \"off\" for none")
	u.plane.add(f)
	u.node.add(f, "127.0.0.1:8000", 5*time.Second)
	u.shown.add(f)
	u.log.add(f)
	return cmd
}

// openUp has the parts listen at every address, unless an address was given.
// The demo upstream is for the node beside it, and stays where it is.
func (u *upFlags) openUp(f *pflag.FlagSet) {
	for flag, addr := range map[string]string{"listen": ":8000", "api-listen": ":8001", "grpc-listen": ":8002"} {
		if !f.Changed(flag) {
			_ = f.Set(flag, addr) // takes any text
		}
	}
	u.plane.plaintext = true
}

// run runs the whole until ctx ends.
func (u *upFlags) run(ctx context.Context, shown *metrics, out io.Writer, log *slog.Logger) error {
	pl, err := u.plane.check(log)
	if err != nil {
		return err
	}
	if err := u.node.check(log); err != nil {
		return err
	}
	adminFile, nodeKey, err := u.keys()
	if err != nil {
		return err
	}
	c, err := u.node.config(log)
	if err != nil {
		return err
	}
	c.StateDir = filepath.Join(u.data, "node")
	stopped := func() {}
	defer func() { stopped() }()
	w := &whole{
		plane: pl, node: c, nodeKey: nodeKey, shown: shown, log: log,
		open: func(ctx context.Context) (*store, error) {
			return openEmbedded(ctx, filepath.Join(u.data, "etcd"), log)
		},
		beside: []func(context.Context) error{func(ctx context.Context) error { return u.serveDemo(ctx, log) }},
		ready: func(ctx context.Context, pl *plane, n *node.Node) {
			stopped = notifyReady(ctx, log)
			u.say(out, pl, n, adminFile)
		},
	}
	return w.run(ctx)
}

// keys finds the secrets of the admin's key and of the node's, or makes them:
// they are kept beside the data, for their owner alone.
func (u *upFlags) keys() (adminFile, nodeKey string, err error) {
	if err := os.MkdirAll(u.data, 0o700); err != nil {
		return "", "", fmt.Errorf("--data-dir: %w", err)
	}
	adminFile = u.plane.adminFile
	if u.plane.admin == "" {
		adminFile = filepath.Join(u.data, "admin.key")
		if u.plane.admin, err = keepSecret(adminFile); err != nil {
			return "", "", err
		}
	}
	nodeKey, err = keepSecret(filepath.Join(u.data, "node.key"))
	return adminFile, nodeKey, err
}

// keepSecret returns what a file holds, or a new secret that it holds from
// now on.
func keepSecret(file string) (string, error) {
	text, err := os.ReadFile(file) //nolint:gosec // below the operator's own directory
	if err == nil && strings.TrimSpace(string(text)) != "" {
		return strings.TrimSpace(string(text)), nil
	}
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return "", err
	}
	secret := auth.NewSecret()
	return secret, os.WriteFile(file, []byte(secret+"\n"), 0o600)
}

// serveDemo serves the demo upstream, unless it is off.
func (u *upFlags) serveDemo(ctx context.Context, log *slog.Logger) error {
	if u.demoOff() {
		return nil
	}
	ln, err := listenTCP("demo-listen", u.demo)
	if err != nil {
		return err
	}
	server := &http.Server{Handler: http.HandlerFunc(demo), ReadHeaderTimeout: 10 * time.Second}
	return serveHTTP(ctx, server, ln, log)
}

// say prints what to try.
func (u *upFlags) say(out io.Writer, pl *plane, n *node.Node, adminFile string) {
	key := "$SIGNALBOX_ADMIN_KEY"
	if adminFile != "" {
		key = "$(cat " + adminFile + ")"
	}
	public := urlOf(n.Addr("public"), u.node.tls.Cert != "")
	_, _ = fmt.Fprintf(out, "\nSignalbox %s is up.\n\n  public traffic  %s\n  gRPC API        %s\n", version, public, pl.grpc.Addr())
	api := ""
	if pl.api != nil {
		api = urlOf(pl.api.Addr().String(), u.plane.gateway.tls.Cert != "")
		_, _ = fmt.Fprintf(out, "  HTTP APIs       %s   (try them at %s/docs)\n", api, api)
	}
	if !u.demoOff() {
		_, _ = fmt.Fprintf(out, "  demo upstream   %s\n", urlOf(u.demo, false))
	}
	if api != "" && !u.demoOff() {
		_, _ = fmt.Fprintf(out, tryIt, key, u.demo, api, public)
	}
	_, _ = fmt.Fprintf(out, "\nCtrl-C ends it. What was written stays in %s.\n\n", u.data)
}

// urlOf is where an address that is listened on can be reached from here.
func urlOf(addr string, encrypted bool) string {
	if host, port, err := net.SplitHostPort(addr); err == nil && net.ParseIP(host).IsUnspecified() {
		addr = net.JoinHostPort("localhost", port)
	}
	if encrypted {
		return "https://" + addr
	}
	return "http://" + addr
}

// tryIt is to be filled with the admin key, the demo upstream, and where the
// HTTP APIs and public traffic are.
const tryIt = `
Add a route to the demo upstream, wait until the node serves it, and use it:

  curl -H "Authorization: Bearer %s" -d '{
    "route": {"name": "hello", "match": {"pathPrefix": "/hello"}, "upstreams": [{"url": "http://%s"}]},
    "wait": "nodes"}' %s/v1/routes
  curl %s/hello
`

func (u *upFlags) demoOff() bool { return u.demo == "off" || u.demo == "" }
