package main

import (
	"context"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"strconv"
	"time"

	"signalbox/controlplane/auth"
	"signalbox/node"
)

// whole is the control plane, the gateway and the node that the flags describe,
// and who hears of what they do. Of addresses only that of metrics is bound yet.
func (c *chpFlags) whole(log *chpLog) (*whole, error) {
	p, err := c.planeFlags(log)
	if err != nil {
		return nil, err
	}
	conf, err := c.node(log)
	if err != nil {
		return nil, err
	}
	parts := log.parts()
	w := &whole{log: parts}
	if w.open, w.nodeKey, err = c.keep(p, parts); err != nil {
		return nil, err
	}
	if w.shown, err = new(metricsFlags).listen("chp", true, parts); err != nil {
		return nil, err
	}
	counts := newCHPMetrics(w.shown)
	tell := &chpTeller{log: log, counts: counts}
	conf.Observe, p.gateway.chp.observe = tell.exchange, tell.call
	p.gateway.chp.live = &liveActivity{}
	w.made = func(n *node.Node) { active := n.Active; p.gateway.chp.live.active.Store(&active) }
	w.node = conf
	if w.plane, err = p.check(parts); err != nil {
		return nil, err
	}
	metrics, err := counts.listen(c.metricsAddr(), parts)
	if err != nil {
		return nil, err
	}
	w.beside = append(w.beside, metrics)
	return w, nil
}

// keep decides where things are kept and makes the keys: in memory, or in a
// directory as up does.
func (c *chpFlags) keep(p *planeFlags, log *slog.Logger) (open func(context.Context) (*store, error), nodeKey string, err error) {
	if c.data == "" {
		p.admin = auth.NewSecret()
		return func(context.Context) (*store, error) { return openMemory(), nil }, auth.NewSecret(), nil
	}
	u := upFlags{data: c.data}
	_, nodeKey, err = u.keys()
	p.admin = u.plane.admin
	return func(ctx context.Context) (*store, error) {
		return openEmbedded(ctx, filepath.Join(c.data, "etcd"), log)
	}, nodeKey, err
}

// planeFlags are a control plane's and its gateway's, for a process alone.
func (c *chpFlags) planeFlags(log *chpLog) (*planeFlags, error) {
	p := &planeFlags{
		id: "chp", grpc: "127.0.0.1:0", plaintext: true, lease: 5 * time.Second, reports: time.Second,
		gateway: gatewayFlags{addr: c.apiAddr(), hosts: c.hosts, wait: 5 * time.Second},
	}
	if c.apiExposed() {
		p.gateway.addr = at("", c.apiPortNumber(), "")
	}
	if err := chpTokenFromCHP(p); err != nil {
		return nil, err
	}
	var err error
	p.gateway.chp.only = true
	if p.gateway.tls.Server, err = c.api.server(os.Getenv("CONFIGPROXY_API_SSL_KEY_PASSPHRASE")); err != nil {
		return nil, fmt.Errorf("--api-ssl-key, --api-ssl-cert, --api-ssl-ca: %w", err)
	}
	if p.chp == "" { // an open API: whoever brings no key has one for routes
		p.chp = auth.NewSecret()
		p.gateway.chp.anonymous = p.chp
		log.warn("REST API is not authenticated.")
	}
	return p, nil
}

// apiExposed reports whether the API listens at every address because nothing
// else is said.
func (c *chpFlags) apiExposed() bool { return c.apiSocket == "" && !c.apiIPGiven && exposed() }

// exposed reports whether this is a container whose image has commands listen
// at every address.
func exposed() bool {
	on, err := strconv.ParseBool(os.Getenv("SIGNALBOX_EXPOSE"))
	return on && err == nil
}
