package main

import (
	"context"
	"fmt"
	"io"
	"maps"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/durationpb"

	signalboxv1 "signalbox/proto/gen/signalbox/v1"
	"signalbox/proto/rules"
)

// chpHealth is where CHP says that it is well.
const chpHealth = "/_chp_healthz"

// chpKeepAlive is how long CHP keeps a connection that waits for a request.
const chpKeepAlive = 5 * time.Second

// listeners are the records that say what the flags do, or what is wrong with
// them.
func (c *chpFlags) listeners() ([]*signalboxv1.Listener, error) {
	public := &signalboxv1.Listener{
		Name:                  "public",
		TrustedProxies:        []string{"0.0.0.0/0", "::/0", rules.UnixPeers}, // CHP appends to what anyone has sent
		AllowedHeaderNames:    []string{"*"},
		RouteDefaults:         c.policy(),
		IdleTimeout:           durationpb.New(c.idle()),
		ErrorPages:            &signalboxv1.ErrorPages{Target: c.errorTarget, Pages: c.pages()},
		UpstreamFailureStatus: http.StatusServiceUnavailable,
		HealthPath:            chpHealth,
		KeepAliveHeader:       true,
	}
	all := []*signalboxv1.Listener{public}
	if c.redirects() {
		all = append(all, &signalboxv1.Listener{
			Name: "redirect", HttpsRedirect: &signalboxv1.HttpsRedirect{Port: uint32(c.redirectsTo())}, //nolint:gosec // a port
			IdleTimeout: public.GetIdleTimeout(), KeepAliveHeader: true,
		})
	}
	for _, l := range all {
		if err := rules.Listener(l); err != nil {
			return nil, err
		}
	}
	return all, nil
}

// printListener prints the body of a call that gives a cluster's public
// listener what the flags say.
func (c *chpFlags) printListener(out, errs io.Writer) error {
	all, err := c.listeners()
	if err != nil {
		return err
	}
	text, err := protojson.MarshalOptions{Multiline: true}.Marshal(&signalboxv1.PutListenerRequest{Listener: all[0], Wait: signalboxv1.Wait_WAIT_NODES})
	if err != nil {
		return err
	}
	if rest := c.elsewhere(); len(rest) > 0 {
		_, _ = fmt.Fprintf(errs, "not in the listener, but said elsewhere in a cluster: %s\n", strings.Join(rest, ", "))
	}
	_, err = fmt.Fprintln(out, string(text))
	return err
}

// inListener are the flags that a listener's record can say.
var inListener = []string{
	"error-target", "error-path", "timeout", "proxy-timeout", "keep-alive-timeout", "no-x-forward", "no-prepend-path", "no-include-prefix",
	"auto-rewrite", "protocol-rewrite", "change-origin", "custom-header", "print-listener",
}

// elsewhere are the flags that were given and are not in the listener.
func (c *chpFlags) elsewhere() (rest []string) {
	for _, name := range c.given {
		if !slices.Contains(inListener, name) {
			rest = append(rest, "--"+name)
		}
	}
	return rest
}

// redirectsTo is the port that plain HTTP is led to.
func (c *chpFlags) redirectsTo() int { return jsIntOr(c.redirectTo, c.publicPort()) }

// idle is how long a connection waits for its next request: Node.js closes it
// a second after the time that it says.
func (c *chpFlags) idle() time.Duration {
	d := millis(c.keepAlive)
	if d == 0 {
		d = chpKeepAlive
	}
	return min(d+time.Second, 24*time.Hour)
}

// policy is how requests are sent on.
func (c *chpFlags) policy() *signalboxv1.RoutePolicy {
	p := &signalboxv1.RoutePolicy{
		StripPrefix:      proto.Bool(c.noPrefix),
		DropUpstreamPath: proto.Bool(c.noPrepend),
	}
	if c.noForward {
		p.Forwarding = signalboxv1.Forwarding_FORWARDING_PASS
	}
	if c.origin {
		p.Host = signalboxv1.HostHeader_HOST_HEADER_UPSTREAM
	}
	if c.rewrite || c.protocolRewrite != "" {
		p.Location = &signalboxv1.LocationRewrite{Host: c.rewrite, Scheme: strings.TrimSuffix(strings.ToLower(c.protocolRewrite), ":")}
	}
	if len(c.headers) > 0 {
		set := map[string]string{}
		for _, h := range c.headers {
			name, value, _ := strings.Cut(h, ":")
			set[http.CanonicalHeaderKey(strings.TrimSpace(name))] = strings.TrimSpace(value)
		}
		p.RequestHeaders = &signalboxv1.HeaderChanges{Set: set}
	}
	shorter := millis(c.timeout)
	if d := millis(c.proxyTimeout); shorter == 0 || d > 0 && d < shorter {
		shorter = d
	}
	if shorter > 0 {
		p.IdleTimeout, p.UpgradeIdleTimeout = durationpb.New(shorter), durationpb.New(0)
	}
	return p
}

// chpPage is what is sent when there are no pages of one's own.
const chpPage = `<!DOCTYPE html>
<html>
<head><title>%[1]s</title></head>
<body><h1>%[1]s</h1><p>%[2]s</p></body>
</html>
`

// pages are the error pages: CHP knows three statuses. With --error-path they
// are its files; where one is missing, and where an error target fails, the
// status in words.
func (c *chpFlags) pages() map[string]*signalboxv1.ErrorPage {
	html := func(title, text string) *signalboxv1.ErrorPage {
		return &signalboxv1.ErrorPage{Body: fmt.Appendf(nil, chpPage, title, text), ContentType: "text/html"}
	}
	if c.errorTarget == "" && c.errorPath == "" {
		return map[string]*signalboxv1.ErrorPage{
			"404":   html("404: Not Found", "There is nothing here that this proxy knows of."),
			"503":   html("503: Proxy Target Missing", "The server behind this address does not answer. It may have ended, or not have begun."),
			"error": html("Proxy Error", "The proxy could not do what was asked of it."),
		}
	}
	pages := map[string]*signalboxv1.ErrorPage{}
	for _, code := range []int{404, 500, 502, 503, 504} {
		pages[strconv.Itoa(code)] = &signalboxv1.ErrorPage{Body: []byte(http.StatusText(code)), ContentType: "text/plain"}
	}
	if c.errorPath == "" {
		return pages
	}
	for code, page := range pages {
		if body, err := os.ReadFile(filepath.Join(c.errorPath, code+".html")); err == nil { //nolint:gosec // the operator's own
			page.Body, page.ContentType = body, "text/html"
		}
	}
	other, err := os.ReadFile(filepath.Join(c.errorPath, "error.html")) //nolint:gosec // the same
	if err != nil {
		return pages
	}
	maps.DeleteFunc(pages, func(_ string, p *signalboxv1.ErrorPage) bool { return p.GetContentType() != "text/html" })
	pages["error"] = &signalboxv1.ErrorPage{Body: other, ContentType: "text/html"}
	return pages
}

// listeners writes listeners, over what was there.
func (w *chpWriter) listeners(ctx context.Context, all []*signalboxv1.Listener) error {
	to := signalboxv1.NewListenerServiceClient(w.conn)
	for _, l := range all {
		if _, err := to.PutListener(w.with(ctx), &signalboxv1.PutListenerRequest{Listener: l}); err != nil {
			return fmt.Errorf("listener %s: %w", l.GetName(), err)
		}
	}
	return nil
}
