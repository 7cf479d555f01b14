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
	"sync"
	"time"
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
type Identity struct {
	conf Config
	file string

	mu      sync.Mutex
	current *tls.Certificate // nil while there is none; its Leaf is set
	refused bool             // control planes do not take it any more

	wake  chan struct{} // has an element when refused was set
	once  sync.Once     // closes tried
	tried chan struct{} // closed once there was a certificate, or a try to get one
}

// Open returns the identity that is kept in the folder, if there is one that
// can be used; what cannot be is logged and left where it is until there is
// another.
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
	if err == nil && pair != nil && !usable(pair.Leaf, time.Now()) {
		err = fmt.Errorf("%s: the certificate ended at %s", i.file, pair.Leaf.NotAfter)
	}
	if err != nil {
		c.Log.Warn("certificate cannot be used, asking for another", "err", err)
		return i, nil
	}
	if pair != nil {
		i.current = pair
		i.markTried()
	}
	return i, nil
}

// usable reports whether a certificate is good at a moment.
func usable(leaf *x509.Certificate, now time.Time) bool {
	return !now.Before(leaf.NotBefore) && now.Before(leaf.NotAfter)
}

// get is the certificate to show, nil if there is none that is good.
func (i *Identity) get() *tls.Certificate {
	i.mu.Lock()
	defer i.mu.Unlock()
	if i.current == nil || i.refused || !usable(i.current.Leaf, time.Now()) {
		return nil
	}
	return i.current
}

// TLS is how to reach control planes as this node. It shows the newest
// certificate there is when a connection is made.
func (i *Identity) TLS() *tls.Config {
	conf := i.conf.TLS.Clone()
	conf.GetClientCertificate = func(*tls.CertificateRequestInfo) (*tls.Certificate, error) {
		if pair := i.get(); pair != nil {
			return pair, nil
		}
		return new(tls.Certificate), nil // none, by its contract
	}
	return conf
}

// Ends returns when the certificate ends, or ended; ok is false while there is
// none.
func (i *Identity) Ends() (at time.Time, ok bool) {
	i.mu.Lock()
	defer i.mu.Unlock()
	if i.current == nil {
		return at, false
	}
	return i.current.Leaf.NotAfter, true
}

// known reports whether there is a certificate to show.
func (i *Identity) known() bool { return i.get() != nil }

func (i *Identity) markTried() { i.once.Do(func() { close(i.tried) }) }

// Tried is closed once there is a certificate, or Run has tried to get one.
func (i *Identity) Tried() <-chan struct{} { return i.tried }

// Refused says that a control plane did not take the certificate: a new one is
// asked for with the API key.
func (i *Identity) Refused() {
	i.mu.Lock()
	had := i.current != nil && !i.refused
	i.refused = i.current != nil
	i.mu.Unlock()
	if !had {
		return
	}
	i.conf.Log.Warn("certificate is refused, asking for another with the key")
	select {
	case i.wake <- struct{}{}:
	default:
	}
}
