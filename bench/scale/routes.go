package main

import (
	"fmt"

	signalboxv1 "signalbox/proto/gen/signalbox/v1"
)

// record is the i-th route of an installation of notebook servers: each its
// own path, its own upstream, and what a hub keeps with it.
func record(i int) *signalboxv1.Route {
	return named(fmt.Sprintf("name-%06d", i), fmt.Sprintf("http://10.%d.%d.%d:8888", i>>16&0xff, i>>8&0xff, i&0xff))
}

func named(user, upstream string) *signalboxv1.Route {
	return &signalboxv1.Route{
		Name:      "chp/user/" + user,
		Match:     &signalboxv1.Match{PathPrefix: "/user/" + user},
		Upstreams: []*signalboxv1.Upstream{{Url: upstream}},
		Data:      fmt.Sprintf(`{"user":"%s","server_name":"","last_activity":"2026-01-01T00:00:00.000000Z"}`, user),
	}
}

// path is where requests of the i-th route go.
func path(i int) string { return fmt.Sprintf("/user/name-%06d/api/kernels/0123456789", i) }
