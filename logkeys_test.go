package signalbox_test

import (
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"
)

// The keys that the linter lets into logs are those that are documented.
func TestLogKeysAreThoseDocumented(t *testing.T) {
	settings := between(t, ".golangci.yml", "allowed-keys: [", "]")
	allowed := strings.FieldsFunc(settings, func(r rune) bool { return strings.ContainsRune(" ,\n", r) })
	var documented []string
	for row := range strings.Lines(between(t, "docs/running.md", "\n## Logs\n", "\n## ")) {
		if !strings.HasPrefix(row, "| `") {
			continue
		}
		for _, name := range regexp.MustCompile("`([a-z_]+)`").FindAllStringSubmatch(strings.Split(row, "|")[1], -1) {
			documented = append(documented, name[1])
		}
	}
	slices.Sort(allowed)
	slices.Sort(documented)
	if !slices.Equal(allowed, documented) || len(allowed) < 10 {
		t.Errorf("sloglint's allowed-keys in .golangci.yml and the table under Logs in docs/running.md differ:\n%v\n%v", allowed, documented)
	}
}

// between is what a file has after begin and before end, or to its end.
func between(t *testing.T, file, begin, end string) string {
	t.Helper()
	b, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	_, rest, found := strings.Cut(string(b), begin)
	if !found {
		t.Fatalf("%s has no %q", file, begin)
	}
	rest, _, _ = strings.Cut(rest, end)
	return rest
}
