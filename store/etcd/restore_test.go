package etcd_test

import (
	"fmt"
	"maps"
	"os"
	"testing"

	"signalbox/store"
	"signalbox/store/etcd"
	"signalbox/store/etcd/embedded"
)

// A stage is an etcd that can be taken away behind the backs of two control
// planes, which keep their keepers and followers.
type stage struct {
	t       *testing.T
	member  *embedded.Member
	wire    *wire
	dir     string
	one     *etcd.Keeper
	two     *etcd.Keeper
	oneSees *table
	twoSees *table
}

func newStage(t *testing.T) *stage {
	s := &stage{t: t, dir: t.TempDir()}
	s.member = member(t, embedded.Config{DataDir: s.dir})
	s.wire = newWire(t, s.member.ClientAddrs()[0])
	s.one = open(t, etcd.Config{Endpoints: []string{s.wire.addr()}})
	s.two = open(t, etcd.Config{Endpoints: []string{s.wire.addr()}})
	head(t, s.one) // begins an epoch, so that it is in every backup
	return s
}

// watch begins to follow.
func (s *stage) watch() {
	s.t.Helper()
	s.oneSees, s.twoSees = follow(s.t, s.one), follow(s.t, s.two)
	s.oneSees.first()
	s.twoSees.first()
}

// backup returns a copy of the data as they are.
func (s *stage) backup() string {
	s.t.Helper()
	s.stop()
	dir := s.t.TempDir()
	if err := os.CopyFS(dir, os.DirFS(s.dir)); err != nil {
		s.t.Fatal(err)
	}
	s.start(s.dir)
	s.wire.mend()
	return dir
}

// stop takes etcd away.
func (s *stage) stop() {
	s.wire.cut()
	s.member.Close()
}

// start has etcd come back with other data, which nobody sees before the wire
// is mended.
func (s *stage) start(dir string) {
	s.t.Helper()
	s.dir = dir
	s.member = member(s.t, embedded.Config{DataDir: dir})
	s.wire.lead(s.member.ClientAddrs()[0])
}

// agreed waits until both followers are at the version that both keepers call
// the head, and returns it.
func (s *stage) agreed() store.Version {
	s.t.Helper()
	v := head(s.t, s.one)
	s.oneSees.until("the first", func() bool { return s.oneSees.version.Epoch == v.Epoch })
	s.twoSees.until("the second", func() bool { return s.twoSees.version.Epoch == v.Epoch })
	if w := head(s.t, s.two); w != v {
		s.t.Fatalf("one keeper's head is %+v, the other's %+v", v, w)
	}
	s.oneSees.reach(v)
	s.twoSees.reach(v)
	if !maps.Equal(s.oneSees.routes, s.twoSees.routes) {
		s.t.Errorf("one sees %v, the other %v", s.oneSees.routes, s.twoSees.routes)
	}
	return v
}

func TestARestartIsNoNewHistory(t *testing.T) {
	t.Parallel()
	s := newStage(t)
	commit(t, s.one, route("a", "one"))
	s.watch()
	before := s.agreed()
	s.stop()
	s.start(s.dir)
	s.wire.mend()
	if v := s.agreed(); v != before {
		t.Errorf("head was %+v, is %+v", before, v)
	}
	commit(t, s.two, route("a", "two"))
	s.agreed()
	if s.oneSees.wholes != 1 || s.twoSees.wholes != 1 {
		t.Errorf("%d and %d whole states came, want one each", s.oneSees.wholes, s.twoSees.wholes)
	}
}

func TestARestoredBackupIsANewEpoch(t *testing.T) {
	t.Parallel()
	s := newStage(t)
	commit(t, s.one, route("a", "one"))
	backup := s.backup()
	s.watch()
	commit(t, s.one, route("a", "two"))
	commit(t, s.one, route("b", "one"))
	before := s.agreed()

	s.stop()
	s.start(backup)
	s.wire.mend()
	after := s.agreed()
	if after.Epoch == before.Epoch {
		t.Errorf("the epoch is still %s", after.Epoch)
	}
	if want := map[string]string{"a": "http://one"}; !maps.Equal(s.oneSees.routes, want) {
		t.Errorf("followers have %v, want what was restored: %v", s.oneSees.routes, want)
	}
	commit(t, s.two, route("c", "one"))
	if v := s.agreed(); v.Epoch != after.Epoch {
		t.Errorf("the epoch changed again, to %s", v.Epoch)
	}
	if s.oneSees.wholes != 2 || s.twoSees.wholes != 2 {
		t.Errorf("%d and %d whole states came, want two each", s.oneSees.wholes, s.twoSees.wholes)
	}
}

// The store has fallen behind, and caught up with other changes before any
// follower is back.
func TestARestoredBackupThatHasMovedOnIsANewEpoch(t *testing.T) {
	t.Parallel()
	s := newStage(t)
	commit(t, s.one, route("a", "one"))
	backup := s.backup()
	s.watch()
	commit(t, s.one, route("a", "two"))
	commit(t, s.one, route("b", "one"))
	before := s.agreed()

	s.stop()
	s.start(backup)
	there, err := s.member.Keeper(etcd.Config{})
	if err != nil {
		t.Fatal(err)
	}
	for i := range 10 {
		commit(t, there, route("c", fmt.Sprint(i)))
	}
	if v := head(t, there); v.Epoch != before.Epoch || v.Revision <= before.Revision {
		t.Fatalf("head is %+v, and was %+v: the test does not show what it should", v, before)
	}
	s.wire.mend()
	s.oneSees.until("a second whole state", func() bool { return s.oneSees.wholes == 2 })
	after := s.agreed()
	if after.Epoch == before.Epoch {
		t.Errorf("the epoch is still %s", after.Epoch)
	}
	if want := map[string]string{"a": "http://one", "c": "http://9"}; !maps.Equal(s.oneSees.routes, want) {
		t.Errorf("followers have %v, want %v", s.oneSees.routes, want)
	}
}

func TestAnotherStoreInItsPlaceIsANewEpoch(t *testing.T) {
	t.Parallel()
	s := newStage(t)
	commit(t, s.one, route("a", "one"))
	s.watch()
	before := s.agreed()
	s.stop()
	s.start(t.TempDir())
	s.wire.mend()
	if after := s.agreed(); after.Epoch == before.Epoch || len(s.oneSees.routes) != 0 {
		t.Errorf("followers are at %+v with %v", after, s.oneSees.routes)
	}
}

// Nobody follows, and somebody asks.
func TestHeadNoticesARestoredBackup(t *testing.T) {
	t.Parallel()
	s := newStage(t)
	commit(t, s.one, route("a", "one"))
	backup := s.backup()
	commit(t, s.one, route("a", "two"))
	before := head(t, s.one)
	s.stop()
	s.start(backup)
	s.wire.mend()
	after := head(t, s.one)
	if after.Epoch == before.Epoch {
		t.Errorf("head was %+v, is %+v", before, after)
	}
	if v := head(t, s.two); v != after {
		t.Errorf("the other keeper's head is %+v, want %+v", v, after)
	}
}

// Of all who notice, one begins the new epoch, and the others take it.
func TestOnlyOneNewEpochBegins(t *testing.T) {
	t.Parallel()
	s := newStage(t)
	before := head(t, s.one)
	noticed, err := etcd.Where(s.one, t.Context())
	if err != nil {
		t.Fatal(err)
	}
	var after [2]store.Version
	for i, k := range []*etcd.Keeper{s.one, s.two} {
		if err := etcd.Renew(k, t.Context(), noticed); err != nil {
			t.Fatal(err)
		}
		after[i] = head(t, k)
	}
	if after[0].Epoch == before.Epoch || after[1] != after[0] || after[0].Revision != before.Revision {
		t.Errorf("head was %+v, then %+v, then %+v", before, after[0], after[1])
	}
}
