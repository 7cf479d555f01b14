package main

import (
	"fmt"
	"net"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/pflag"

	"signalbox/node/listen"
)

// chpFlags are the flags of configurable-http-proxy 5.3, by the same names and
// with the same defaults, and our own at the end.
type chpFlags struct {
	ip, socket       string
	port             string // numbers are texts, of which CHP takes what it can
	public, api      chpTLS
	protocol         string
	ciphers, dhparam string
	rc4              bool
	apiIP, apiSocket string
	apiPort          string
	client           chpTLS

	target, errorTarget, errorPath string
	redirectPort, redirectTo       string
	pidFile                        string

	noForward, noPrepend, noPrefix, rewrite, origin bool
	protocolRewrite                                 string
	headers                                         []string
	insecure, hosts                                 bool

	metricsIP, metricsPort, metricsSocket string
	level                                 string
	timeout, proxyTimeout, keepAlive      string
	storage                               string

	given         []string // names of the flags that were given
	apiIPGiven    bool
	targetKept    bool // target is not what was given, but was kept
	data          string
	show          bool
	version, help bool
}

// chpTLS is the files of one side.
type chpTLS struct {
	key, cert, ca   string
	request, reject bool
}

func (t *chpTLS) add(f *pflag.FlagSet, prefix, what string) {
	f.StringVar(&t.key, prefix+"ssl-key", "", "`keyfile` (PEM) of "+what)
	f.StringVar(&t.cert, prefix+"ssl-cert", "", "`certfile` (PEM) of "+what)
	f.StringVar(&t.ca, prefix+"ssl-ca", "", "`ca-file` (PEM): authorities that the other side must have a certificate of")
	request := "demand a certificate of clients"
	if prefix == "client-" {
		request = "nothing, as in CHP"
	}
	f.BoolVar(&t.request, prefix+"ssl-request-cert", false, request)
	f.BoolVar(&t.reject, prefix+"ssl-reject-unauthorized", false, "nothing, as in CHP: whoever is asked for a certificate must have one")
}

// flags returns the command line, whose values go to c.
func (c *chpFlags) flags() *pflag.FlagSet {
	f := pflag.NewFlagSet("chp", pflag.ContinueOnError)
	f.SortFlags = false
	f.Usage = func() {}
	f.BoolVarP(&c.version, "version", "V", false, "print the version of CHP that this is compatible with")
	f.StringVar(&c.ip, "ip", "", "`ip-address` for public traffic; every address if not given")
	f.StringVar(&c.port, "port", "", "`n`, the port for public traffic (8000)")
	f.StringVar(&c.socket, "socket", "", "`path` of a unix socket for public traffic, in place of --ip and --port")
	c.public.add(f, "", "public traffic")
	f.StringVar(&c.protocol, "ssl-protocol", "", "`ssl-protocol` alone for public traffic: TLSv1_2 or TLSv1_3")
	f.StringVar(&c.ciphers, "ssl-ciphers", "", "`ciphers` of TLS 1.2, as OpenSSL names them, separated by colons")
	f.BoolVar(&c.rc4, "ssl-allow-rc4", false, "nothing: RC4 is broken, and not here")
	f.StringVar(&c.dhparam, "ssl-dhparam", "", "`dhparam-file`: nothing, for only elliptic curves are used")
	f.StringVar(&c.apiIP, "api-ip", "localhost", "`ip` of the REST API")
	f.StringVar(&c.apiPort, "api-port", "", "`n`, the port of the REST API (the public port and one)")
	f.StringVar(&c.apiSocket, "api-socket", "", "`path` of a unix socket for the REST API, in place of --api-ip and --api-port")
	c.api.add(f, "api-", "the REST API")
	c.client.add(f, "client-", "this proxy, to show to https targets")
	f.StringVar(&c.target, "default-target", "", "`host`, as http://127.0.0.1:8081, for what no other route matches")
	f.StringVar(&c.errorTarget, "error-target", "", "`host`, as http://127.0.0.1:8081/error, that is asked for error pages")
	f.StringVar(&c.errorPath, "error-path", "", "`path` of a directory with error pages: 404.html, 503.html, error.html")
	f.StringVar(&c.redirectPort, "redirect-port", "", "`redirect-port` where plain HTTP is led to https")
	f.StringVar(&c.redirectTo, "redirect-to", "", "`port` it is led to, other than the public one")
	f.StringVar(&c.pidFile, "pid-file", "", "`pid-file` for the number of this process")
	f.BoolVar(&c.noForward, "no-x-forward", false, "send on X-Forwarded-... as it came, and add none")
	f.BoolVar(&c.noPrepend, "no-prepend-path", false, "leave out the path of targets")
	f.BoolVar(&c.noPrefix, "no-include-prefix", false, "leave out the route's path in what is sent on")
	f.BoolVar(&c.rewrite, "auto-rewrite", false, "rewrite host and port of redirections to the target")
	f.BoolVar(&c.origin, "change-origin", false, "send the target's own Host")
	f.StringVar(&c.protocolRewrite, "protocol-rewrite", "", "`proto` of redirections to the target: http or https")
	f.StringArrayVar(&c.headers, "custom-header", nil, "`header`, as \"Name: value\", of requests that are sent on; may be repeated")
	f.BoolVar(&c.insecure, "insecure", false, "take any certificate of https targets")
	f.BoolVar(&c.hosts, "host-routing", false, "take the first segment of a route for a host")
	f.StringVar(&c.metricsIP, "metrics-ip", "", "`ip` of the metrics; every address if not given")
	f.StringVar(&c.metricsPort, "metrics-port", "", "`n`, the port of the metrics; none if not given")
	f.StringVar(&c.metricsSocket, "metrics-socket", "", "`path` of a unix socket for the metrics")
	f.StringVar(&c.level, "log-level", "info", "`loglevel`: debug, info, warn or error")
	f.StringVar(&c.timeout, "timeout", "", "`n` milliseconds after which a request is given up on which nothing moves; WebSockets stay")
	f.StringVar(&c.proxyTimeout, "proxy-timeout", "", "`n`, the same: the shorter of both counts")
	f.StringVar(&c.storage, "storage-backend", "", "`storage-class`: nothing, for it is a module of Node.js; see --data-dir")
	f.StringVar(&c.keepAlive, "keep-alive-timeout", "", "`timeout`: milliseconds that a connection may wait for its next request (5000)")
	f.BoolVarP(&c.help, "help", "h", false, "show this")
	f.StringVar(&c.data, "data-dir", "", "`dir` in which routes are kept over restarts (not in CHP); by default nothing is")
	f.BoolVar(&c.show, "print-listener", false, "print what these flags say of requests, as a listener to be sent to /v1/listeners of a cluster, and end (not in CHP)")
	return f
}

// parse reads a command line. Its errors have CHP's words.
func (c *chpFlags) parse(args []string) error {
	f := c.flags()
	if err := f.Parse(args); err != nil {
		return inCommandersWords(f, err)
	}
	if n := f.NArg(); n > 0 {
		return fmt.Errorf("error: too many arguments. Expected 0 arguments but got %d: %s.", n, strings.Join(f.Args(), ", ")) //nolint:staticcheck // CHP's text
	}
	if c.version || c.help {
		return nil
	}
	f.Visit(func(one *pflag.Flag) { c.given = append(c.given, one.Name) })
	c.apiIPGiven = f.Changed("api-ip")
	for _, other := range []string{"ip", "port"} {
		if f.Changed("socket") && f.Changed(other) {
			return fmt.Errorf("error: option '--socket <path>' cannot be used with option '--%s'", other)
		}
	}
	return c.check()
}

// jsInt reads a number as JavaScript's parseInt does: what follows the digits
// is passed over.
func jsInt(text string) (n int, ok bool) {
	text = strings.TrimSpace(text)
	end := 0
	for end < len(text) && (text[end] >= '0' && text[end] <= '9' || end == 0 && (text[end] == '-' || text[end] == '+')) {
		end++
	}
	n, err := strconv.Atoi(text[:end])
	return n, err == nil
}

// jsIntOr is jsInt with something for texts that are no number, and for 0.
func jsIntOr(text string, or int) int {
	if n, ok := jsInt(text); ok && n != 0 {
		return n
	}
	return or
}

// millis reads a flag in milliseconds; what is none is not given.
func millis(text string) time.Duration {
	n, _ := jsInt(text)
	return min(max(time.Duration(n)*time.Millisecond, 0), 24*time.Hour)
}

func (c *chpFlags) publicPort() int { return jsIntOr(c.port, 8000) }

func (c *chpFlags) apiPortNumber() int {
	if c.socket != "" {
		return jsIntOr(c.apiPort, 8001)
	}
	return jsIntOr(c.apiPort, c.publicPort()+1)
}

// at is the address of an IP and a port, or of a socket if there is one.
func at(ip string, port int, socket string) string {
	if socket != "" {
		return listen.UnixPrefix + socket
	}
	if ip == "*" {
		ip = ""
	}
	return net.JoinHostPort(strings.Trim(ip, "[]"), strconv.Itoa(port))
}

func (c *chpFlags) publicAddr() string { return at(c.ip, c.publicPort(), c.socket) }
func (c *chpFlags) apiAddr() string    { return at(c.apiIP, c.apiPortNumber(), c.apiSocket) }

// metricsAddr is empty for no metrics.
func (c *chpFlags) metricsAddr() string {
	port, ok := jsInt(c.metricsPort)
	if c.metricsSocket == "" && (!ok || port == 0) {
		return ""
	}
	return at(c.metricsIP, port, c.metricsSocket)
}

// redirects reports whether plain HTTP is led to https: never from port 80's
// own server.
func (c *chpFlags) redirects() bool {
	_, ok := jsInt(c.redirectPort)
	return ok && (c.socket != "" || c.publicPort() != 80)
}
