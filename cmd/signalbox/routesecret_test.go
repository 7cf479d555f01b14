package main

import (
	"strings"
	"testing"

	signalboxv1 "signalbox/proto/gen/signalbox/v1"
)

// Who puts a password into an upstream's URL is told who sees it; tables do not
// show it.
func TestPasswordsInUpstreams(t *testing.T) {
	route := func(name, url string) *signalboxv1.Route {
		return &signalboxv1.Route{Name: name, Upstreams: []*signalboxv1.Upstream{{Url: url}}}
	}
	secret, plain := route("secret", "http://user:hunter2@a:1/x"), route("plain", "http://a:1/%7ex")
	var said, table strings.Builder
	warnOfSecrets(&said, []*signalboxv1.Route{plain, secret})
	if strings.Count(said.String(), "\n") != 1 || !strings.Contains(said.String(), "route secret:") || strings.Contains(said.String(), "hunter2") {
		t.Errorf("it warns %q", said.String())
	}
	routeTable(&table, []*signalboxv1.RouteEntry{{Route: secret}, {Route: plain}})
	if strings.Contains(table.String(), "hunter2") || !strings.Contains(table.String(), "http://user:xxxxx@a:1/x") || !strings.Contains(table.String(), "http://a:1/%7ex") {
		t.Errorf("the table shows %s", table.String())
	}
}
