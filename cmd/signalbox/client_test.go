package main

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"log/slog"
	"net"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"google.golang.org/grpc"

	signalboxv1 "signalbox/proto/gen/signalbox/v1"
)

const adminKey = "the-admin-key-of-tests-is-long-enough"

// serveAt runs a control plane at an address until the test ends, and returns
// the one it has.
func serveAt(t *testing.T, addr string) string {
	t.Helper()
	addr, _ = servePlane(t, t.TempDir(), planeFlags{grpc: addr, admin: adminKey})
	return addr
}

// servePlane runs a control plane on an etcd of its own until the test ends,
// or it is stopped.
func servePlane(t *testing.T, dir string, flags planeFlags) (addr string, stop func()) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	kept, err := openEmbedded(ctx, dir, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	flags.gateway.addr, flags.lease = "off", time.Second
	pl, err := flags.check(slog.New(slog.DiscardHandler))
	if err == nil {
		err = pl.listen(ctx, kept)
	}
	if err != nil {
		t.Fatal(err)
	}
	ended := make(chan error, 1)
	go func() { ended <- pl.run(ctx) }()
	stop = sync.OnceFunc(func() {
		cancel()
		if err := <-ended; err != nil && !errors.Is(err, context.Canceled) {
			t.Errorf("the control plane ended with %v", err)
		}
		kept.close()
	})
	t.Cleanup(stop)
	return pl.grpc.Addr().String(), stop
}

// told runs a command of the operator's and returns what it prints.
func told(t *testing.T, addr string, args ...string) (string, error) {
	t.Helper()
	var out strings.Builder
	root := newRoot()
	root.SetArgs(append([]string{args[0], args[1], "--controlplane", addr, "--key", adminKey}, args[2:]...))
	root.SetOut(&out)
	root.SetErr(io.Discard)
	err := root.ExecuteContext(t.Context())
	return out.String(), err
}

// A command waits for a control plane that is starting.
func TestACommandWaitsForAControlPlane(t *testing.T) {
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	addr := ln.Addr().String()
	if err := ln.Close(); err != nil {
		t.Fatal(err)
	}
	type answer struct {
		out string
		err error
	}
	done := make(chan answer, 1)
	go func() {
		out, err := told(t, addr, "key", "list", "--connect-timeout", "30s")
		done <- answer{out, err}
	}()
	serveAt(t, addr)
	if a := <-done; a.err != nil || !strings.Contains(a.out, "bootstrap") {
		t.Errorf("it prints %q, %v", a.out, a.err)
	}
}

// When none comes, the command says which were tried.
func TestNoControlPlane(t *testing.T) {
	_, err := told(t, "127.0.0.1:1,no-such-host.invalid:2", "key", "list", "--connect-timeout", "1ms", "--allow-plaintext")
	if exitCode(err) != exitUnavailable || !strings.Contains(describe(err), "127.0.0.1:1, no-such-host.invalid:2") {
		t.Errorf("it fails with %v", err)
	}
}

// Whoever forgets the key, or has a wrong one, is told where to give it.
func TestCommandsSayWhereTheKeyComesFrom(t *testing.T) {
	addr := serveAt(t, "127.0.0.1:0")
	for key, says := range map[string]string{"wrong": "is not valid", "": "is needed"} {
		_, err := told(t, addr, "key", "list", "--key", key)
		if exitCode(err) != exitRefused || !strings.Contains(describe(err), says) || !strings.Contains(describe(err), "SIGNALBOX_KEY") {
			t.Errorf("with key %q: %v", key, err)
		}
	}
	if _, err := told(t, addr, "key", "list", "--key-file", "/no/such"); exitCode(err) != exitUsage {
		t.Errorf("with two keys: %v", err)
	}
}

// What is asked for as JSON is JSON, of calls that write too; and a form that
// is none is refused before anything is written.
func TestFormsOfAnswers(t *testing.T) {
	addr := serveAt(t, "127.0.0.1:0")
	if _, err := told(t, addr, "route", "put", "a", "--to", "http://127.0.0.1:1", "-o", "xml"); exitCode(err) != exitUsage {
		t.Errorf("-o xml: %v", err)
	}
	out, err := told(t, addr, "route", "list", "-o", "json")
	var list struct{ Routes []any }
	if err != nil || json.Unmarshal([]byte(out), &list) != nil || len(list.Routes) > 0 {
		t.Errorf("something was written: %v, %s", err, out)
	}
	for _, args := range [][]string{
		{"route", "put", "a", "--to", "http://127.0.0.1:1"},
		{"route", "put", "a", "--to", "http://127.0.0.1:1", "--wait"},
		{"route", "delete", "a"},
		{"listener", "put", "public"},
		{"listener", "delete", "public"},
		{"key", "create", "k", "--scope", "routes:read"},
		{"key", "delete", "k"},
	} {
		out, err := told(t, addr, append(args, "-o", "json")...)
		if err != nil || !json.Valid([]byte(out)) || !strings.Contains(out, "revision") {
			t.Errorf("%q prints %q, %v", args, out, err)
		}
	}
	if out, err := told(t, addr, "listener", "put", "public"); err != nil || !strings.HasPrefix(out, "listener public: revision ") {
		t.Errorf("for people it prints %q, %v", out, err)
	}
}

// Lists are whole, however many pages they have.
func TestListsHaveAllPages(t *testing.T) {
	addr := serveAt(t, "127.0.0.1:0")
	c := client{addresses: []string{addr}, key: keyFlags{key: adminKey}, connect: time.Minute, timeout: time.Minute, output: "table"}
	want := []string{"a", "b", "c"}
	for _, name := range want {
		for _, args := range [][]string{{"listener", "put", name}, {"key", "create", name, "--scope", "routes:read"}, {"route", "put", name, "--path", "/" + name, "--to", "http://127.0.0.1:1"}} {
			if _, err := told(t, addr, args...); err != nil {
				t.Fatal(err)
			}
		}
	}
	err := c.call(t.Context(), func(ctx context.Context, conn grpc.ClientConnInterface) error {
		nodes := signalboxv1.NewNodeServiceClient(conn)
		for _, name := range want {
			if _, err := nodes.PutNode(ctx, &signalboxv1.PutNodeRequest{Node: &signalboxv1.Node{Name: name}}); err != nil {
				return err
			}
		}
		all := map[string][]string{}
		keys, err := allKeys(ctx, signalboxv1.NewApiKeyServiceClient(conn), 1)
		for _, k := range keys.GetKeys() {
			if k.GetName() != "bootstrap" {
				all["keys"] = append(all["keys"], k.GetName())
			}
		}
		listeners, err2 := allListeners(ctx, signalboxv1.NewListenerServiceClient(conn), 1)
		for _, l := range listeners.GetListeners() {
			all["listeners"] = append(all["listeners"], l.GetName())
		}
		known, err3 := allNodes(ctx, nodes, &signalboxv1.ListNodesRequest{PageSize: 1})
		for _, n := range known.GetNodes() {
			all["nodes"] = append(all["nodes"], n.GetName())
		}
		routes, err4 := allRoutes(ctx, signalboxv1.NewRouteServiceClient(conn), &signalboxv1.ListRoutesRequest{PageSize: 1})
		for _, r := range routes.GetRoutes() {
			all["routes"] = append(all["routes"], r.GetRoute().GetName())
		}
		for _, kind := range []string{"keys", "listeners", "nodes", "routes"} {
			if !slices.Equal(all[kind], want) {
				t.Errorf("%s are %q, want %q", kind, all[kind], want)
			}
		}
		return errors.Join(err, err2, err3, err4)
	})
	if err != nil {
		t.Fatal(err)
	}
}

// The token of CHP calls may become the admin key's secret, or change; what it
// was before lets nobody in.
func TestTheTokenOfTheCHPAPI(t *testing.T) {
	dir := t.TempDir()
	const other = "another-secret-that-is-long-enough"
	for _, c := range []struct{ admin, chp, keys string }{
		{adminKey, other, "bootstrap chp"},
		{adminKey, adminKey, "bootstrap"},
		{other, other, "bootstrap"},
		{other, adminKey, "bootstrap chp"},
		{adminKey, adminKey, "bootstrap"},
	} {
		addr, stop := servePlane(t, dir, planeFlags{grpc: "127.0.0.1:0", admin: c.admin, chp: c.chp})
		out, err := told(t, addr, "key", "list", "-o", "json", "--key", c.admin)
		var list struct{ Keys []struct{ Name string } }
		if err != nil || json.Unmarshal([]byte(out), &list) != nil {
			t.Fatalf("with %+v: %s, %v", c, out, err)
		}
		var names []string
		for _, k := range list.Keys {
			names = append(names, k.Name)
		}
		if got := strings.Join(names, " "); got != c.keys {
			t.Errorf("with %+v the keys are %s", c, got)
		}
		stop()
	}
}
