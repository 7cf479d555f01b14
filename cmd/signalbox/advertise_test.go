package main

import (
	"context"
	"errors"
	"log/slog"
	"net"
	"os"
	"strings"
	"testing"
)

// Nodes are told of an address at which they can find the control plane.
func TestWhatIsAdvertised(t *testing.T) {
	name, err := os.Hostname()
	if err != nil {
		t.Skip(err)
	}
	if _, err := net.DefaultResolver.LookupHost(t.Context(), name); err != nil {
		t.Skip(err) // then it is the warning below
	}
	for _, c := range []struct{ grpc, advertise, want string }{
		{":8002", "", name + ":9"},
		{"0.0.0.0:8002", "", name + ":9"},
		{"[::]:8002", "", name + ":9"},
		{"127.0.0.1:0", "", "127.0.0.1:9"},
		{"[::1]:0", "", "[::1]:9"},
		{":8002", "cp.x:8443", "cp.x:8443"},
	} {
		var log strings.Builder
		p := planeFlags{grpc: c.grpc, advertise: c.advertise}
		if got := p.advertised(t.Context(), 9, slog.New(slog.NewTextHandler(&log, nil))); got != c.want {
			t.Errorf("--grpc-listen %s --advertise %q advertises %q, want %q", c.grpc, c.advertise, got, c.want)
		}
		if !strings.Contains(log.String(), "addr="+c.want) {
			t.Errorf("the log does not say %q: %s", c.want, log.String())
		}
	}
}

// A name that nobody can look up is not given out.
func TestNamesThatAreNotKnown(t *testing.T) {
	found := func(context.Context, string) ([]string, error) { return []string{"10.0.0.1"}, nil }
	missing := func(context.Context, string) ([]string, error) { return nil, errors.New("no such host") }
	named := func(name string) func() (string, error) {
		return func() (string, error) { return name, nil }
	}
	if got, err := knownName(t.Context(), named("a"), found); got != "a" || err != nil {
		t.Errorf("a name that is found: %q, %v", got, err)
	}
	for _, name := range []string{"", "localhost"} {
		if _, err := knownName(t.Context(), named(name), found); err == nil {
			t.Errorf("%q is taken for a name of the machine", name)
		}
	}
	if _, err := knownName(t.Context(), named("a"), missing); err == nil || !strings.Contains(err.Error(), "no such host") {
		t.Errorf("a name that is not found: %v", err)
	}
}

// What nobody can connect to is refused.
func TestWrongAdvertise(t *testing.T) {
	for addr, good := range map[string]bool{
		"": true, "cp.example.org:8002": true, "[::1]:8002": true,
		":8002": false, "cp": false, "0.0.0.0:8002": false, "[::]:8002": false, "cp:": false, "cp:x": false, "cp:0": false, "cp:70000": false,
	} {
		if err := checkAdvertise(addr); (err == nil) != good || err != nil && exitCode(err) != exitUsage {
			t.Errorf("--advertise %q: %v", addr, err)
		}
	}
}
