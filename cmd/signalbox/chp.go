package main

import (
	"context"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"signalbox/controlplane/auth"
	"signalbox/node"
	"signalbox/proto/rules"
	"signalbox/store/etcd/embedded"
)

// chpVersion is the version of configurable-http-proxy that `signalbox chp` is
// compatible with. --version prints it alone, as those expect who ask.
const chpVersion = "5.3.0"

// chpName is what the binary may be called as, to be `signalbox chp`.
const chpName = "configurable-http-proxy"

// chpStopped is CHP's exit code after SIGTERM and SIGINT.
const chpStopped = 2

const aboutCHP = `Usage: configurable-http-proxy [options]
       signalbox chp [options]

Signalbox in the place of configurable-http-proxy %s: the same flags, the same
REST API, the same token in CONFIGPROXY_AUTH_TOKEN. It keeps nothing when it
ends, as CHP, unless --data-dir is given.

Options:
%s`

// newCHP takes its flags as CHP does, and so not from the environment or a file.
func newCHP() *cobra.Command {
	return &cobra.Command{
		Use:                "chp [options]",
		Short:              "Take the place of configurable-http-proxy: same flags, same API",
		DisableFlagParsing: true,
		PersistentPreRunE:  func(*cobra.Command, []string) error { return nil },
		RunE: func(cmd *cobra.Command, args []string) error {
			return runCHP(cmd.Context(), args, cmd.OutOrStdout(), cmd.ErrOrStderr())
		},
	}
}

// byName puts the command before the arguments of a binary that is called by
// another's name.
func byName(args []string) []string {
	if len(args) == 0 {
		return nil
	}
	if filepath.Base(args[0]) == chpName {
		return append([]string{"chp"}, args[1:]...)
	}
	return args[1:]
}

// An exitStatus ends the process without another word.
type exitStatus int

func (s exitStatus) Error() string { return "exit status " + strconv.Itoa(int(s)) }

// runCHP carries out a command line of CHP's.
func runCHP(ctx context.Context, args []string, out, errs io.Writer) error {
	var c chpFlags
	if err := c.parse(args); err != nil {
		_, _ = fmt.Fprintln(errs, err)
		return exitStatus(1)
	}
	switch {
	case c.version:
		_, err := fmt.Fprintln(out, chpVersion)
		return err
	case c.help:
		_, err := fmt.Fprintf(out, aboutCHP, chpVersion, c.flags().FlagUsages())
		return err
	}
	log := newCHPLog(out, c.level)
	run := c.run
	if c.show {
		run = func(context.Context, *chpLog) error { return c.printListener(out) }
	}
	err := run(ctx, log)
	switch {
	case ctx.Err() != nil:
		return exitStatus(chpStopped)
	case err != nil:
		_, _ = fmt.Fprintln(errs, "error:", describe(err))
		return exitStatus(1)
	}
	return nil
}

// run serves until ctx ends.
func (c *chpFlags) run(ctx context.Context, log *chpLog) error {
	pages := dirStamp(c.errorPath) // before they are read, so that no change is missed
	records, err := c.listeners()
	if err != nil {
		return err
	}
	if _, err := rules.ParseUpstream(c.target); c.target != "" && err != nil {
		return fmt.Errorf("--default-target: %w", err)
	}
	p, err := c.planeFlags(log)
	if err != nil {
		return err
	}
	conf, err := c.node(log)
	if err != nil {
		return err
	}
	data, nodeKey, remove, err := c.keep(p)
	if err != nil {
		return err
	}
	defer remove()
	if c.pidFile != "" {
		if err := os.WriteFile(c.pidFile, []byte(strconv.Itoa(os.Getpid())), 0o644); err != nil { //nolint:gosec // others may read it, as CHP's
			return fmt.Errorf("--pid-file: %w", err)
		}
		defer func() { _ = os.Remove(c.pidFile) }()
	}
	parts := log.parts()
	shown, err := new(metricsFlags).listen("chp", true, parts)
	if err != nil {
		return err
	}
	counts := newCHPMetrics(shown)
	tell := &chpTeller{log: log, counts: counts}
	conf.Observe, p.gateway.chp.observe = tell.exchange, tell.call
	metrics, err := counts.listen(c.metricsAddr(), parts)
	if err != nil {
		return err
	}
	pl, err := p.check(parts)
	if err != nil {
		return err
	}
	c.sayFlags(log)
	defer context.AfterFunc(ctx, func() { sayWhy(ctx, log) })()

	opened := make(chan struct{})
	pl.opened = opened
	writer := &chpWriter{key: p.admin}
	w := &whole{
		plane: pl, etcd: embedded.Config{DataDir: filepath.Join(data, "etcd"), Unsafe: c.data == ""},
		nodeKey: nodeKey, node: conf, shown: shown, log: parts,
		prepare: func(ctx context.Context, pl *plane) error {
			writer.conn = pl.conn
			if err := writer.listeners(ctx, records); err != nil {
				return err
			}
			if c.target != "" {
				return writer.target(ctx, c.target)
			}
			return nil
		},
		ready: func(ctx context.Context, _ *plane, _ *node.Node) {
			close(opened)
			c.sayReady(log)
			if c.errorPath != "" {
				c.watchPages(ctx, pages, writer, log)
			}
		},
		beside: []func(context.Context) error{metrics},
	}
	easeCollection()
	return w.run(ctx)
}

// keep decides where things are kept and makes the keys, as up does. remove
// undoes what is not to outlast the process.
func (c *chpFlags) keep(p *planeFlags) (data, nodeKey string, remove func(), err error) {
	if c.data != "" {
		u := upFlags{data: c.data}
		_, nodeKey, err = u.keys()
		p.admin = u.plane.admin
		return c.data, nodeKey, func() {}, err
	}
	sweepTemp()
	if data, err = os.MkdirTemp("", tempPrefix); err != nil {
		return "", "", nil, fmt.Errorf("a directory for what is kept meanwhile: %w", err)
	}
	p.admin = auth.NewSecret()
	return data, auth.NewSecret(), func() { _ = os.RemoveAll(data) }, nil
}

// planeFlags are a control plane's and its gateway's, for a process alone.
func (c *chpFlags) planeFlags(log *chpLog) (*planeFlags, error) {
	p := &planeFlags{
		id: "chp", grpc: "127.0.0.1:0", plaintext: true, lease: 5 * time.Second, reports: time.Second,
		gateway: gatewayFlags{addr: c.apiAddr(), hosts: c.hosts, wait: 5 * time.Second},
	}
	if c.apiSocket == "" && !c.apiIPGiven && exposed() {
		p.gateway.addr = at("", c.apiPortNumber(), "")
	}
	if err := chpTokenFromCHP(p); err != nil {
		return nil, err
	}
	var err error
	p.gateway.chp.only = true
	if p.gateway.tls.Server, err = c.api.server(os.Getenv("CONFIGPROXY_API_SSL_KEY_PASSPHRASE")); err != nil {
		return nil, fmt.Errorf("--api-ssl-...: %w", err)
	}
	if p.chp == "" { // an open API: whoever brings no key has one for routes
		p.chp = auth.NewSecret()
		p.gateway.chp.anonymous = p.chp
		log.warn("REST API is not authenticated.")
	}
	return p, nil
}

// exposed reports whether this is a container whose image has commands listen
// at every address.
func exposed() bool {
	on, err := strconv.ParseBool(os.Getenv("SIGNALBOX_EXPOSE"))
	return on && err == nil
}

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
