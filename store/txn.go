package store

import (
	"errors"
	"fmt"
	"unicode/utf8"
)

// opBytes is what Encode reckons for an operation or condition besides its
// names and values: what etcd spends on framing, rounded up.
const opBytes = 64

// Encode checks what every keeper refuses alike, and returns the bytes a
// keeper holds for the records of Put, in their order. A key or name given
// twice, an unknown kind, a message of another kind's type and a transaction
// without changes are errors of the caller's; one that is too large is a
// *LimitError.
func (t Txn) Encode() ([][]byte, error) {
	if len(t.Put)+len(t.Delete) == 0 {
		return nil, errors.New("the transaction neither puts nor deletes a record")
	}
	if err := t.checkNames(); err != nil {
		return nil, err
	}
	// One operation is the store's own: it moves the head.
	changes := len(t.Put) + len(t.Delete) + len(t.Claim) + len(t.Release)
	if err := checkCounts(changes, MaxOps-1, len(t.If)+len(t.Claim)); err != nil {
		return nil, err
	}
	values := make([][]byte, len(t.Put))
	size := t.nameBytes()
	for i, r := range t.Put {
		value, err := Encode(r)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", r.Key, err)
		}
		values[i] = value
		size += len(value)
	}
	if size > MaxBytes {
		return nil, &LimitError{What: "bytes", Got: size, Limit: MaxBytes}
	}
	return values, nil
}

// checkNames refuses keys and names that are impossible or given twice.
func (t Txn) checkNames() error {
	conditions, changed, claimed := names{}, names{}, names{}
	var errs []error
	for _, c := range t.If {
		errs = append(errs, checkKey(c.Key), conditions.add("condition on", c.Key.String()))
	}
	for _, r := range t.Put {
		errs = append(errs, checkKey(r.Key), changed.add("record", r.Key.String()))
	}
	for _, k := range t.Delete {
		errs = append(errs, checkKey(k), changed.add("record", k.String()))
	}
	for _, c := range t.Claim {
		errs = append(errs, checkKey(c.Holder), claimed.add("claim", c.Name))
	}
	for _, name := range t.Release {
		errs = append(errs, claimed.add("claim", name))
	}
	return errors.Join(errs...)
}

// nameBytes is the size of all but the values, as often as a keeper has to
// send it: a condition is compared, and read when it does not hold.
func (t Txn) nameBytes() int {
	size := opBytes
	for _, c := range t.If {
		size += 2 * (opBytes + len(c.Key.String()))
	}
	for _, r := range t.Put {
		size += opBytes + len(r.Key.String())
	}
	for _, k := range t.Delete {
		size += opBytes + len(k.String())
	}
	for _, c := range t.Claim {
		size += 3*(opBytes+len(c.Name)) + len(c.Holder.String())
	}
	for _, name := range t.Release {
		size += opBytes + len(name)
	}
	return size
}

// CheckNotes is to PutNotes what Txn.Encode is to Commit: the checks that are
// the same for every keeper.
func CheckNotes(put []Note, gone []string, unless []NoteCondition) error {
	if len(put)+len(gone) == 0 {
		return errors.New("the transaction neither puts nor removes a note")
	}
	conditions, changed := names{}, names{}
	var errs []error
	size := 0
	for _, c := range unless {
		errs = append(errs, conditions.add("condition on note", c.Name))
		size += 2 * (opBytes + len(c.Name))
	}
	for _, n := range put {
		errs = append(errs, changed.add("note", n.Name))
		size += opBytes + len(n.Name) + len(n.Value)
	}
	for _, name := range gone {
		errs = append(errs, changed.add("note", name))
		size += opBytes + len(name)
	}
	if err := errors.Join(errs...); err != nil {
		return err
	}
	if err := checkCounts(len(put)+len(gone), MaxOps, len(unless)); err != nil {
		return err
	}
	if size > MaxBytes {
		return &LimitError{What: "bytes", Got: size, Limit: MaxBytes}
	}
	return nil
}

func checkCounts(changes, limit, conditions int) error {
	if changes > limit {
		return &LimitError{What: "changes", Got: changes, Limit: limit}
	}
	if conditions > MaxOps {
		return &LimitError{What: "conditions", Got: conditions, Limit: MaxOps}
	}
	return nil
}

// checkKey refuses keys under which no keeper could hold a record.
func checkKey(k Key) error {
	if _, _, err := message(k.Kind); err != nil {
		return err
	}
	if k.Name == "" {
		return fmt.Errorf("a %s has no name", k.Kind)
	}
	return nil
}

// names finds those given twice.
type names map[string]struct{}

// add says what is wrong with a name; what is how its error calls it.
func (n names) add(what, name string) error {
	switch _, twice := n[name]; {
	case name == "":
		return fmt.Errorf("a %s has no name", what)
	case !utf8.ValidString(name):
		return fmt.Errorf("%s %q is not UTF-8", what, name)
	case twice:
		return fmt.Errorf("%s %q is given twice", what, name)
	}
	n[name] = struct{}{}
	return nil
}
