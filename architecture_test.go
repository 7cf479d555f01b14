// Package signalbox_test holds the diagram in ARCHITECTURE.md against the code.
//
// It parses the files itself, all of them and whatever their build tags,
// instead of asking `go list`: a cached test result is then thrown away
// whenever one of them changes.
package signalbox_test

import (
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"maps"
	"os"
	"path"
	"slices"
	"strconv"
	"strings"
	"testing"
)

// module is what our own import paths begin with.
const module = "signalbox/"

// arrows is the diagram: what each tree of packages may import of ours, apart
// from itself. Tests may import anything, and are not looked at.
var arrows = map[string][]string{
	// floor 3
	"cmd": {"controlplane", "gateway", "node", "store", "proto/rules", "proto/tunnelurl", "proto/certificate", "proto/probe", "proto/gen"},
	// floor 2: these three never import each other, they meet on the wire
	"controlplane": {"store", "proto/rules", "proto/tunnelurl", "proto/certificate", "proto/gen"},
	"gateway":      {"proto/rules", "proto/tunnelurl", "proto/gen"},
	"node":         {"proto/rules", "proto/tunnelurl", "proto/certificate", "proto/gen"},
	// floor 1
	"store": {"proto/rules", "proto/probe", "proto/gen"},
	// floor 0: what is said, and when it makes sense
	"proto/rules":       {"proto/tunnelurl", "proto/gen"},
	"proto/tunnelurl":   {},
	"proto/certificate": {},
	"proto/probe":       {},
	"proto/gen":         {},
	// beside the building: measures it, and may enter anywhere
	"bench": {"cmd", "controlplane", "gateway", "node", "store", "proto/rules", "proto/tunnelurl", "proto/gen"},
}

// pure names the packages that only decide: same input, same answer. They
// start no goroutine, read no clock, import nothing in impure, and of ours
// only each other and proto/gen.
var pure = []string{
	"controlplane/schedule",
	"controlplane/tally/checkpoint",
	"node/route",
	"proto/rules",
	"proto/tunnelurl",
}

// impure is what a deciding package has no use for. A package stands for all
// below it, except those in arithmetic.
var impure = []string{
	"context", "crypto/rand", "google.golang.org/grpc", "log", "math/rand",
	"net", "os", "runtime", "sync", "syscall", "testing",
}

// arithmetic lists the exceptions to impure; textproto is for the spelling of
// header names. Of net itself only what is in joints may be used.
var arithmetic = []string{"net", "net/netip", "net/textproto", "net/url"}

// joints is what in package net only takes apart and puts together.
var joints = []string{"JoinHostPort", "SplitHostPort"}

// clock is what in package time reads the clock or waits for it; durations and
// instants that were passed in are only values.
var clock = []string{
	"After", "AfterFunc", "NewTicker", "NewTimer", "Now", "Since", "Sleep", "Tick", "Until",
}

// pkg is one directory of Go files, tests left out.
type pkg struct {
	documented bool                // some file has a package comment
	imports    map[string][]string // import path to the files that have it
	acts       []string            // goroutines started, clocks read, sockets, as "file:line: what"
}

func TestImportsFollowTheDiagram(t *testing.T) {
	for _, v := range crossings(packages(t)) {
		t.Error(v)
	}
}

func TestDecidingPackagesArePure(t *testing.T) {
	for _, v := range impurities(packages(t)) {
		t.Error(v)
	}
}

func TestEveryPackageSaysWhatItIs(t *testing.T) {
	for dir, p := range packages(t) {
		if !p.documented && !within(dir, "proto/gen") {
			t.Errorf("%s has no package comment", dir)
		}
	}
}

// The tests above would also pass if they saw nothing.
func TestAForbiddenImportIsNoticed(t *testing.T) {
	for _, c := range []struct{ from, to, want string }{
		{"node/proxy", "signalbox/controlplane/feed", "x.go: node/proxy imports controlplane/feed: node may import only itself and [proto/rules proto/tunnelurl proto/certificate proto/gen]"},
		{"store/etcd", "signalbox/node", "x.go: store/etcd imports node: store may import only itself and [proto/rules proto/probe proto/gen]"},
		{"nodes", "fmt", "nodes is not in the diagram: give it a place in arrows, and in ARCHITECTURE.md"},
		{"node/route", "net/http", "x.go: node/route only decides, and imports net/http"},
		{"node/route", "signalbox/node/report", "x.go: node/route only decides, and imports signalbox/node/report, which may not"},
		{"node/route", "net/netip", ""},
		{"node/route", "signalbox/proto/rules", ""},
		{"cmd/signalbox", "signalbox/node", ""},
		{"node/proxy", "signalbox/node/route", ""},
	} {
		seen := map[string]pkg{c.from: {imports: map[string][]string{c.to: {"x.go"}}}}
		got := strings.Join(append(crossings(seen), impurities(seen)...), "\n")
		if got != c.want {
			t.Errorf("%s imports %s: got %q, want %q", c.from, c.to, got, c.want)
		}
	}
}

// crossings lists the imports for which there is no arrow.
func crossings(pkgs map[string]pkg) []string {
	var found []string
	for _, dir := range slices.Sorted(maps.Keys(pkgs)) {
		from, ok := tree(dir)
		if !ok {
			found = append(found, dir+" is not in the diagram: give it a place in arrows, and in ARCHITECTURE.md")
			continue
		}
		for _, imp := range slices.Sorted(maps.Keys(pkgs[dir].imports)) {
			target, ours := strings.CutPrefix(imp, module)
			if !ours || within(target, from) {
				continue
			}
			if to, ok := tree(target); !ok || !slices.Contains(arrows[from], to) {
				found = append(found, fmt.Sprintf("%s: %s imports %s: %s may import only itself and %v",
					strings.Join(pkgs[dir].imports[imp], ", "), dir, target, from, arrows[from]))
			}
		}
	}
	return found
}

// impurities lists what the packages in pure import or do that is not deciding.
func impurities(pkgs map[string]pkg) []string {
	var found []string
	for _, dir := range pure {
		p := pkgs[dir] // one that does not exist yet has done nothing wrong
		for _, imp := range slices.Sorted(maps.Keys(p.imports)) {
			files := strings.Join(p.imports[imp], ", ")
			below := func(d string) bool { return within(imp, d) }
			if slices.ContainsFunc(impure, below) && !slices.Contains(arithmetic, imp) {
				found = append(found, fmt.Sprintf("%s: %s only decides, and imports %s", files, dir, imp))
			}
			target, ours := strings.CutPrefix(imp, module)
			if ours && !within(target, "proto/gen") && !slices.Contains(pure, target) {
				found = append(found, fmt.Sprintf("%s: %s only decides, and imports %s, which may not", files, dir, imp))
			}
		}
		for _, act := range p.acts {
			found = append(found, fmt.Sprintf("%s: %s only decides", act, dir))
		}
	}
	return found
}

// tree returns which tree of the diagram a directory is in.
func tree(dir string) (string, bool) {
	for t := range arrows {
		if within(dir, t) {
			return t, true
		}
	}
	return "", false
}

// within reports whether p is the path dir or below it.
func within(p, dir string) bool { return p == dir || strings.HasPrefix(p, dir+"/") }

// packages parses every package of the module, by directory.
func packages(t *testing.T) map[string]pkg {
	t.Helper()
	root := os.DirFS(".")
	pkgs := map[string]pkg{}
	err := fs.WalkDir(root, ".", func(file string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if d.IsDir() {
			return enter(root, file)
		}
		if !strings.HasSuffix(file, ".go") || strings.HasSuffix(file, "_test.go") {
			return nil
		}
		dir := path.Dir(file)
		pkgs[dir], err = add(pkgs[dir], root, file)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return pkgs
}

// enter keeps the walk out of what is not this module: hidden folders, test
// data and modules of their own.
func enter(root fs.FS, dir string) error {
	base := path.Base(dir)
	if dir == "." {
		return nil
	}
	if _, err := fs.Stat(root, path.Join(dir, "go.mod")); err == nil {
		return fs.SkipDir
	}
	if dir == "data" || base == "testdata" || base[0] == '.' || base[0] == '_' {
		return fs.SkipDir
	}
	return nil
}

// add parses a file and adds what it shows to its package.
func add(p pkg, root fs.FS, file string) (pkg, error) {
	src, err := fs.ReadFile(root, file)
	if err != nil {
		return p, err
	}
	set := token.NewFileSet()
	f, err := parser.ParseFile(set, file, src, parser.ParseComments)
	if err != nil {
		return p, err
	}
	if p.imports == nil {
		p.imports = map[string][]string{}
	}
	p.documented = p.documented || f.Doc.Text() != ""
	for _, imp := range f.Imports {
		to, err := strconv.Unquote(imp.Path.Value)
		if err != nil {
			return p, fmt.Errorf("%s: %w", file, err)
		}
		p.imports[to] = append(p.imports[to], file)
	}
	ast.Inspect(f, func(n ast.Node) bool {
		if what := act(n); what != "" {
			p.acts = append(p.acts, fmt.Sprintf("%s: %s", set.Position(n.Pos()), what))
		}
		return true
	})
	return p, nil
}

// act names what n does that a deciding package must not, or is empty.
func act(n ast.Node) string {
	switch n := n.(type) {
	case *ast.GoStmt:
		return "starts a goroutine"
	case *ast.SelectorExpr:
		x, ok := n.X.(*ast.Ident)
		switch {
		case ok && x.Name == "time" && slices.Contains(clock, n.Sel.Name),
			ok && x.Name == "net" && !slices.Contains(joints, n.Sel.Name):
			return "uses " + x.Name + "." + n.Sel.Name
		}
	}
	return ""
}
