package etcd_test

import (
	"context"
	"errors"
	"io"
	"maps"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"signalbox/store"
	"signalbox/store/etcd"
	"signalbox/store/etcd/embedded"
)

// save writes a backup to a file, and returns the version it holds at least.
func save(t *testing.T, k *etcd.Keeper) (string, store.Version) {
	t.Helper()
	from, at, err := k.Backup(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(t.TempDir(), "backup")
	to, err := os.Create(file)
	if err != nil {
		t.Fatal(err)
	}
	_, err = io.Copy(to, from)
	if err := errors.Join(err, to.Close(), from.Close()); err != nil {
		t.Fatal(err)
	}
	return file, at
}

// restored is a member's directory made from a backup.
func restored(t *testing.T, file, token string) string {
	t.Helper()
	dir := filepath.Join(t.TempDir(), "etcd")
	if _, err := (embedded.Restore{File: file, DataDir: dir, Token: token, RevisionBump: 1000}).Do(); err != nil {
		t.Fatal(err)
	}
	return dir
}

func TestABackupHoldsWhatWasWrittenBeforeIt(t *testing.T) {
	t.Parallel()
	s := newStage(t)
	one := commit(t, s.one, route("a", "one"))
	for name, k := range map[string]*etcd.Keeper{"over the network": s.one, "inside the process": inside(t, s.member)} {
		file, at := save(t, k)
		found, err := embedded.ReadSnapshot(file)
		if err != nil || at.Revision != one || found.Revision < int64(one) || found.Keys < 3 {
			t.Errorf("%s: %+v at %+v, %v; the write was %d", name, found, at, err, one)
		}
	}
}

func inside(t *testing.T, m *embedded.Member) *etcd.Keeper {
	t.Helper()
	k, err := m.Keeper(etcd.Config{})
	if err != nil {
		t.Fatal(err)
	}
	return k
}

// Followers and keepers that go on see a new epoch, what was restored, and
// revisions above all they had seen.
func TestARestoredSnapshotIsANewEpochThatGoesOnAbove(t *testing.T) {
	t.Parallel()
	s := newStage(t)
	commit(t, s.one, route("a", "one"))
	file, _ := save(t, s.one)
	s.watch()
	commit(t, s.one, route("a", "two"))
	before := commit(t, s.one, route("b", "one"))
	old := s.agreed()
	seen := map[string]bool{old.Epoch: true}

	// The same backup twice is still two histories, and so is a third time
	// with a token that was there.
	for _, token := range []string{"first", "second", "second"} {
		s.stop()
		s.start(restored(t, file, token))
		s.wire.mend()
		now := s.agreed()
		if token == "first" && seen[now.Epoch] {
			t.Errorf("restored with %q: the epoch is still %s", token, now.Epoch)
		}
		seen[now.Epoch] = true
		if want := map[string]string{"a": "http://one"}; !maps.Equal(s.oneSees.routes, want) {
			t.Errorf("followers have %v, want %v", s.oneSees.routes, want)
		}
		rev := commit(t, s.two, route("c", token))
		if rev <= before {
			t.Errorf("the first write is %d, and the last before was %d", rev, before)
		}
		before = rev - 1
		s.agreed()
	}
	if len(seen) != 4 {
		t.Errorf("there were %d epochs, want four: %v", len(seen), seen)
	}
}

func TestAnEtcdThatIsSharedIsNotBackedUp(t *testing.T) {
	t.Parallel()
	m := member(t, embedded.Config{})
	k := open(t, etcd.Config{Endpoints: m.ClientAddrs(), Prefix: "/mine"})
	if _, _, err := k.Backup(t.Context()); !errors.Is(err, store.ErrNoBackup) || !strings.Contains(err.Error(), "prefix") {
		t.Errorf("got %v", err)
	}
}

func TestABackupThatIsCutOffIsNotWhole(t *testing.T) {
	t.Parallel()
	s := newStage(t)
	for _, name := range []string{"a", "b", "c", "d"} { // more than is on its way at once
		commit(t, s.one, route(name, strings.Repeat("x", 1<<20)))
	}
	from, _, err := s.one.Backup(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if _, err := io.ReadFull(from, make([]byte, 1000)); err != nil {
		t.Fatal(err)
	}
	s.wire.cut()
	if _, err := io.Copy(io.Discard, from); !errors.Is(err, store.ErrUnavailable) {
		t.Errorf("got %v", err)
	}
	if err := from.Close(); err != nil {
		t.Error(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, _, err := s.one.Backup(ctx); !errors.Is(err, store.ErrUnavailable) {
		t.Errorf("without etcd: %v", err)
	}
}

// A file that was damaged is refused before anything is made of it.
func TestADamagedBackupIsRefused(t *testing.T) {
	t.Parallel()
	s := newStage(t)
	commit(t, s.one, route("a", "one"))
	file, _ := save(t, s.one)
	whole, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	flipped := append([]byte(nil), whole...)
	flipped[len(flipped)/2] ^= 1
	for name, text := range map[string][]byte{
		"empty":               nil,
		"its end is missing":  whole[:len(whole)-32],
		"its half is missing": whole[:len(whole)/2],
		"one bit is wrong":    flipped,
		"something else":      []byte(strings.Repeat("no backup ", 1000)),
	} {
		bad := filepath.Join(t.TempDir(), "bad")
		if err := os.WriteFile(bad, text, 0o600); err != nil {
			t.Fatal(err)
		}
		dir := filepath.Join(t.TempDir(), "etcd")
		_, err := embedded.Restore{File: bad, DataDir: dir, RevisionBump: 1}.Do()
		if !errors.Is(err, embedded.ErrSnapshot) {
			t.Errorf("%s: %v", name, err)
		}
		if left, _ := filepath.Glob(dir + "*"); left != nil {
			t.Errorf("%s: left behind: %v", name, left)
		}
	}
}

func TestRestoringTouchesNoDirectoryThatIsInUse(t *testing.T) {
	t.Parallel()
	s := newStage(t)
	file, _ := save(t, s.one)
	if _, err := (embedded.Restore{File: file, DataDir: s.dir, RevisionBump: 1}).Do(); !errors.Is(err, embedded.ErrNotEmpty) {
		t.Errorf("got %v", err)
	}
	commit(t, s.one, route("a", "one"))
}
