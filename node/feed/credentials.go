package feed

import (
	"context"
	"crypto/tls"
	"fmt"
	"net"
	"net/netip"

	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/credentials/insecure"
)

// A bearer puts the node's key on every call. Whether it may travel in the
// clear was decided before.
type bearer struct {
	key       func() string
	plaintext bool
}

func (b bearer) GetRequestMetadata(context.Context, ...string) (map[string]string, error) {
	key := b.key()
	if key == "" {
		return nil, nil
	}
	return map[string]string{"authorization": "Bearer " + key}, nil
}

func (b bearer) RequireTransportSecurity() bool { return !b.plaintext }

// transport is how to talk to an address whose certificate must be for a
// host. Without TLS it must be on this machine, unless that was waived.
func transport(conf *tls.Config, allowed bool, addr, host string) (credentials.TransportCredentials, error) {
	if conf != nil {
		conf = conf.Clone()
		if conf.ServerName == "" {
			conf.ServerName = host
		}
		return credentials.NewTLS(conf), nil
	}
	if !allowed && !loopback(addr) {
		return nil, fmt.Errorf("%s is not on this machine, and without TLS the key would travel there in the clear: "+
			"use TLS, or allow plaintext", addr)
	}
	return insecure.NewCredentials(), nil
}

// loopback reports whether an address can only be on this machine.
func loopback(addr string) bool {
	host, _, err := net.SplitHostPort(addr)
	if err != nil {
		return false
	}
	ip, err := netip.ParseAddr(host)
	return err == nil && ip.IsLoopback() || host == "localhost"
}
