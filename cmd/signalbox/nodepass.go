package main

import (
	"context"
	"fmt"
	"log/slog"
	"path/filepath"
	"time"

	"github.com/spf13/cobra"

	"signalbox/node"
)

// nodepassName is the command's name, and what the binary may be called as, to
// be it.
const nodepassName = "nodepass"

// nodepassFlags are those of `signalbox nodepass` beside its URL.
type nodepassFlags struct {
	data   string
	grpc   string
	newKey bool
	shown  metricsFlags
}

func newNodePass() *cobra.Command {
	var f nodepassFlags
	cmd := &cobra.Command{
		Use:   nodepassName + " URL",
		Short: "Take the place of nodepass: a master with its API, or one tunnel",
		Long: `Takes the place of nodepass on one machine, also when the binary is called
nodepass. Its one argument says what runs:

  master://HOST:PORT[/PREFIX]?log=LEVEL&tls=0|1|2&crt=FILE&key=FILE
      NodePass's API at /PREFIX and /PREFIX/v1 (/api and /api/v1 if there is
      none), with a control plane, a node and an etcd in this process. The key
      of the API is printed once, when it is made.
  server://[KEY@]HOST:PORT/TARGET?PARAMETERS
  client://[KEY@]HOST:PORT/TARGET?PARAMETERS
      One end of a tunnel, without an API, until interrupted.`,
		Example: `  signalbox nodepass "master://0.0.0.0:9090/api?log=info&tls=1"
  signalbox nodepass "master://127.0.0.1:9090" --data-dir /var/lib/nodepass
  signalbox nodepass "server://0.0.0.0:10101/127.0.0.1:8080?log=debug"`,
		Args: cobra.ArbitraryArgs,
		RunE: func(cmd *cobra.Command, args []string) error {
			return runNodePass(cmd, args, &f)
		},
	}
	c := cmd.Flags()
	c.StringVar(&f.data, "data-dir", "nodepass-data", "directory for everything that a master keeps")
	c.StringVar(&f.grpc, "grpc-listen", "127.0.0.1:0", "address of a master's gRPC API, for the operator's client; a port that is free if not given")
	c.BoolVar(&f.newKey, "new-key", false, "make another API key in place of the master's, and print it: for when it is lost")
	f.shown.add(c)
	return cmd
}

// runNodePass carries out a command line of NodePass's, with its exit codes.
func runNodePass(cmd *cobra.Command, args []string, f *nodepassFlags) error {
	out, errs := cmd.OutOrStdout(), cmd.ErrOrStderr()
	if len(args) != 1 {
		_ = cmd.Help()
		return exitStatus(1)
	}
	u, err := readNodePassURL(args[0])
	if err != nil {
		_ = cmd.Help()
		_, _ = fmt.Fprintln(errs, "\nerror:", err)
		return exitStatus(1)
	}
	log := newNodePassLog(out, u.log)
	run := func(ctx context.Context) error { return f.master(ctx, u, log) }
	if u.tunnel != "" {
		run = func(ctx context.Context) error { return runTunnel(ctx, u.tunnel, nodepassVariables(log), log) }
	}
	err = run(cmd.Context())
	if cmd.Context().Err() == nil && err != nil {
		_, _ = fmt.Fprintln(errs, "error:", byMasterURL(describe(err)))
		return exitStatus(1)
	}
	return nil
}

// master serves until ctx ends.
func (f *nodepassFlags) master(ctx context.Context, u *nodepassURL, log *nodepassLog) error {
	log.say(slog.LevelDebug, "Init log level: %s", log.level())
	w, err := f.whole(u, log)
	if err != nil {
		return err
	}
	opened, prepared := make(chan struct{}), make(chan *nodepassMaster, 1)
	w.plane.opened, w.plane.until = opened, ctx.Done() // panels are told first that it ends
	w.prepare = func(ctx context.Context, pl *plane) error {
		m := &nodepassMaster{conn: pl.conn, key: pl.flags.admin, log: log}
		if err := m.prepare(ctx, f.newKey); err != nil {
			return err
		}
		prepared <- m
		return nil
	}
	stopped := func() {}
	defer func() { stopped() }()
	w.ready = func(ctx context.Context, _ *plane, _ *node.Node) {
		stopped = notifyReady(ctx, w.log)
		log.say(slog.LevelInfo, "Master started: %s%s", u.addr, u.base())
		close(opened)
	}
	w.beside = append(w.beside, func(ctx context.Context) error {
		select {
		case m := <-prepared:
			m.tellLines(ctx)
		case <-ctx.Done():
		}
		return nil
	})
	easeCollection()
	return w.shown.with(ctx, w.run)
}

// whole is the control plane, the gateway and the node of a master. Of addresses
// only that of metrics is bound yet.
func (f *nodepassFlags) whole(u *nodepassURL, log *nodepassLog) (*whole, error) {
	secure, err := u.secure(log)
	if err != nil {
		return nil, err
	}
	p := &planeFlags{
		id: nodepassName, grpc: f.grpc, plaintext: true, lease: 5 * time.Second, reports: time.Second,
		gateway: gatewayFlags{addr: u.addr, wait: 5 * time.Second, nodepass: nodepassGateway{u.config(), secure}},
	}
	parts := log.parts()
	w := &whole{log: parts}
	if err := f.keep(p, w); err != nil {
		return nil, err
	}
	if w.plane, err = p.check(parts); err != nil {
		return nil, err
	}
	if w.shown, err = f.shown.listen(nodepassName, true, parts); err != nil {
		return nil, err
	}
	w.open = func(ctx context.Context) (*store, error) {
		return openEmbedded(ctx, filepath.Join(f.data, "etcd"), parts)
	}
	w.node = node.Config{
		ID: nodepassName, Version: version, Listeners: map[string]node.Listener{}, // no public traffic
		DrainTimeout: -1, StateDir: filepath.Join(f.data, "node"), Log: parts,
		Tunnels: nodepassVariables(log),
	}
	return w, nil
}

// keep makes the directory and the secrets that are this process's own.
func (f *nodepassFlags) keep(p *planeFlags, w *whole) (err error) {
	u := upFlags{data: f.data}
	_, w.nodeKey, err = u.keys()
	p.admin = u.plane.admin
	return err
}
