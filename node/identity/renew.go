package identity

import (
	"context"
	"crypto/rand"
	"crypto/tls"
	"errors"
	"fmt"
	"math/big"
	"net"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/metadata"

	"signalbox/proto/certificate"
	signalboxv1 "signalbox/proto/gen/signalbox/v1"
)

// How often a certificate that cannot be had is asked for again, and one that
// cannot be written is written again, and how long one control plane may take.
const (
	retryFirst  = time.Second
	retryLast   = time.Minute
	callTimeout = 10 * time.Second
)

// Run asks for a certificate whenever there is none, or two thirds of its life
// are over, until ctx ends. renewed is called after each new one.
func (i *Identity) Run(ctx context.Context, renewed func()) {
	renewal, keeping := retry{timer: time.NewTimer(i.untilRenewal(time.Now()))}, retry{timer: time.NewTimer(0)}
	keeping.timer.Stop()
	defer renewal.timer.Stop()
	defer keeping.timer.Stop()
	for {
		select {
		case <-keeping.timer.C:
			if i.keep() != nil {
				keeping.again()
			}
			continue
		case <-renewal.timer.C:
		case <-i.wake: // a refusal
			if i.young() { // what comes next may be refused, too
				renewal.again()
				continue
			}
		case <-ctx.Done():
			return
		}
		unkept := i.unkept != nil // and that is known
		young := i.young()
		err := i.renew(ctx)
		switch {
		case ctx.Err() != nil:
			return
		case err != nil:
			i.conf.Log.Warn("no new certificate yet", "err", err)
			i.markTried()
			renewal.again()
			continue
		}
		renewal.after(max(i.untilRenewal(time.Now()), retryFirst), young)
		keeping.timer.Stop()
		if err := i.keep(); err != nil {
			if !unkept {
				i.conf.Log.Error("certificate cannot be kept, it is used all the same and lost when this process ends", "err", err)
			}
			keeping.after(retryFirst, false)
		}
		i.markTried()
		renewed()
	}
}

// A retry says when to try again, each time later.
type retry struct {
	timer *time.Timer
	next  time.Duration // zero is retryFirst
}

func (r *retry) again() {
	d := max(r.next, retryFirst)
	r.timer.Reset(d)
	r.next = min(2*d, retryLast)
}

// after says when there is something to try next. Pauses are short again then,
// unless it is hasty.
func (r *retry) after(d time.Duration, hasty bool) {
	r.timer.Reset(d)
	if !hasty {
		r.next = 0
	}
}

// young reports whether the certificate came so lately that whoever wants
// another must be patient.
func (i *Identity) young() bool {
	i.mu.Lock()
	defer i.mu.Unlock()
	return !i.came.IsZero() && time.Since(i.came) < min(retryLast, certificate.Life(i.current.Leaf)/2)
}

// untilRenewal is how long the certificate need not be renewed; zero or less
// when it must be. One that another process kept is renewed by this machine's
// clock, and at once if that shows to be behind.
func (i *Identity) untilRenewal(now time.Time) time.Duration {
	i.mu.Lock()
	defer i.mu.Unlock()
	if i.current == nil {
		return 0
	}
	leaf, came := i.current.Leaf, i.came
	life := certificate.Life(leaf)
	if came.IsZero() {
		if came = leaf.NotAfter.Add(-life); now.Before(leaf.NotBefore) {
			return 0
		}
	}
	return came.Add(life*2/3).Sub(now) - spread(life/20)
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
// makes one. It still is to be kept.
func (i *Identity) renew(ctx context.Context) error {
	key, err := certificate.NewKey()
	if err != nil {
		return err
	}
	request, err := certificate.NewRequest(key)
	if err != nil {
		return err
	}
	private, err := certificate.EncodeKey(key)
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
		b := append([]byte(chain), private...)
		pair, err := parse(b)
		if err != nil {
			failed = append(failed, fmt.Errorf("%s: the answer: %w", addr, err))
			continue
		}
		i.mu.Lock()
		i.current, i.came, i.refused = pair, time.Now(), false
		i.mu.Unlock()
		i.unkept = b
		i.conf.Log.Info("certificate issued", "addr", addr, "until", pair.Leaf.NotAfter)
		return nil
	}
	return errors.Join(failed...)
}

// keep writes what the file should hold, if it does not.
func (i *Identity) keep() error {
	if i.unkept == nil {
		return nil
	}
	if err := write(i.file, i.unkept); err != nil {
		return err
	}
	i.unkept = nil
	i.conf.Log.Info("certificate kept")
	return nil
}

var errNoKey = errors.New("there is no API key to join with")

// ask has one control plane sign a request: as this node by its certificate, or
// with the API key where there is none that is taken.
func (i *Identity) ask(ctx context.Context, addr string, req *signalboxv1.IssueNodeCertificateRequest) (string, error) {
	pair, refused := i.standing()
	key := i.conf.Key()
	why := errNoKey
	if pair != nil && (!refused || key == "") {
		chain, err := i.call(ctx, addr, pair, "", req)
		if !refuses(err) {
			return chain, err
		}
		why = fmt.Errorf("%w; %w", err, errNoKey)
	}
	if key == "" {
		return "", why
	}
	return i.call(ctx, addr, nil, key, req)
}

// call asks with a certificate, or with a key.
func (i *Identity) call(ctx context.Context, addr string, pair *tls.Certificate, key string, req *signalboxv1.IssueNodeCertificateRequest) (string, error) {
	ctx, cancel := context.WithTimeout(ctx, callTimeout)
	defer cancel()
	host, _, err := net.SplitHostPort(addr)
	if err != nil {
		return "", err
	}
	creds := newRevealing(i.showing(pair, host))
	conn, err := grpc.NewClient("dns:///"+addr, grpc.WithTransportCredentials(creds), grpc.WithNoProxy())
	if err != nil {
		return "", err
	}
	defer func() { _ = conn.Close() }() // its one call is over
	if key != "" {
		ctx = metadata.AppendToOutgoingContext(ctx, "authorization", "Bearer "+key)
	}
	res, err := signalboxv1.NewCertificateServiceClient(conn).IssueNodeCertificate(ctx, req)
	return res.GetChain(), err
}
