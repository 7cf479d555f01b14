package main

import (
	"os"
	"path/filepath"
	"slices"
	"testing"
)

func TestAMachineGetsOfTheAuthorityWhatItNeeds(t *testing.T) {
	dir, other := filepath.Join(t.TempDir(), "pki"), filepath.Join(t.TempDir(), "pki")
	node, plane := t.TempDir(), t.TempDir()
	do := func(want int, args ...string) {
		t.Helper()
		if code := run(t.Context(), append([]string{"pki"}, args...)); code != want {
			t.Errorf("%v exits with %d, want %d", args, code, want)
		}
	}
	do(exitOK, "init", "--dir", dir)
	do(exitOK, "init", "--dir", other)
	for range 2 { // again is no harm
		do(exitOK, "export", "--dir", dir, "--out", node)
		do(exitOK, "export", "--dir", dir, "--out", plane, "--etcd", "--node-authority")
	}
	do(exitFailed, "export", "--dir", other, "--out", node)
	do(exitUsage, "export", "--dir", dir)

	for folder, want := range map[string][]string{node: {"ca.pem"}, plane: {"ca.pem", "etcd-ca.pem", "nodes-ca.key", "nodes-ca.pem"}} {
		var names []string
		entries, err := os.ReadDir(folder)
		if err != nil {
			t.Fatal(err)
		}
		for _, e := range entries {
			names = append(names, e.Name())
		}
		if !slices.Equal(names, want) {
			t.Errorf("a machine has %v, want %v", names, want)
		}
	}
	if info, err := os.Stat(filepath.Join(plane, "nodes-ca.key")); err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("the key of the authority for nodes: %v %v", info, err)
	}
}
