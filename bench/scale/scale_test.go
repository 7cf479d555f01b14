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
	if was, err := child.Main(parts); was {
		if err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		return
	}
	os.Exit(m.Run())
}

func TestEverySizeIsMeasuredAndReported(t *testing.T) {
	out := t.TempDir()
	if err := measure(t.Context(), options{sizes: []int{70, 150}, rounds: 1, writes: 2, nodes: 1, short: true, out: out}); err != nil {
		t.Fatal(err)
	}
	text, err := os.ReadFile(filepath.Join(out, "scale.md"))
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{"| routes | 70 | 150 |", "150 routes: allocations to find one | 0 | 0 | yes"} {
		if !strings.Contains(string(text), want) {
			t.Errorf("no %q in\n%s", want, text)
		}
	}
}

func TestAStrideVisitsEverything(t *testing.T) {
	for _, n := range []int{1, 2, 64, 100, 10_000, 99_991, 100_000} {
		seen := make([]bool, n)
		for i, left := 0, n; left > 0; left-- {
			seen[i] = true
			i = (i + stride(n)) % n
		}
		for i, s := range seen {
			if !s {
				t.Fatalf("stride %d never comes to %d of %d", stride(n), i, n)
			}
		}
	}
}

func TestNumbersAreWrittenInPlace(t *testing.T) {
	b := []byte("xx123456")
	write(b[2:], 4711)
	if string(b) != "xx004711" {
		t.Errorf("got %s", b)
	}
}
