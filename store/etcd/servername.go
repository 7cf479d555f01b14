package etcd

import (
	"context"
	"crypto/tls"
	"net"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials"
)

// named checks every member's certificate for one name, in place of the host
// in the member's URL, which etcd's client insists on.
type named struct {
	credentials.TransportCredentials
	name string
}

// ServerName has a client of etcd look for the server name of a TLS
// configuration in every member's certificate; nothing where there is none.
func ServerName(conf *tls.Config) []grpc.DialOption {
	if conf == nil || conf.ServerName == "" {
		return nil
	}
	return []grpc.DialOption{grpc.WithTransportCredentials(named{credentials.NewTLS(conf), conf.ServerName})}
}

// ClientHandshake implements credentials.TransportCredentials.
func (n named) ClientHandshake(ctx context.Context, _ string, conn net.Conn) (net.Conn, credentials.AuthInfo, error) {
	return n.TransportCredentials.ClientHandshake(ctx, n.name, conn)
}

// Clone implements credentials.TransportCredentials.
func (n named) Clone() credentials.TransportCredentials {
	return named{n.TransportCredentials.Clone(), n.name}
}
