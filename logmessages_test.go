package signalbox_test

import (
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"
)

// Every message at the levels info, warn and error is explained to operators,
// in a table for its level, and every one that is explained there exists.
func TestLogMessagesAreThoseExplained(t *testing.T) {
	said := messages{}
	for _, dir := range []string{"cmd/signalbox", "controlplane", "gateway", "node", "proto", "store"} {
		said.read(t, dir)
	}
	explained := messages{}
	level, row := "", regexp.MustCompile("^\\| `([^`]+)` \\|")
	for line := range strings.Lines(between(t, "docs/operations.md", "\n## What the logs say\n", "\n## ")) {
		if m := row.FindStringSubmatch(line); m != nil {
			explained.add(level, m[1])
		} else if l, ok := tables[strings.TrimSpace(line)]; ok {
			level = l
		}
	}
	for level, least := range map[string]int{"info": 30, "warning": 30} {
		for m := range said[level] {
			if !explained[level][m] {
				t.Errorf("%q is logged (%s), and not in a table for that in docs/operations.md under What the logs say", m, level)
			}
		}
		for m := range explained[level] {
			if !said[level][m] {
				t.Errorf("%q is in docs/operations.md (%s), and nothing logs it so", m, level)
			}
		}
		if n := len(said[level]); n < least {
			t.Errorf("only %d messages were found (%s)", n, level)
		}
	}
	if n := len(explained[""]); n != 0 {
		t.Errorf("%d messages are in tables whose head is none of %v", n, tables)
	}
}

// tables are the heads of the tables of messages, and what is in each: those
// at info, or warnings, which is what is at warn or error or a level that is
// worked out.
var tables = map[string]string{
	"| message | it means | do |":   "warning",
	"| message at info | it says |": "info",
}

// messages are sets of constant messages, by what tables has.
type messages map[string]map[string]bool

func (m messages) add(level, message string) {
	if m[level] == nil {
		m[level] = map[string]bool{}
	}
	m[level][message] = true
}

// read adds the messages that the program's files below a directory log.
func (m messages) read(t *testing.T, dir string) {
	t.Helper()
	err := filepath.WalkDir(dir, func(path string, _ fs.DirEntry, err error) error {
		switch filepath.ToSlash(path) {
		case "store/storetest": // a suite of tests
			return fs.SkipDir
		case "node/tunnel": // instances log to whoever made them, in sentences
			return fs.SkipDir
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
				m.take(call)
			}
			return true
		})
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
}

// methods are those that log, which argument of each is the message, and its
// level; that of Log and LogAttrs is in the argument before.
var methods = map[string]struct {
	at    int
	level string
}{
	"Info": {0, "info"}, "Warn": {0, "warning"}, "Error": {0, "warning"},
	"InfoContext": {1, "info"}, "WarnContext": {1, "warning"}, "ErrorContext": {1, "warning"},
	"Log": {2, "warning"}, "LogAttrs": {2, "warning"},
}

// take adds the message of a call, if it logs a constant one.
func (m messages) take(call *ast.CallExpr) {
	sel, ok := call.Fun.(*ast.SelectorExpr)
	if !ok {
		return
	}
	method, ok := methods[sel.Sel.Name]
	if !ok || len(call.Args) <= method.at {
		return
	}
	lit, ok := call.Args[method.at].(*ast.BasicLit)
	if !ok || lit.Kind != token.STRING {
		return
	}
	if level, ok := call.Args[max(0, method.at-1)].(*ast.SelectorExpr); ok && method.at == 2 {
		switch level.Sel.Name {
		case "LevelDebug":
			return
		case "LevelInfo":
			method.level = "info"
		}
	}
	if text, err := strconv.Unquote(lit.Value); err == nil {
		m.add(method.level, text)
	}
}
