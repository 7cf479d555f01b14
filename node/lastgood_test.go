package node

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"google.golang.org/protobuf/proto"

	"signalbox/node/feed"
	signalboxv1 "signalbox/proto/gen/signalbox/v1"
)

// sample is a state with some good records, and some refused.
func sample(t *testing.T, good, refused int) *state {
	t.Helper()
	s := &state{version: version(42), good: map[feed.Key][]byte{}, refused: map[feed.Key][]byte{}}
	add := func(m map[feed.Key][]byte, n int, url string) {
		for i := range n {
			r := routeRecord(fmt.Sprintf("/%d", i), url)
			r.GetRoute().Meta = &signalboxv1.Meta{Revision: int64(i + 1), CreatedRevision: 1}
			b, err := encode(r)
			if err != nil {
				t.Fatal(err)
			}
			key, _ := feed.KeyOf(r)
			m[key] = b
		}
	}
	add(s.good, good, "http://good:1")
	add(s.refused, refused, "ftp://refused")
	return s
}

func TestFileHoldsWhatWasWritten(t *testing.T) {
	for _, n := range [][2]int{{0, 0}, {1, 0}, {0, 1}, {3, 2}, {10_000, 10}} {
		t.Run(fmt.Sprintf("%d records and %d refused", n[0], n[1]), func(t *testing.T) {
			s, dir := sample(t, n[0], n[1]), filepath.Join(t.TempDir(), "made")
			if err := writeState(dir, s); err != nil {
				t.Fatal(err)
			}
			changes, err := readState(dir)
			if err != nil {
				t.Fatal(err)
			}
			if c := changes[0]; !c.Whole || !proto.Equal(c.To, s.version) || len(c.Upserts) != n[0] {
				t.Errorf("the first change is whole: %v, leads to %v and has %d records", c.Whole, c.To, len(c.Upserts))
			}
			refused := 0
			for _, c := range changes[1:] {
				refused += len(c.Upserts)
				if c.Whole || !proto.Equal(c.To, s.version) {
					t.Errorf("a later change is whole: %v, and leads to %v", c.Whole, c.To)
				}
			}
			if refused != n[1] {
				t.Errorf("%d records were refused, want %d", refused, n[1])
			}
			if left, _ := filepath.Glob(filepath.Join(dir, "*.tmp")); len(left) > 0 {
				t.Errorf("left behind: %v", left)
			}
		})
	}
}

func TestNoFileIsNoState(t *testing.T) {
	if changes, err := readState(t.TempDir()); len(changes) > 0 || err != nil {
		t.Errorf("got %v, %v", changes, err)
	}
}

// Cut anywhere or changed anywhere, a file is refused.
func TestDamagedFilesAreRefused(t *testing.T) {
	var b bytes.Buffer
	if err := sample(t, 3, 1).write(&b); err != nil {
		t.Fatal(err)
	}
	whole := b.Bytes()
	if _, err := parseState(whole); err != nil {
		t.Fatal(err)
	}
	for i := range whole {
		if _, err := parseState(whole[:i]); err == nil {
			t.Errorf("cut after %d bytes, it is taken", i)
		}
		flipped := bytes.Clone(whole)
		flipped[i] ^= 0x20
		if _, err := parseState(flipped); err == nil {
			t.Errorf("changed at byte %d, it is taken", i)
		}
	}
	if _, err := parseState(append(bytes.Clone(whole), whole...)); err == nil {
		t.Error("twice in one file, it is taken")
	}
}

// Whatever is in a file, reading it ends, and what is taken begins with a
// whole state.
func FuzzParseState(f *testing.F) {
	var b bytes.Buffer
	s := &state{version: version(42), good: map[feed.Key][]byte{{Name: "x"}: {0x0a, 0x00}}, refused: map[feed.Key][]byte{}}
	if err := s.write(&b); err != nil {
		f.Fatal(err)
	}
	f.Add(b.Bytes())
	f.Add([]byte(fileMagic))
	f.Fuzz(func(t *testing.T, b []byte) {
		if changes, err := parseState(b); err == nil && (len(changes) == 0 || !changes[0].Whole) {
			t.Errorf("taken are %v", changes)
		}
	})
}

func TestKeptRecordsAreWithoutWhatNodesDoNotNeed(t *testing.T) {
	r := routeRecord("/a", "https://user:secret@host:1/p@th?q=@")
	r.GetRoute().Data, r.GetRoute().Labels = `{"token":"hush"}`, map[string]string{"k": "v"}
	r.GetRoute().Policy = &signalboxv1.RoutePolicy{StripPrefix: proto.Bool(true)}
	b, err := encode(r)
	if err != nil {
		t.Fatal(err)
	}
	if strings.Contains(string(b), "secret") || strings.Contains(string(b), "hush") {
		t.Errorf("kept is %q", b)
	}
	got := new(signalboxv1.Record)
	if err := proto.Unmarshal(b, got); err != nil {
		t.Fatal(err)
	}
	want := routeRecord("/a", "https://host:1/p@th?q=@")
	want.GetRoute().Policy = r.GetRoute().Policy
	if !proto.Equal(got, want) {
		t.Errorf("kept is %v, want %v", got, want)
	}
	if r.GetRoute().GetUpstreams()[0].GetUrl() != "https://user:secret@host:1/p@th?q=@" || r.GetRoute().GetData() == "" {
		t.Error("the record itself was changed")
	}
}

func TestFileIsForTheNodeAlone(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "state")
	if err := writeState(dir, sample(t, 1, 0)); err != nil {
		t.Fatal(err)
	}
	for path, want := range map[string]os.FileMode{dir: 0o700, filepath.Join(dir, fileName): 0o600} {
		if info, err := os.Stat(path); err != nil || info.Mode().Perm() != want {
			t.Errorf("%s: mode %v, %v; want %v", path, info.Mode().Perm(), err, want)
		}
	}
}
