package node

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"google.golang.org/protobuf/proto"

	"signalbox/node/feed"
	"signalbox/node/proxy"
	"signalbox/node/route"
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

// A file of another version, or of something else, is not used, and the error
// names it.
func TestFilesOfOtherVersionsAreRefused(t *testing.T) {
	var b bytes.Buffer
	if err := sample(t, 3, 1).write(&b); err != nil {
		t.Fatal(err)
	}
	next := bytes.Replace(b.Bytes(), []byte("table 1"), []byte("table 2"), 1)
	next = binary.BigEndian.AppendUint32(next[:len(next)-4], crc32.Checksum(next[:len(next)-4], castagnoli))
	for name, content := range map[string][]byte{
		"the next version": next, "nothing": {}, "magic alone": []byte(fileMagic), "text": []byte("routes: []\n"),
	} {
		dir := t.TempDir()
		path := filepath.Join(dir, fileName)
		if err := os.WriteFile(path, content, 0o600); err != nil {
			t.Fatal(err)
		}
		if changes, err := readState(dir); changes != nil || err == nil || !strings.Contains(err.Error(), path) {
			t.Errorf("%s: got %v, %v; want an error that names the file", name, changes, err)
		}
	}
}

// sealed is a file with this between its first line and its checksum.
func sealed(body []byte) []byte {
	b := append(append([]byte(fileMagic), body...), 0, 0, 0, 0)
	return binary.BigEndian.AppendUint32(b, crc32.Checksum(b, castagnoli))
}

// Whatever is in a file, with a right checksum too, reading it ends, what is
// taken begins with a whole state, and a node can serve it.
func FuzzParseState(f *testing.F) {
	var b bytes.Buffer
	s := &state{version: version(42), good: map[feed.Key][]byte{{Name: "x"}: {0x0a, 0x00}}, refused: map[feed.Key][]byte{}}
	if err := s.write(&b); err != nil {
		f.Fatal(err)
	}
	f.Add(b.Bytes())
	f.Add([]byte(fileMagic))
	f.Add(b.Bytes()[len(fileMagic) : b.Len()-8])
	f.Add([]byte("\x00\x00\x00\x0d\x12\x03\x0a\x01e\x18\x01\x20\x01\x2a\x02\x0a\x00"))
	f.Fuzz(func(t *testing.T, b []byte) {
		for _, b := range [][]byte{b, sealed(b)} {
			changes, err := parseState(b)
			if err != nil {
				continue
			}
			if len(changes) == 0 || !changes[0].Whole {
				t.Fatalf("taken are %v", changes)
			}
			tab := &table{
				node: "n", server: proxy.New(proxy.Config{}), log: slog.New(slog.DiscardHandler), wanted: func(*signalboxv1.NodeWanted) error { return nil },
				routes: route.New(route.Config{}),
			}
			for _, c := range changes {
				tab.Apply(c)
			}
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

// What a process that died has left beside the file is neither kept nor
// followed.
func TestFileIsMadeAnew(t *testing.T) {
	dir, elsewhere := t.TempDir(), filepath.Join(t.TempDir(), "other")
	tmp := filepath.Join(dir, fileName+".tmp")
	for _, leave := range []func() error{
		func() error { return os.WriteFile(tmp, bytes.Repeat([]byte("x"), 1<<20), 0o644) },
		func() error { return os.Symlink(elsewhere, tmp) },
	} {
		if err := leave(); err != nil {
			t.Fatal(err)
		}
		if err := writeState(dir, sample(t, 1, 0)); err != nil {
			t.Fatal(err)
		}
		info, err := os.Lstat(filepath.Join(dir, fileName))
		if err != nil || info.Mode() != 0o600 {
			t.Errorf("mode %v, %v", info.Mode(), err)
		}
		if _, err := readState(dir); err != nil {
			t.Error(err)
		}
	}
	if _, err := os.Stat(elsewhere); err == nil {
		t.Error("the link was followed")
	}
}

// Whoever reads while it is written finds one whole file or the other.
func TestFileIsWholeAtEveryMoment(t *testing.T) {
	dir := t.TempDir()
	small, large := sample(t, 1, 0), sample(t, 3000, 0)
	if err := writeState(dir, small); err != nil {
		t.Fatal(err)
	}
	stop := make(chan struct{})
	var reading sync.WaitGroup
	reading.Go(func() {
		for {
			changes, err := readState(dir)
			if err != nil || len(changes) != 1 || len(changes[0].Upserts) != 1 && len(changes[0].Upserts) != 3000 {
				t.Errorf("found are %d changes, %v", len(changes), err)
				return
			}
			select {
			case <-stop:
				return
			default:
			}
		}
	})
	for i := range 20 {
		if err := writeState(dir, []*state{large, small}[i%2]); err != nil {
			t.Error(err)
		}
	}
	close(stop)
	reading.Wait()
}

func TestAFullDiskIsAnError(t *testing.T) {
	full, err := os.OpenFile("/dev/full", os.O_WRONLY, 0)
	if err != nil {
		t.Skip("SKIPPED: there is no /dev/full here")
	}
	defer func() { _ = full.Close() }()
	for _, n := range []int{0, 3000} {
		if err := sample(t, n, 0).write(full); !errors.Is(err, syscall.ENOSPC) {
			t.Errorf("with %d records: %v", n, err)
		}
	}
}

// While the file cannot be written that is said once, however much changes and
// however often it is tried; then the newest state is written.
func TestAFileThatCannotBeWrittenIsSaidOnce(t *testing.T) {
	inTheWay := filepath.Join(t.TempDir(), "state")
	if err := os.WriteFile(inTheWay, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	var log bytes.Buffer
	synctest.Test(t, func(t *testing.T) {
		k := newKeeper(inTheWay, slog.New(slog.NewTextHandler(&log, nil)))
		ctx, stop := context.WithCancel(t.Context())
		var running sync.WaitGroup
		running.Go(func() { k.run(ctx) })
		for rev := range int64(100) {
			k.keep(applied{change: &feed.Change{Whole: rev == 0, To: version(rev + 1)}})
			time.Sleep(time.Second) //nolint:forbidigo // simulated
		}
		if err := os.Remove(inTheWay); err != nil {
			t.Fatal(err)
		}
		time.Sleep(2 * keepRetry) //nolint:forbidigo // simulated
		k.keep(applied{change: &feed.Change{To: version(101)}})
		stop()
		running.Wait()
	})
	if n := strings.Count(log.String(), "level=ERROR"); n != 1 || strings.Count(log.String(), "written again") != 1 {
		t.Errorf("the log is\n%s\nwant one error, and one line that it is over", &log)
	}
	if changes, err := readState(inTheWay); err != nil || len(changes) != 1 || changes[0].To.GetRevision() != 101 {
		t.Errorf("the file has %v, %v", changes, err)
	}
}
