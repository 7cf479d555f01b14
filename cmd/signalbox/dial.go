package main

import (
	"context"
	"crypto/tls"
	"fmt"
	"net"
	"strings"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/keepalive"
	"google.golang.org/grpc/resolver"
	"google.golang.org/grpc/resolver/manual"
	"google.golang.org/grpc/test/bufconn"

	"signalbox/proto/probe"
)

// maxMessage is the largest message a client takes: a page of routes with
// large data is more than gRPC's default.
const maxMessage = 64 << 20

// everyReplica asks control planes in turn, and leaves out those that cannot be
// reached; healthyReplica those too that have lost touch with the store, or
// hang.
const everyReplica = `{"loadBalancingConfig": [{"round_robin": {}}]}`

var healthyReplica = `{"loadBalancingConfig": [{"` + probe.Policy + `": {}}], "healthCheckConfig": {"serviceName": ""}}`

// dialOptions are those of every connection to control planes.
func dialOptions(creds *tls.Config, service string) []grpc.DialOption {
	transport := insecure.NewCredentials()
	if creds != nil {
		transport = credentials.NewTLS(creds)
	}
	return []grpc.DialOption{
		grpc.WithTransportCredentials(transport),
		grpc.WithDefaultCallOptions(grpc.MaxCallRecvMsgSize(maxMessage)),
		grpc.WithDefaultServiceConfig(service),
		grpc.WithKeepaliveParams(keepalive.ClientParameters{Time: 5 * time.Second, Timeout: 3 * time.Second}),
	}
}

// dial returns a connection to the control planes at addresses, "host:port"
// each; a host that has several addresses means all of them.
func dial(addresses []string, creds *tls.Config, service string, more ...grpc.DialOption) (*grpc.ClientConn, error) {
	for _, a := range addresses {
		if _, _, err := net.SplitHostPort(a); err != nil {
			return nil, &usageError{fmt.Errorf("control plane %q must be HOST:PORT", a)}
		}
	}
	options := append(dialOptions(creds, service), more...)
	if len(addresses) == 1 {
		return grpc.NewClient("dns:///"+addresses[0], options...)
	}
	list := manual.NewBuilderWithScheme("controlplanes")
	var all resolver.State
	for _, a := range addresses {
		host, _, _ := net.SplitHostPort(a)
		if creds != nil && creds.ServerName != "" {
			host = creds.ServerName
		}
		all.Addresses = append(all.Addresses, resolver.Address{Addr: a, ServerName: host})
	}
	list.InitialState(all)
	return grpc.NewClient("controlplanes:///"+strings.Join(addresses, ","), append(options, grpc.WithResolvers(list))...)
}

// inProcess returns a listener for a gRPC server, and a connection to it that
// leaves the process nowhere.
func inProcess() (net.Listener, *grpc.ClientConn, error) {
	ln := bufconn.Listen(1 << 20)
	conn, err := grpc.NewClient("passthrough:///in-process", append(dialOptions(nil, everyReplica),
		grpc.WithContextDialer(func(ctx context.Context, _ string) (net.Conn, error) { return ln.DialContext(ctx) }))...)
	return ln, conn, err
}
