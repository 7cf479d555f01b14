// Package checkpoint is what the notes of a checkpoint say, of what nodes
// carried: their names, their bytes, and the arithmetic between them. It only
// computes; proto/signalbox/v1/tally.proto describes the same from outside.
package checkpoint

import (
	"cmp"
	"errors"
	"fmt"
	"strconv"
	"strings"
)

// Buckets is how many there are. With 100 000 routes each holds about 24, so
// that a change of one route writes the counters of 24. It is part of the
// notes' names and cannot be changed without giving them others.
const Buckets = 1 << 12

// MaxRouteName is the longest a route's name can be, in bytes.
const MaxRouteName = 1024

// A Subject is what counts belong to: a route, by its name, or a tunnel
// instance. What names the latter begins with a byte that no route's name has.
type Subject string

const instanceMark = "\x00"

// Instance is the subject of a tunnel instance's name.
func Instance(name string) Subject { return Subject(instanceMark + name) }

// Name of the route or instance, and whether it is an instance's.
func (s Subject) Name() (name string, instance bool) {
	return strings.CutPrefix(string(s), instanceMark)
}

// Valid reports whether there can be a subject of that name.
func (s Subject) Valid() bool {
	name, _ := s.Name()
	return name != "" && len(name) <= MaxRouteName && !strings.HasPrefix(name, instanceMark)
}

// Bucket of the subject's name.
func (s Subject) Bucket() int {
	name, _ := s.Name()
	h := uint64(14695981039346656037) // FNV-1a
	for i := range len(name) {
		h = (h ^ uint64(name[i])) * 1099511628211
	}
	return int(uint32(h>>32)^uint32(h)) & (Buckets - 1)
}

// A Process is one run of a node.
type Process struct {
	Node  string
	Epoch int64
}

// Compare orders processes by node and epoch.
func (p Process) Compare(o Process) int {
	return cmp.Or(cmp.Compare(p.Node, o.Node), cmp.Compare(p.Epoch, o.Epoch))
}

// Prefix is how the names of all notes begin, basePrefix and chunkPrefix those
// of either sort.
const (
	Prefix      = "tally/"
	basePrefix  = Prefix + "base/"
	chunkPrefix = Prefix + "node/"
)

// An Address is what a note's name says: the base of a bucket, or what one
// node process carried of it.
type Address struct {
	Bucket int
	Base   bool
	// Process is zero for a base.
	Process
}

// Name is the reverse of ParseName.
func (a Address) Name() string {
	if a.Base {
		return fmt.Sprintf("%s%03x", basePrefix, a.Bucket)
	}
	return fmt.Sprintf("%s%03x/%d/%s", chunkPrefix, a.Bucket, a.Epoch, a.Node)
}

// ErrName says that a name is none of a checkpoint's note.
var ErrName = errors.New("the name is none of a checkpoint's note")

// ParseName reads a note's name. It takes only what Name makes.
func ParseName(name string) (Address, error) {
	bucket, base := strings.CutPrefix(name, basePrefix)
	a := Address{Base: base}
	if !base {
		rest, ok := strings.CutPrefix(name, chunkPrefix)
		if !ok {
			return Address{}, ErrName
		}
		var epoch string
		bucket, rest, _ = strings.Cut(rest, "/")
		epoch, a.Node, _ = strings.Cut(rest, "/")
		a.Epoch, _ = strconv.ParseInt(epoch, 10, 64)
	}
	n, err := strconv.ParseUint(bucket, 16, 32)
	if a.Bucket = int(n); err != nil || a.Bucket >= Buckets || a.Name() != name || !base && a.Node == "" {
		return Address{}, ErrName
	}
	return a, nil
}

// IsBase reports whether a note is a base, by its name.
func IsBase(name string) bool { return strings.HasPrefix(name, basePrefix) }
