package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// What was made before is kept, and said in one line with what to do.
func TestAuthoritiesAreNotMadeTwice(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "pki")
	for _, args := range []string{"init", "issue a", "etcd-ca other"} {
		line := append([]string{"pki"}, append(strings.Fields(args), "--dir", dir)...)
		if err := outcome(t.Context(), line...); err != nil {
			t.Fatal(err)
		}
		err := outcome(t.Context(), line...)
		if exitCode(err) != exitConflict {
			t.Fatalf("%s exits with %d: %v", args, exitCode(err), err)
		}
		if text := describe(err); strings.Contains(text, "\n") || !strings.Contains(text, "nothing was overwritten: ") {
			t.Errorf("%s says %q", args, text)
		}
	}
}

// A folder with some of the authorities gets no others.
func TestAuthoritiesAreMadeAllOrNone(t *testing.T) {
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, nodesName+".key"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := outcome(t.Context(), "pki", "init", "--dir", dir); exitCode(err) != exitConflict {
		t.Errorf("got %v", err)
	}
	if files, err := os.ReadDir(dir); err != nil || len(files) != 1 {
		t.Errorf("the folder has %v, %v", files, err)
	}
}
