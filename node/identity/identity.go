// Package identity is the certificate by which a node is known: asked of a
// control plane with an API key, kept in a file, and renewed with itself. The
// private key is made here and never leaves the machine.
package identity

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"log/slog"
	"path/filepath"
	"strings"
	"sync"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/status"

	"signalbox/proto/certificate"
)

// Config is what an identity needs to know. All but Key and Log must be set.
type Config struct {
	// Node is the node's name.
	Node string
	// Dir is the folder to keep it in; it is made if it is missing.
	Dir string
	// ControlPlanes are where to ask, "host:port", in turn.
	ControlPlanes []string
	// TLS is how to reach them.
	TLS *tls.Config
	// Key returns the API key to join with, empty for none. It is needed for
	// the first certificate, and when the last has ended or was revoked.
	Key func() string
	// Log defaults to none.
	Log *slog.Logger
}

// fileName is of the certificate, those between it and the root, and the
// private key, all PEM.
const fileName = "identity.pem"

// An Identity is a node's certificate. Its methods may be called from any
// goroutine.
//
// Whether it is good is judged by control planes alone, by their clocks: this
// machine's may be off. So a certificate is shown whatever the time is here, and
// its age is counted from when it came.
type Identity struct {
	conf Config
	file string

	mu      sync.Mutex
	current *tls.Certificate // nil while there is none; its Leaf is set
	came    time.Time        // when it was got; zero if it was kept by another process
	refused bool             // a control plane does not take it any more

	unkept []byte // what the file should hold and does not; nil if it does. Run's alone

	wake  chan struct{} // has an element when refused was set
	once  sync.Once     // closes tried
	tried chan struct{} // closed once there was a certificate, or a try to get one
}

// Open returns the identity that is kept in the folder, if there is one that
// can be used; what cannot be is logged and left where it is until there is
// another. One that seems not to be good now is tried out by Run.
func Open(c Config) (*Identity, error) {
	switch {
	case c.TLS == nil:
		return nil, errors.New("certificates need TLS to control planes")
	case c.Dir == "" || c.Node == "" || len(c.ControlPlanes) == 0:
		return nil, errors.New("a folder, a name and the address of a control plane are needed")
	}
	if c.Key == nil {
		c.Key = func() string { return "" }
	}
	if c.Log == nil {
		c.Log = slog.New(slog.DiscardHandler)
	}
	i := &Identity{conf: c, file: filepath.Join(c.Dir, fileName), wake: make(chan struct{}, 1), tried: make(chan struct{})}
	pair, err := read(i.file)
	if err == nil && pair != nil {
		err = i.check(pair.Leaf)
	}
	if err != nil {
		c.Log.Warn("certificate cannot be used, asking for another", "err", err)
		return i, nil
	}
	if pair != nil {
		i.current = pair
		if now := time.Now(); !now.Before(pair.Leaf.NotBefore) && now.Before(pair.Leaf.NotAfter) {
			i.markTried()
		}
	}
	return i, nil
}

// check says what is wrong with a certificate that was kept.
func (i *Identity) check(leaf *x509.Certificate) error {
	if n, _ := certificate.NodeOf(leaf); n.Name != i.conf.Node {
		return fmt.Errorf("%s: the certificate is for the node %q, and this is %q", i.file, n.Name, i.conf.Node)
	}
	return nil
}

// standing is the certificate to show, nil if there is none, and whether a
// control plane refused it.
func (i *Identity) standing() (pair *tls.Certificate, refused bool) {
	i.mu.Lock()
	defer i.mu.Unlock()
	return i.current, i.refused
}

// Connect returns how to reach a control plane of this name as this node, by the
// certificate there is now. What it returns beside that is to be told why the connection
// ended: if this certificate was refused, another is asked for with the API key.
// It is shown until there is one, since others may take it.
func (i *Identity) Connect(host string) (creds credentials.TransportCredentials, ended func(error)) {
	pair, _ := i.standing()
	return newRevealing(i.showing(pair, host)), func(err error) {
		if pair != nil && refuses(err) {
			i.refuse(pair)
		}
	}
}

// showing is how to reach a control plane with a certificate, nil for none.
func (i *Identity) showing(pair *tls.Certificate, host string) *tls.Config {
	conf := i.conf.TLS.Clone()
	if conf.ServerName == "" {
		conf.ServerName = host
	}
	conf.GetClientCertificate = func(*tls.CertificateRequestInfo) (*tls.Certificate, error) {
		if pair != nil {
			return pair, nil
		}
		return new(tls.Certificate), nil // none, by its contract
	}
	return conf
}

// refuses reports whether an error says that the other side does not take who
// we say we are: by its status, or by an alert of TLS (RFC 8446, section 6.2),
// of which gRPC leaves nothing but the text.
func refuses(err error) bool {
	s := status.Convert(err)
	_, alert, remote := strings.Cut(s.Message(), "remote error: tls: ")
	return s.Code() == codes.Unauthenticated || remote && strings.Contains(alert, "certificate")
}

// refuse takes note that a certificate is not taken, unless there is another by
// now.
func (i *Identity) refuse(pair *tls.Certificate) {
	i.mu.Lock()
	news := i.current == pair && !i.refused
	i.refused = i.refused || news
	i.mu.Unlock()
	if !news {
		return
	}
	i.conf.Log.Warn("certificate is refused, asking for another with the key")
	select {
	case i.wake <- struct{}{}:
	default:
	}
}

// Certificate returns the certificate there is, which may have ended; nil while
// there is none.
func (i *Identity) Certificate() *x509.Certificate {
	i.mu.Lock()
	defer i.mu.Unlock()
	if i.current == nil {
		return nil
	}
	return i.current.Leaf
}

func (i *Identity) markTried() { i.once.Do(func() { close(i.tried) }) }

// Tried is closed once there is a certificate, or Run has tried to get one.
func (i *Identity) Tried() <-chan struct{} { return i.tried }
