package proxy

import (
	"net/http"
	"net/netip"
	"strconv"
	"time"

	signalboxv1 "signalbox/proto/gen/signalbox/v1"
	"signalbox/proto/rules"

	"signalbox/node/route"
)

// defaultIdle is how long a client connection waits for its next request.
const defaultIdle = 75 * time.Second

// A listener is a listener's record, compiled. It never changes.
type listener struct {
	// said is the record; nil of the defaults.
	said    *signalboxv1.Listener
	trusted []netip.Prefix
	// trustUnix says that peers on unix sockets are trusted.
	trustUnix bool
	// defaults are what a route's policy falls back to.
	defaults *route.Policy
	// allowed are the header names that pass in spite of a "_" or "." in them.
	allowed map[string]bool
	details bool
	// keepAlive says so in answers on connections that stay open.
	keepAlive bool
	idle      time.Duration
	pages     *errorPages
	// failure is what is answered in place of 502 and 504; 0 is nothing.
	failure int
	// health is a target that is answered before all routes; empty for none.
	health string
	// redirect says that everything is led to https, at a port if it is not
	// empty.
	redirect     bool
	redirectPort string
}

func defaultListener() *listener {
	return &listener{defaults: route.Defaults(nil), idle: defaultIdle}
}

// compile checks a record and takes it apart.
func compile(rec *signalboxv1.Listener) (*listener, error) {
	if err := rules.Listener(rec); err != nil {
		return nil, err
	}
	l := &listener{
		said:      rec,
		defaults:  route.Defaults(rec.GetRouteDefaults()),
		allowed:   map[string]bool{},
		details:   rec.GetErrorDetails(),
		keepAlive: rec.GetKeepAliveHeader(),
		idle:      defaultIdle,
		failure:   int(rec.GetUpstreamFailureStatus()),
		health:    rec.GetHealthPath(),
		redirect:  rec.GetHttpsRedirect() != nil,
	}
	if p := rec.GetHttpsRedirect().GetPort(); p != 0 && p != 443 {
		l.redirectPort = strconv.Itoa(int(p))
	}
	var err error
	if l.pages, err = compilePages(rec.GetErrorPages()); err != nil {
		return nil, err
	}
	if d := rec.GetIdleTimeout(); d != nil {
		l.idle = d.AsDuration()
	}
	for _, s := range rec.GetTrustedProxies() {
		if s == rules.UnixPeers {
			l.trustUnix = true
			continue
		}
		p, err := rules.Prefix(s)
		if err != nil {
			return nil, err
		}
		l.trusted = append(l.trusted, p)
	}
	for _, name := range rec.GetAllowedHeaderNames() {
		l.allowed[http.CanonicalHeaderKey(name)] = true
	}
	return l, nil
}

// follow makes l, which is new, the successor of the listener that had its name
// until now, if there was one: an error target that stays goes on with the
// pages it gave and the questions it is being asked.
func (l *listener) follow(old *listener) {
	if old != nil && l.pages != nil && old.pages != nil && l.pages.sameTarget(old.pages) {
		l.pages.target = old.pages.target
	}
}

// allows tells whether a header passes in spite of its name; "*" lets all.
func (l *listener) allows(name string) bool { return l.allowed[name] || l.allowed["*"] }

// trusts tells whether an address is a trusted proxy's.
func (l *listener) trusts(a netip.Addr) bool {
	a = a.Unmap().WithZone("")
	for _, p := range l.trusted {
		if p.Contains(a) {
			return true
		}
	}
	return false
}
