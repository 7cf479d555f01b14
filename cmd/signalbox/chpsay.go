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
	for flag, why := range map[string]string{
		c.storage: "--storage-backend means nothing here: it is a module of Node.js. Routes are kept over restarts with --data-dir.",
		c.dhparam: "--ssl-dhparam means nothing here: only elliptic curves are used.",
	} {
		if flag != "" {
			log.warn("%s", why)
		}
	}
	if c.rc4 {
		log.warn("--ssl-allow-rc4 means nothing here: there is no RC4.")
	}
	if c.target != "" {
		log.info("Adding route / -> %s", bare(c.target))
	}
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
	log.info("Proxy API at %s%s/api/routes", scheme(c.api), where(c.apiIP, c.apiPortNumber(), c.apiSocket))
	if c.metricsAddr() != "" {
		port, _ := jsInt(c.metricsPort)
		log.info("Serve metrics at http://%s/metrics", where(c.metricsIP, port, c.metricsSocket))
	}
	if c.redirects() {
		port, _ := jsInt(c.redirectPort)
		log.info("Added HTTP to HTTPS redirection from %d to %d", port, c.redirectsTo())
	}
	if c.target != "" {
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
