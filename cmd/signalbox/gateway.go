package main

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"time"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
	"google.golang.org/grpc"

	"signalbox/gateway"
	"signalbox/gateway/chp"
	"signalbox/gateway/nodepass"
)

// gatewayFlags are a gateway's, alone and in a control plane.
type gatewayFlags struct {
	addr    string
	tls     serverTLS
	origins []string
	hosts   bool
	wait    time.Duration

	prefixes []string // of NodePass's API, beside /api

	chp      chpGateway      // of `signalbox chp`
	nodepass nodepassGateway // of `signalbox nodepass`
}

// nodepassGateway is what a gateway is only as a NodePass master.
type nodepassGateway struct {
	config nodepass.Config // its Prefixes are all there are
	secure *tls.Config     // in place of certificate files
}

// chpGateway is what a gateway does only as a drop-in for CHP.
type chpGateway struct {
	anonymous string         // the key of CHP calls without one; empty for none
	observe   func(chp.Call) // is told of CHP calls; nil for nobody
	only      bool           // what no API has is answered as by CHP
	live      *liveActivity  // what has not been reported yet; nil where that is not to be known
}

func (g *gatewayFlags) add(f *pflag.FlagSet) {
	f.StringVar(&g.addr, "api-listen", "127.0.0.1:8001", "address of the HTTP APIs: /v1, /api/routes, /api/v1, /docs; \"off\" for none")
	g.tls.add(f, "api-", "the HTTP APIs")
	f.StringSliceVar(&g.origins, "api-origin", nil, "web origin that may call /v1 from a browser, as https://ops.example.org, or *; may be repeated")
	f.BoolVar(&g.hosts, "chp-host-routing", false, "in the CHP API, take the first segment of a route for a host")
	f.StringSliceVar(&g.prefixes, "nodepass-prefix", nil, "further path, beside /api, below which NodePass's API is, as /a or /a/b; may be repeated")
	f.DurationVar(&g.wait, "chp-wait", 5*time.Second, "how long a write through the CHP API waits for the nodes")
}

func (g *gatewayFlags) off() bool { return g.addr == "off" || g.addr == "" }

// check says what is wrong with the flags, before anything is started.
func (g *gatewayFlags) check(plaintext bool, log *slog.Logger) error {
	if g.off() {
		return nil
	}
	if err := g.config(log).NodePass.Check(); err != nil {
		return &usageError{fmt.Errorf("--nodepass-prefix: %w", err)}
	}
	secure, err := g.secure(log)
	if err != nil {
		return err
	}
	return guard("api-listen", g.addr, secure != nil, plaintext)
}

// secure is the listener's TLS, nil for none.
func (g *gatewayFlags) secure(log *slog.Logger) (*tls.Config, error) {
	if g.nodepass.secure != nil {
		return g.nodepass.secure, nil
	}
	return g.tls.config(log)
}

// config is the gateway that the flags describe.
func (g *gatewayFlags) config(log *slog.Logger) gateway.Config {
	masters := g.nodepass.config
	if len(g.prefixes) > 0 {
		masters.Prefixes = append([]string{"/api"}, g.prefixes...)
	}
	return gateway.Config{
		HostRouting: g.hosts, WaitTimeout: g.wait, AllowedOrigins: g.origins, Version: version, Log: log,
		AnonymousKey: g.chp.anonymous, ObserveCHP: g.chp.observe, CHPElsewhere: g.chp.only, NodePass: masters,
	}
}

// listen binds the address and makes the gateway over a connection.
func (g *gatewayFlags) listen(conn grpc.ClientConnInterface, plaintext bool, log *slog.Logger) (*http.Server, net.Listener, error) {
	secure, err := g.secure(log)
	if err != nil {
		return nil, nil, err
	}
	if err := guard("api-listen", g.addr, secure != nil, plaintext); err != nil {
		return nil, nil, err
	}
	if g.chp.live != nil {
		conn = g.chp.live.over(conn)
	}
	handler, err := gateway.New(conn, g.config(log))
	if err != nil {
		return nil, nil, err
	}
	ln, err := listenAt("api-listen", g.addr)
	if err != nil {
		return nil, nil, err
	}
	log.Info("HTTP APIs listening", "addr", ln.Addr().String(), "tls", secure != nil)
	return handler.Server(secure), ln, nil
}

func newGateway() *cobra.Command {
	var (
		g         gatewayFlags
		addresses []string
		to        clientTLS
		plaintext bool
		m         metricsFlags
		l         logFlags
	)
	cmd := &cobra.Command{
		Use:   "gateway",
		Short: "Run only the HTTP front, pointed at control planes",
		Long: `Runs the HTTP APIs (/v1, /api/routes, /api/v1, /docs) in front of control
planes elsewhere. It keeps nothing: any number may run.`,
		Example: `  signalbox gateway --controlplane cp1.internal:8002,cp2.internal:8002 --controlplane-ca ca.pem \
    --api-listen :8001 --api-tls-cert gw.pem --api-tls-key gw.key`,
		Args: noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			log, err := l.logger(cmd.ErrOrStderr())
			if err != nil {
				return err
			}
			if g.off() {
				return &usageError{errors.New("a gateway needs --api-listen")}
			}
			if err := g.check(plaintext, log); err != nil {
				return err
			}
			creds, err := to.config()
			if err != nil {
				return err
			}
			if err := guardAll("controlplane", addresses, creds != nil, plaintext); err != nil {
				return err
			}
			shown, err := m.listen("gateway", plaintext, log)
			if err != nil {
				return err
			}
			conn, err := dial(addresses, creds, healthyReplica, grpc.WithUnaryInterceptor(hedge(hedgeAfter)))
			if err != nil {
				return err
			}
			defer func() { _ = conn.Close() }()
			server, ln, err := g.listen(conn, plaintext, log)
			if err != nil {
				return err
			}
			shown.addGateway(server)
			shown.certificate("controlplane", creds)
			return shown.with(cmd.Context(), func(ctx context.Context) error {
				defer notifyReady(ctx, log)()
				return serveHTTP(ctx, server, ln, log)
			})
		},
	}
	f := cmd.Flags()
	f.StringSliceVar(&addresses, "controlplane", []string{"127.0.0.1:8002"}, "gRPC address of a control plane, HOST:PORT; several may be given")
	to.add(f, "controlplane-", "control planes")
	g.add(f)
	m.add(f)
	f.BoolVar(&plaintext, "allow-plaintext", false, "allow addresses other than loopback without TLS, its own and control planes': keys cross the network in the clear")
	l.add(f)
	return cmd
}
