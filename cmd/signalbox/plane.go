package main

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"os"
	"strings"
	"sync"
	"time"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
	"golang.org/x/sync/errgroup"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials"

	"signalbox/controlplane"
)

// planeFlags are a control plane's, in `controlplane` and in `up`.
type planeFlags struct {
	id, advertise  string
	grpc           string
	grpcTLS        serverTLS
	nodes          nodeCAFlags
	gateway        gatewayFlags
	plaintext      bool
	admin, chp     string
	adminFile      string // holds admin, where that is not given
	lease, reports time.Duration
}

func (p *planeFlags) add(f *pflag.FlagSet) {
	f.StringVar(&p.id, "controlplane-id", "", "name of this replica; host name and gRPC port if not given")
	f.StringVar(&p.grpc, "grpc-listen", "127.0.0.1:8002", "address of the gRPC API, for nodes, gateways and grpcurl")
	f.StringVar(&p.advertise, "advertise", "", "HOST:PORT at which nodes reach the gRPC API; by default --grpc-listen, or the machine's name where that is every address")
	p.grpcTLS.add(f, "grpc-", "the gRPC API")
	f.Lookup("grpc-tls-client-ca").Usage += "; with --node-ca-cert, all but nodes, which have theirs of that"
	p.nodes.add(f)
	p.gateway.add(f)
	f.BoolVar(&p.plaintext, "allow-plaintext", false, "allow addresses other than loopback without TLS: keys cross the network in the clear")
	f.StringVar(&p.admin, "admin-key", "", "secret of the API key \"bootstrap\"; better given as SIGNALBOX_ADMIN_KEY or by --admin-key-file")
	f.StringVar(&p.adminFile, "admin-key-file", "", "file that holds the secret of the API key \"bootstrap\"")
	f.StringVar(&p.chp, "chp-token", "", "secret of the API key \"chp\", for the CHP API; better given as SIGNALBOX_CHP_TOKEN or CONFIGPROXY_AUTH_TOKEN")
	f.DurationVar(&p.lease, "lease-ttl", 5*time.Second, "how long a silent control plane or node counts as present")
	f.DurationVar(&p.reports, "report-interval", time.Second, "how often nodes report what they carried")
}

// A plane is a control plane with its gateway: its flags are checked, and once
// it listens, its addresses are bound.
type plane struct {
	flags   *planeFlags
	config  controlplane.Config
	grpc    net.Listener
	api     net.Listener // nil without a gateway
	gateway *http.Server
	front   net.Listener             // the gateway's own way to the gRPC API
	conn    grpc.ClientConnInterface // over the same; nil without a gateway
	// opened is when the gateway begins to answer; nil is at once.
	opened <-chan struct{}
	// until ends the gateway, where that is to be before all else ends; nil is
	// with all else.
	until   <-chan struct{}
	node    net.Listener // the own way of a node in this process, when others need TLS
	secure  *tls.Config  // of the gRPC API; nil in the clear
	creds   credentials.TransportCredentials
	metrics *metrics     // nil for none
	failed  <-chan error // says that the store in this process has ended
	close   func()
	log     *slog.Logger
}

// check returns a plane whose flags are right, as far as they can be checked
// before there is a store.
func (p *planeFlags) check(log *slog.Logger) (*plane, error) {
	if err := checkAdvertise(p.advertise); err != nil {
		return nil, err
	}
	if err := p.readAdminKey(); err != nil {
		return nil, err
	}
	certifier, err := p.nodes.certifier(&p.grpcTLS, log)
	if err != nil {
		return nil, err
	}
	secure, err := p.grpcTLS.config(log)
	if err != nil {
		return nil, err
	}
	if err := guard("grpc-listen", p.grpc, secure != nil, p.plaintext); err != nil {
		return nil, err
	}
	if err := p.gateway.check(p.plaintext, log); err != nil {
		return nil, err
	}
	pl := &plane{flags: p, log: log, secure: secure, close: func() {}}
	pl.config.Certifier = certifier
	// Without an authority for nodes, TLS itself refuses who shows none.
	pl.config.NeedCertificate = certifier != nil && p.grpcTLS.ClientCA != ""
	if secure != nil {
		pl.creds = credentials.NewTLS(secure)
	}
	return pl, nil
}

// readAdminKey takes the admin key from its file. One that is named must hold a
// key: without it another would be made, which nobody knows.
func (p *planeFlags) readAdminKey() error {
	switch {
	case p.adminFile == "":
		return nil
	case p.admin != "":
		return &usageError{errors.New("--admin-key (SIGNALBOX_ADMIN_KEY) and --admin-key-file are alternatives")}
	}
	text, err := os.ReadFile(p.adminFile)
	if err != nil {
		return &usageError{fmt.Errorf("--admin-key-file: %w", err)}
	}
	if p.admin = strings.TrimSpace(string(text)); p.admin == "" {
		return &usageError{fmt.Errorf("--admin-key-file: %s holds no key", p.adminFile)}
	}
	return nil
}

// listen binds the addresses of a plane that works on a store.
func (pl *plane) listen(ctx context.Context, kept *store) (err error) {
	p, log := pl.flags, pl.log
	pl.failed = kept.failed
	if pl.grpc, err = listenTCP("grpc-listen", p.grpc); err != nil {
		return err
	}
	if err := pl.listenAPI(); err != nil { //nolint:contextcheck // binding an address takes no time
		_ = pl.grpc.Close()
		return err
	}
	port := pl.grpc.Addr().(*net.TCPAddr).Port
	pl.config = controlplane.Config{
		ID: p.id, Address: p.advertised(ctx, port, log), Version: version,
		Records: kept.keeper, Notes: kept.keeper, Backups: kept.backups,
		AdminKey: p.admin, CHPToken: p.chp, Certifier: pl.config.Certifier, NeedCertificate: pl.config.NeedCertificate,
		LeaseTTL: p.lease, ReportInterval: p.reports,
		Log: log,
	}
	if pl.config.ID == "" {
		host, _ := os.Hostname()
		pl.config.ID = fmt.Sprintf("%s-%d", host, port)
	}
	return nil
}

// listenAPI binds the gateway's address and makes the gateway.
func (pl *plane) listenAPI() error {
	if pl.flags.gateway.off() {
		return nil
	}
	local, conn, err := inProcess()
	if err != nil {
		return err
	}
	if pl.gateway, pl.api, err = pl.flags.gateway.listen(conn, pl.flags.plaintext, pl.log); err != nil {
		_ = conn.Close()
		return err
	}
	pl.front, pl.conn = local, conn
	pl.close = func() { _ = conn.Close() }
	return nil
}

// local is the address at which a node in this process reaches the gRPC API:
// without TLS, and so on a loopback address of its own if there is any.
func (pl *plane) local() (string, error) {
	if pl.creds == nil {
		return pl.grpc.Addr().String(), nil
	}
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return "", err
	}
	pl.node = ln
	return ln.Addr().String(), nil
}

// abandon gives up a plane that was not run.
func (pl *plane) abandon() {
	pl.close()
	for _, ln := range []net.Listener{pl.grpc, pl.api, pl.front, pl.node} {
		if ln != nil {
			_ = ln.Close()
		}
	}
}

// run serves until ctx ends, or the store in this process does.
func (pl *plane) run(ctx context.Context) error {
	defer pl.close()
	endpoints := []controlplane.Endpoint{{Listener: pl.grpc, Credentials: pl.creds}}
	for _, own := range []net.Listener{pl.front, pl.node} {
		if own != nil {
			endpoints = append(endpoints, controlplane.Endpoint{Listener: own})
		}
	}
	// The gateway stops first, so that its requests can end.
	planeCtx, stopPlane := context.WithCancel(context.WithoutCancel(ctx))
	g, gctx := errgroup.WithContext(ctx)
	cp := controlplane.New(pl.config)
	pl.metrics.add(cp)
	g.Go(func() error { return cp.Run(planeCtx, endpoints...) })
	g.Go(func() error {
		defer stopPlane()
		if pl.gateway == nil {
			<-gctx.Done()
			return nil
		}
		if pl.opened != nil {
			select {
			case <-pl.opened:
			case <-gctx.Done():
			}
		}
		return pl.serve(gctx)
	})
	g.Go(func() error {
		select {
		case err := <-pl.failed:
			return fmt.Errorf("the store in this process has ended, and with it this process: %w", err)
		case <-gctx.Done():
			return nil
		}
	})
	return g.Wait()
}

// serve serves the gateway, and returns when ctx ends, or it cannot.
func (pl *plane) serve(ctx context.Context) error {
	serving, end := context.WithCancel(ctx)
	var watching sync.WaitGroup
	watching.Go(func() {
		select {
		case <-pl.until:
			end()
		case <-serving.Done():
		}
	})
	err := serveHTTP(serving, pl.gateway, pl.api, pl.log)
	end()
	watching.Wait()
	if err == nil {
		<-ctx.Done() // others go on
	}
	return err
}

func newControlPlane() *cobra.Command {
	var (
		p    planeFlags
		e    etcdFlags
		m    metricsFlags
		l    logFlags
		data string
	)
	cmd := &cobra.Command{
		Use:   "controlplane",
		Short: "Run a control plane with its gateway, on an etcd",
		Long: `Runs one control plane replica: the gRPC API, the feed to nodes, and, unless
--api-listen is "off", the gateway in front of it. Any number of replicas work
on one etcd; none needs another to be there. Without --etcd, an etcd runs in
this process and keeps its data in --data-dir; then this is the only replica.`,
		Example: `  signalbox controlplane --etcd http://10.0.0.1:2379,http://10.0.0.2:2379 \
    --grpc-listen :8002 --grpc-tls-cert cp.pem --grpc-tls-key cp.key --advertise cp1.internal:8002
  signalbox controlplane --data-dir /var/lib/signalbox`,
		Args: noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			log, err := l.logger(cmd.ErrOrStderr())
			if err != nil {
				return err
			}
			if err := chpTokenFromCHP(&p); err != nil {
				return err
			}
			shown, err := m.listen("controlplane", p.plaintext, log)
			if err != nil {
				return err
			}
			return shown.with(cmd.Context(), func(ctx context.Context) error {
				return runControlPlane(ctx, &p, &e, data, shown, cmd.OutOrStdout(), log)
			})
		},
	}
	f := cmd.Flags()
	f.StringVar(&data, "data-dir", "", "directory of the etcd in this process")
	e.add(f)
	p.add(f)
	m.add(f)
	l.add(f)
	return cmd
}

// runControlPlane runs one until ctx ends.
func runControlPlane(ctx context.Context, p *planeFlags, e *etcdFlags, data string, shown *metrics, out io.Writer, log *slog.Logger) error {
	pl, err := p.check(log)
	if err != nil {
		return err
	}
	kept, err := openStore(ctx, e, data, log)
	if err != nil {
		return err
	}
	defer kept.close()
	if err := pl.listen(ctx, kept); err != nil {
		return err
	}
	shown.addPlane(pl)
	shown.addStore(kept)
	stopped := func() {}
	defer func() { stopped() }()
	pl.config.Ready = func(made string) {
		stopped = notifyReady(ctx, log)
		if made != "" {
			_, _ = fmt.Fprintf(out, "The first admin key, shown this once:\n\n  %s\n\n", made)
		}
		log.Info("control plane ready", "controlplane", pl.config.ID)
	}
	return pl.run(ctx)
}
