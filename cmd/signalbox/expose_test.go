package main

import "testing"

// In a container, loopback would reach nobody; what is said stands.
func TestUpInAContainerListensAtEveryAddress(t *testing.T) {
	t.Setenv("SIGNALBOX_API_LISTEN", "127.0.0.1:1")
	cmd, err := parsed(t, "up", "--expose", "--grpc-listen", "127.0.0.1:2")
	if err != nil {
		t.Fatal(err)
	}
	var u upFlags
	u.openUp(cmd.Flags())
	for flag, want := range map[string]string{"listen": "[:8000]", "api-listen": "127.0.0.1:1", "grpc-listen": "127.0.0.1:2"} {
		if got := cmd.Flags().Lookup(flag).Value.String(); got != want {
			t.Errorf("--%s is %q, want %q", flag, got, want)
		}
	}
	if !u.plane.plaintext {
		t.Error("it would refuse to listen there in the clear")
	}
}
