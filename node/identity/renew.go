package identity

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"math/big"
	"net"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/metadata"

	signalboxv1 "signalbox/proto/gen/signalbox/v1"
)

// How often a certificate that cannot be had is asked for again, and how long
// one control plane may take.
const (
	retryFirst  = time.Second
	retryLast   = time.Minute
	callTimeout = 10 * time.Second
)

// Run asks for a certificate whenever there is none, or two thirds of its life
// are over, until ctx ends. renewed is called after each new one.
func (i *Identity) Run(ctx context.Context, renewed func()) {
	retry := retryFirst
	timer := time.NewTimer(i.untilRenewal(time.Now()))
	defer timer.Stop()
	for {
		select {
		case <-timer.C:
		case <-i.wake:
		case <-ctx.Done():
			return
		}
		err := i.renew(ctx)
		i.markTried()
		switch {
		case ctx.Err() != nil:
			return
		case err != nil:
			i.conf.Log.Warn("no new certificate yet", "err", err)
			timer.Reset(retry)
			retry = min(2*retry, retryLast)
		default:
			timer.Reset(max(i.untilRenewal(time.Now()), retryFirst))
			retry = retryFirst
			renewed()
		}
	}
}

// untilRenewal is how long the certificate need not be renewed; zero or less
// when it must be.
func (i *Identity) untilRenewal(now time.Time) time.Duration {
	pair := i.get()
	if pair == nil {
		return 0
	}
	life := pair.Leaf.NotAfter.Sub(pair.Leaf.NotBefore)
	return pair.Leaf.NotBefore.Add(life*2/3).Sub(now) - spread(life/20)
}

// spread is a random time up to most, so that nodes that started together do
// not ask together.
func spread(most time.Duration) time.Duration {
	n, err := rand.Int(rand.Reader, big.NewInt(int64(most)+1))
	if err != nil {
		return 0
	}
	return time.Duration(n.Int64())
}

// renew gets a certificate for a new key from the first control plane that
// makes one, and keeps it.
func (i *Identity) renew(ctx context.Context) error {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return err
	}
	request, err := x509.CreateCertificateRequest(rand.Reader, new(x509.CertificateRequest), key)
	if err != nil {
		return err
	}
	req := &signalboxv1.IssueNodeCertificateRequest{Node: i.conf.Node, Request: request}
	var failed []error
	for _, addr := range i.conf.ControlPlanes {
		chain, err := i.ask(ctx, addr, req)
		if err != nil {
			failed = append(failed, fmt.Errorf("%s: %w", addr, err))
			continue
		}
		pair, err := keep(i.file, chain, key)
		if err != nil {
			return err
		}
		i.mu.Lock()
		i.current, i.refused = pair, false
		i.mu.Unlock()
		i.conf.Log.Info("certificate kept", "addr", addr, "until", pair.Leaf.NotAfter)
		return nil
	}
	return errors.Join(failed...)
}

// ask has one control plane sign a request: as this node by its certificate,
// or with the API key while there is none.
func (i *Identity) ask(ctx context.Context, addr string, req *signalboxv1.IssueNodeCertificateRequest) (string, error) {
	ctx, cancel := context.WithTimeout(ctx, callTimeout)
	defer cancel()
	conf := i.TLS()
	if host, _, err := net.SplitHostPort(addr); err == nil && conf.ServerName == "" {
		conf.ServerName = host
	}
	conn, err := grpc.NewClient("dns:///"+addr, grpc.WithTransportCredentials(credentials.NewTLS(conf)), grpc.WithNoProxy())
	if err != nil {
		return "", err
	}
	defer func() { _ = conn.Close() }() // its one call is over
	if !i.known() {
		key := i.conf.Key()
		if key == "" {
			return "", errors.New("there is no API key to join with")
		}
		ctx = metadata.AppendToOutgoingContext(ctx, "authorization", "Bearer "+key)
	}
	res, err := signalboxv1.NewCertificateServiceClient(conn).IssueNodeCertificate(ctx, req)
	return res.GetChain(), err
}

// keep makes a pair of an answer and its key, and puts it in the file.
func keep(file, chain string, key *ecdsa.PrivateKey) (*tls.Certificate, error) {
	der, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		return nil, err
	}
	b := append([]byte(chain), encodeKey(der)...)
	pair, err := parse(b)
	if err != nil {
		return nil, fmt.Errorf("the control plane's answer: %w", err)
	}
	return pair, write(file, b)
}
