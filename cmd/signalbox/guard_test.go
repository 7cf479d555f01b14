package main

import (
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// Keys cross no network in the clear unless somebody says so.
func TestGuard(t *testing.T) {
	for addr, local := range map[string]bool{
		"127.0.0.1:1": true, "localhost:1": true, "[::1]:1": true, "127.9.9.9:0": true,
		":1": false, "0.0.0.0:1": false, "[::]:1": false, "10.0.0.1:1": false, "example.org:1": false,
	} {
		if err := guard("x", addr, false, false); (err == nil) != local {
			t.Errorf("%s in the clear: %v", addr, err)
		}
		if err := guard("x", addr, true, false); err != nil {
			t.Errorf("%s with TLS: %v", addr, err)
		}
		if err := guard("x", addr, false, true); err != nil {
			t.Errorf("%s when allowed: %v", addr, err)
		}
	}
	if err := guard("x", "nonsense", false, false); err == nil {
		t.Error("an address without a port passed")
	}
}

// An etcd on a network is for those who have a certificate, unless somebody
// says otherwise.
func TestGuardOfEtcd(t *testing.T) {
	for _, c := range []struct {
		url   string
		guard urlGuard
		says  string
	}{
		{"http://127.0.0.1:2379", urlGuard{}, ""},
		{"https://127.0.0.1:2379", urlGuard{}, ""},
		{"http://10.0.0.1:2379", urlGuard{}, "anyone there could read and write everything: use https with --ca-of-clients, or --allow-plaintext"},
		{"http://10.0.0.1:2379", urlGuard{certificates: true}, "--allow-plaintext"},
		{"http://10.0.0.1:2379", urlGuard{open: true}, "--allow-plaintext"},
		{"http://10.0.0.1:2379", urlGuard{plaintext: true}, ""},
		{"https://10.0.0.1:2379", urlGuard{}, "--ca-of-clients, or --allow-any-client"},
		{"https://[::]:2379", urlGuard{plaintext: true}, "--ca-of-clients, or --allow-any-client"},
		{"https://10.0.0.1:2379", urlGuard{certificates: true}, ""},
		{"https://10.0.0.1:2379", urlGuard{open: true}, ""},
		{"https://10.0.0.1", urlGuard{certificates: true}, "a URL with a port"},
		{"10.0.0.1:2379", urlGuard{}, "a URL with a port"},
	} {
		c.guard.flag, c.guard.authorities = "listen-client", "ca-of-clients"
		err := c.guard.check([]string{"http://[::1]:1", c.url})
		if (err == nil) != (c.says == "") || err != nil && (!strings.Contains(err.Error(), c.says) || exitCode(err) != exitUsage) {
			t.Errorf("%s with %+v: %v, want %q", c.url, c.guard, err, c.says)
		}
	}
}

// What is wrong with the flags is said before anything is started or written.
func TestFlagsAreCheckedFirst(t *testing.T) {
	for _, args := range [][]string{
		{"up", "--advertise", "nonsense"},
		{"up", "--listen", "nonsense"},
		{"up", "--tls-cert", "none.pem", "--tls-key", "none.key"},
		{"up", "--api-tls-cert", "none.pem", "--api-tls-key", "none.key"},
		{"controlplane", "--grpc-tls-cert", "none.pem", "--grpc-tls-key", "none.key"},
		{"controlplane", "--node-ca-cert", "none.pem", "--node-ca-key", "none.key"},
		{"controlplane", "--api-listen", "0.0.0.0:0"},
		{"etcd", "--client-tls-cert", "none.pem", "--client-tls-key", "none.key"},
		{"etcd", "--peer-tls-cert", "none.pem"},
	} {
		dir := filepath.Join(t.TempDir(), "data")
		root := newRoot()
		root.SetArgs(append(args, "--data-dir", dir))
		root.SetOut(io.Discard)
		root.SetErr(io.Discard)
		err := root.ExecuteContext(t.Context())
		if exitCode(err) != 2 {
			t.Errorf("%v: %v", args, err)
		}
		if _, err := os.Stat(dir); !os.IsNotExist(err) {
			t.Errorf("%v leaves something behind: %v", args, err)
		}
	}
}
