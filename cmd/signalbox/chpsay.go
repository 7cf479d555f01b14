package main

import (
	"context"
	"strconv"
	"strings"
)

// sayFlags says what CHP says of its flags, and what of them means nothing.
func (c *chpFlags) sayFlags(log *chpLog) {
	if c.ip == "*" {
		log.warn("Interpreting ip='*' as all-interfaces. Preferred usage is 0.0.0.0 for all IPv4 or '' for all-interfaces.")
	}
	if c.rewrite {
		log.info("AutoRewrite of Location headers enabled.")
	}
	if c.origin {
		log.info("Change Origin of host headers enabled.")
	}
	if c.protocolRewrite != "" {
		log.info("ProtocolRewrite enabled. Rewriting to %s", c.protocolRewrite)
	}
	for _, f := range c.meaningless() {
		log.warn("%s", f)
	}
	if idle := c.idleFlags(); idle != nil {
		log.info("As in CHP, %s means nothing: who is asked for a certificate must have one.", strings.Join(idle, ", "))
	}
}

// meaningless says why flags that were given mean nothing here.
func (c *chpFlags) meaningless() (all []string) {
	if c.storage != "" {
		all = append(all, "--storage-backend means nothing here: it is a module of Node.js. Routes are kept over restarts with --data-dir.")
	}
	if c.dhparam != "" {
		all = append(all, "--ssl-dhparam means nothing here: only elliptic curves are used.")
	}
	if c.rc4 {
		all = append(all, "--ssl-allow-rc4 means nothing here: there is no RC4.")
	}
	return all
}

// idleFlags are those that were given and do nothing in CHP either. JupyterHub
// gives some of them.
func (c *chpFlags) idleFlags() (all []string) {
	for _, side := range []struct {
		prefix string
		tls    chpTLS
	}{{"", c.public}, {"api-", c.api}, {"client-", c.client}} {
		if side.prefix == "client-" && side.tls.request {
			all = append(all, "--client-ssl-request-cert")
		}
		if side.tls.reject {
			all = append(all, "--"+side.prefix+"ssl-reject-unauthorized")
		}
	}
	return all
}

// sayReady says where everything is, in CHP's words and order.
func (c *chpFlags) sayReady(log *chpLog) {
	to := "(no default)"
	if c.target != "" {
		to = bare(c.target)
	}
	scheme := func(t chpTLS) string {
		if t.key != "" {
			return "https://"
		}
		return "http://"
	}
	where := func(ip string, port int, socket string) string {
		if socket != "" {
			return socket
		}
		if ip == "*" {
			ip = ""
		}
		return strconv.Itoa(port) + ":" + ip // in this order
	}
	log.info("Proxying %s%s to %s", scheme(c.public), where(c.ip, c.publicPort(), c.socket), to)
	apiIP := c.apiIP
	if c.apiExposed() {
		apiIP = ""
	}
	log.info("Proxy API at %s%s/api/routes", scheme(c.api), where(apiIP, c.apiPortNumber(), c.apiSocket))
	if c.metricsAddr() != "" {
		port, _ := jsInt(c.metricsPort)
		log.info("Serve metrics at http://%s/metrics", where(c.metricsIP, port, c.metricsSocket))
	}
	if c.redirects() {
		port, _ := jsInt(c.redirectPort)
		log.info("Added HTTP to HTTPS redirection from %d to %d", port, c.redirectsTo())
	}
	if c.target != "" && !c.targetKept {
		log.info("Route added / -> %s", bare(c.target))
	}
}

// sayWhy says which signal ends the process.
func sayWhy(ctx context.Context, log *chpLog) {
	if strings.Contains(context.Cause(ctx).Error(), "interrupt") { // as os/signal puts it
		log.warn("Interrupted")
		return
	}
	log.warn("Terminated")
}

// bare is a URL without what may be secret in it.
func bare(raw string) string {
	raw, _, _ = strings.Cut(raw, "?")
	scheme, rest, ok := strings.Cut(raw, "://")
	if !ok {
		return raw
	}
	authority, path, slash := strings.Cut(rest, "/")
	authority = authority[strings.LastIndexByte(authority, '@')+1:]
	if slash {
		path = "/" + path
	}
	return scheme + "://" + authority + path
}
