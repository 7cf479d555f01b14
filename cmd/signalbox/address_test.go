package main

import (
	"io"
	"strings"
	"testing"
)

// What is no address is a wrong command line.
func TestAddresses(t *testing.T) {
	for addr, good := range map[string]bool{
		":80": true, "127.0.0.1:0": true, "[::1]:8000": true, "host.example:80": true, ":http": true,
		"": false, "0": false, "8000": false, "127.0.0.1": false, ":": true, ":x": false, ":70000": false, "::1:80": false,
	} {
		err := checkAddress("listen", addr)
		if (err == nil) != good || err != nil && (exitCode(err) != exitUsage || !strings.Contains(err.Error(), "--listen")) {
			t.Errorf("%q: %v", addr, err)
		}
	}
}

// An address that is taken is said to be, with the flag it came from.
func TestAnAddressThatIsTaken(t *testing.T) {
	ln, err := listenTCP("api-listen", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = ln.Close() }()
	addr := ln.Addr().String()
	node := newRoot()
	node.SetArgs([]string{"node", "--id", "n", "--listen", addr})
	node.SetErr(io.Discard)
	_, taken := listenTCP("api-listen", addr)
	for what, err := range map[string]error{"--api-listen": taken, `listener "public"`: node.ExecuteContext(t.Context())} {
		if err == nil || !strings.Contains(err.Error(), what) || !strings.Contains(err.Error(), "choose another address") || exitCode(err) != exitFailed {
			t.Errorf("%s: %v", what, err)
		}
	}
}
