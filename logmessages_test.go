package signalbox_test

import (
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
)

// Every message at the levels warn and error is explained to operators, and
// every one that is explained exists.
func TestLogMessagesAreThoseExplained(t *testing.T) {
	var said []string
	for _, dir := range []string{"cmd/signalbox", "controlplane", "gateway", "node", "store"} {
		said = append(said, warnings(t, dir)...)
	}
	var explained []string
	for row := range strings.Lines(between(t, "docs/operations.md", "\n## What the logs say\n", "\n## ")) {
		if m := regexp.MustCompile("^\\| `([^`]+)` \\|").FindStringSubmatch(row); m != nil {
			explained = append(explained, m[1])
		}
	}
	slices.Sort(said)
	said = slices.Compact(said)
	slices.Sort(explained)
	for _, m := range said {
		if !slices.Contains(explained, m) {
			t.Errorf("%q is logged, and not in docs/operations.md under What the logs say", m)
		}
	}
	for _, m := range explained {
		if !slices.Contains(said, m) {
			t.Errorf("%q is in docs/operations.md, and nothing logs it", m)
		}
	}
	if len(said) < 30 {
		t.Errorf("only %d messages were found", len(said))
	}
}

// warnings are the messages that the program's files below a directory log at
// warn or error, or at a level they work out.
func warnings(t *testing.T, dir string) (all []string) {
	t.Helper()
	err := filepath.WalkDir(dir, func(path string, _ fs.DirEntry, err error) error {
		if path == filepath.FromSlash("store/storetest") {
			return fs.SkipDir // a suite of tests
		}
		if err != nil || !strings.HasSuffix(path, ".go") || strings.HasSuffix(path, "_test.go") {
			return err
		}
		f, err := parser.ParseFile(token.NewFileSet(), path, nil, 0)
		if err != nil {
			return err
		}
		ast.Inspect(f, func(n ast.Node) bool {
			if call, ok := n.(*ast.CallExpr); ok {
				if m := warning(call); m != "" {
					all = append(all, m)
				}
			}
			return true
		})
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return all
}

// messageAt is which argument is the message.
var messageAt = map[string]int{"Warn": 0, "Error": 0, "WarnContext": 1, "ErrorContext": 1, "Log": 2, "LogAttrs": 2}

// warning is the message of a call, if it logs one that counts.
func warning(call *ast.CallExpr) string {
	method, ok := call.Fun.(*ast.SelectorExpr)
	if !ok {
		return ""
	}
	at, ok := messageAt[method.Sel.Name]
	if !ok || len(call.Args) <= at {
		return ""
	}
	lit, ok := call.Args[at].(*ast.BasicLit)
	if !ok || lit.Kind != token.STRING {
		return ""
	}
	if level, ok := call.Args[max(0, at-1)].(*ast.SelectorExpr); at == 2 && ok && (level.Sel.Name == "LevelInfo" || level.Sel.Name == "LevelDebug") {
		return ""
	}
	text, err := strconv.Unquote(lit.Value)
	if err != nil {
		return ""
	}
	return text
}
