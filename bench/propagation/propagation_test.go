package main

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"signalbox/bench/child"
)

func TestMain(m *testing.M) {
	if was, err := child.Main(map[string]child.Part{"nodes": beNodes}); was {
		if err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		return
	}
	os.Exit(m.Run())
}

func TestEveryNumberOfNodesIsMeasuredAndReported(t *testing.T) {
	out := t.TempDir()
	o := options{counts: []int{1, 3}, writes: 4, rounds: 1, short: true, out: out, profile: filepath.Join(out, "cpu.pprof")}
	if err := measure(t.Context(), o); err != nil {
		t.Fatal(err)
	}
	text, err := os.ReadFile(filepath.Join(out, "propagation.md"))
	if err != nil {
		t.Fatal(err)
	}
	for _, nodes := range o.counts {
		found := false
		for line := range strings.Lines(string(text)) {
			found = found || strings.HasPrefix(line, fmt.Sprintf("| %d |", nodes)) && strings.HasSuffix(line, "| 4 |\n")
		}
		if !found {
			t.Errorf("no line for %d nodes and 4 writes in\n%s", nodes, text)
		}
	}
	if info, err := os.Stat(o.profile); err != nil || info.Size() == 0 {
		t.Errorf("no profile: %v", err)
	}
}
