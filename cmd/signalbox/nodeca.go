package main

import (
	"errors"
	"fmt"
	"log/slog"
	"time"

	"github.com/spf13/pflag"

	"signalbox/controlplane/api"
	"signalbox/controlplane/pki"
)

// nodeCAFlags are of the authority by which a control plane certifies nodes.
type nodeCAFlags struct {
	cert, key string
	life      time.Duration
}

func (n *nodeCAFlags) add(f *pflag.FlagSet) {
	f.StringVar(&n.cert, "node-ca-cert", "", "certificate file (PEM) of an authority for nodes, as `signalbox pki init` makes it: the first in the file signs, all are trusted; read again when it changes; nodes get a certificate with their key, and connect with nothing else; others need one only with --grpc-tls-client-ca")
	f.StringVar(&n.key, "node-ca-key", "", "its private key")
	f.DurationVar(&n.life, "node-cert-life", 24*time.Hour, "how long a node's certificate is good for; it is renewed when two thirds are over")
}

// leastLife leaves a node time to renew its certificate.
const leastLife = 15 * time.Second

// certifier returns what makes nodes' certificates, nil for none, and has the
// gRPC API take them beside those of its clients.
func (n *nodeCAFlags) certifier(grpc *serverTLS, log *slog.Logger) (*api.Certifier, error) {
	switch {
	case n.cert == "" && n.key == "":
		return nil, nil
	case n.cert == "" || n.key == "":
		return nil, &usageError{errors.New("--node-ca-cert and --node-ca-key are given together")}
	case grpc.Cert == "":
		return nil, &usageError{errors.New("--node-ca-cert needs --grpc-tls-cert and --grpc-tls-key: certificates are shown in TLS only")}
	case n.life < leastLife:
		return nil, &usageError{fmt.Errorf("--node-cert-life %s must be at least %s", n.life, leastLife)}
	}
	authority, err := pki.Keep(n.cert, n.key, func(err error) {
		log.Error("authority for nodes cannot be used, the last good one stays", "err", err)
	})
	if err != nil {
		return nil, &usageError{fmt.Errorf("--node-ca-cert, --node-ca-key: %w", err)}
	}
	// TLS lets in who has none: a node asks for its first without. Who must have
	// one is judged by what they call.
	grpc.ExtraClientCA, grpc.ClientOptional = n.cert, true
	return &api.Certifier{Authority: authority, Life: n.life}, nil
}
