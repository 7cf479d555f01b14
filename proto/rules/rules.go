// Package rules says what a record must satisfy. The control plane refuses a
// write by it, a node rejects a record by it, and both bring hosts, paths and
// upstream addresses into the same form with it, so that a field has one
// check. It is pure: no clock, no I/O.
package rules

import (
	"errors"
	"fmt"
	"strings"
	"unicode"
	"unicode/utf8"
)

// A Violation is one thing wrong with a record.
type Violation struct {
	// Field is the path to it in the .proto's names, as "upstreams[0].url".
	Field string
	// Reason says what would be right.
	Reason string
}

func (v Violation) String() string { return v.Field + ": " + v.Reason }

// Invalid is every violation of a record, in the order of its fields.
type Invalid struct{ Violations []Violation }

func (e *Invalid) Error() string {
	all := make([]string, len(e.Violations))
	for i, v := range e.Violations {
		all[i] = v.String()
	}
	return strings.Join(all, "; ")
}

// findings gathers violations.
type findings []Violation

func (f *findings) add(field, format string, args ...any) {
	*f = append(*f, Violation{Field: field, Reason: fmt.Sprintf(format, args...)})
}

// wrap adds err's violations, or err itself, below a field.
func (f *findings) wrap(field string, err error) {
	if err == nil {
		return
	}
	var inv *Invalid
	switch {
	case errors.As(err, &inv):
		for _, v := range inv.Violations {
			f.add(strings.Trim(field+"."+v.Field, "."), "%s", v.Reason)
		}
	default:
		f.add(field, "%s", err.Error())
	}
}

func (f findings) err() error {
	if len(f) == 0 {
		return nil
	}
	return &Invalid{Violations: f}
}

// Name limits, in bytes. Labels and simple names are bounded as DNS names are.
const (
	maxRouteName = 1024
	maxNodeName  = 253
	maxName      = 63
	maxLabel     = 253
	maxLabels    = 64
)

// text reports what is wrong with s as printable text of at most limit bytes.
func text(s string, limit int) error {
	switch {
	case len(s) > limit:
		return fmt.Errorf("is %d bytes long; at most %d are allowed", len(s), limit)
	case !utf8.ValidString(s):
		return errors.New("is not valid UTF-8")
	}
	for _, r := range s {
		if unicode.IsControl(r) {
			return fmt.Errorf("holds the control character %q", r)
		}
	}
	return nil
}

// simple reports what is wrong with s as a name of a-z, 0-9 and "-".
func simple(s string) error {
	if s == "" || len(s) > maxName {
		return fmt.Errorf("must be 1 to %d characters long", maxName)
	}
	for _, r := range s {
		if (r < 'a' || r > 'z') && (r < '0' || r > '9') && r != '-' {
			return fmt.Errorf("may only hold a-z, 0-9 and \"-\", not %q", r)
		}
	}
	return nil
}

// labels checks a map of labels.
func labels(f *findings, field string, m map[string]string) {
	if len(m) > maxLabels {
		f.add(field, "holds %d labels; at most %d are allowed", len(m), maxLabels)
	}
	for k, v := range m {
		at := fmt.Sprintf("%s[%q]", field, k)
		switch {
		case k == "":
			f.add(at, "a label's key must not be empty")
		case strings.Contains(k, "="):
			f.add(at, "a label's key must not hold \"=\"")
		}
		f.wrap(at, text(k, maxLabel))
		f.wrap(at, text(v, maxLabel))
	}
}
