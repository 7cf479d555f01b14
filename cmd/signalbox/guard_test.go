package main

import "testing"

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
