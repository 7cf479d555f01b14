package node

import (
	"context"
	"fmt"
	"time"

	"signalbox/node/feed"
	"signalbox/node/identity"
)

// newClient returns a client that begins with some changes.
func (n *Node) newClient(start []*feed.Change) (*feed.Client, error) {
	conf, err := n.conf.TLS.Config()
	if err != nil {
		return nil, fmt.Errorf("control plane TLS: %w", err)
	}
	listeners := map[string]string{}
	for _, f := range n.fronts {
		listeners[f.name] = f.inner.Addr().String()
	}
	c := feed.Config{
		Node: n.conf.ID, Epoch: n.epoch, Version: n.conf.Version, Labels: n.conf.Labels, Listeners: listeners,
		Seeds: n.conf.ControlPlanes, Key: n.conf.key(), TLS: conf, AllowPlaintext: n.conf.AllowPlaintext,
		Applier: n.table, Reports: n.reports, Open: n.running, Start: start, Log: n.log,
	}
	if id := n.identity; id != nil {
		c.Identify = id.Connect
		c.Key = func() string { return "" } // that is only for getting the certificate
	}
	return feed.New(c)
}

// awaitIdentity waits until there is a certificate to connect with, or there
// does not seem to be one soon.
func (n *Node) awaitIdentity(ctx context.Context) {
	if n.identity == nil {
		return
	}
	timer := time.NewTimer(identityTimeout)
	defer timer.Stop()
	select {
	case <-n.identity.Tried():
	case <-timer.C:
	case <-ctx.Done():
	}
}

// newIdentity returns the node's certificate, nil if it is to have none.
func newIdentity(c *Config) (*identity.Identity, error) {
	if c.IdentityDir == "" {
		return nil, nil
	}
	conf, err := c.TLS.Config()
	if err != nil {
		return nil, fmt.Errorf("control plane TLS: %w", err)
	}
	id, err := identity.Open(identity.Config{
		Node: c.ID, Dir: c.IdentityDir, ControlPlanes: c.ControlPlanes, TLS: conf, Key: c.key(), Log: c.Log,
	})
	if err != nil {
		return nil, fmt.Errorf("identity folder: %w", err)
	}
	return id, nil
}
