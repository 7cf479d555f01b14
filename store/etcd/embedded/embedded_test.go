package embedded_test

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"

	"signalbox/store"
	"signalbox/store/etcd"
	"signalbox/store/etcd/embedded"
	"signalbox/store/storetest"
)

// In a process of its own the test binary is a member, until its input ends.
const beMember = "SIGNALBOX_TEST_MEMBER_DIR"

func TestMain(m *testing.M) {
	if dir := os.Getenv(beMember); dir != "" {
		os.Exit(run(dir))
	}
	goleak.VerifyTestMain(m)
}

func run(dir string) int {
	m, err := embedded.Start(context.Background(), embedded.Config{DataDir: dir})
	if err != nil {
		return 1
	}
	defer m.Close()
	_, _ = os.Stdout.WriteString("ready\n")
	_, _ = bufio.NewReader(os.Stdin).ReadString('\n')
	return 0
}

func start(t *testing.T, cfg embedded.Config) *embedded.Member {
	t.Helper()
	m, err := embedded.Start(t.Context(), cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(m.Close)
	return m
}

func keeper(t *testing.T, m *embedded.Member) *etcd.Keeper {
	t.Helper()
	k, err := m.Keeper(etcd.Config{})
	if err != nil {
		t.Fatal(err)
	}
	return k
}

func put(name, data string) store.Txn {
	return store.Txn{Put: []store.Record{storetest.Route(name, data)}}
}

func TestWhatWasWrittenIsThereAfterARestart(t *testing.T) {
	cfg := embedded.Config{DataDir: filepath.Join(t.TempDir(), "made", "by it")}
	m := start(t, cfg)
	rev, err := keeper(t, m).Commit(t.Context(), put("a", "one"))
	if err != nil {
		t.Fatal(err)
	}
	before, err := keeper(t, m).Head(t.Context())
	if err != nil || before.Revision != rev {
		t.Fatalf("head is %+v, %v, want %d", before, err, rev)
	}
	m.Close()
	m.Close() // does nothing

	m = start(t, cfg)
	after, err := keeper(t, m).Head(t.Context())
	if err != nil || after != before {
		t.Errorf("head was %+v and is %+v, %v", before, after, err)
	}
	if found, _, err := keeper(t, m).Read(t.Context(), store.Key{Kind: store.KindRoute, Name: "a"}); err != nil || found[0] == nil {
		t.Errorf("read %v, %v", found, err)
	}
	if info, err := os.Stat(cfg.DataDir); err != nil || info.Mode().Perm() != 0o700 {
		t.Errorf("the data directory is %v, %v", info.Mode(), err)
	}
}

func TestAMemberThatStopsByItselfSaysSo(t *testing.T) {
	m := start(t, embedded.Config{DataDir: t.TempDir(), Unsafe: true})
	select {
	case err := <-m.Failed():
		t.Fatalf("it says %v while it runs", err)
	default:
	}
	m.Break()
	if err := <-m.Failed(); err == nil || !strings.Contains(err.Error(), "stopped by itself") {
		t.Errorf("it says %v", err)
	}
}

func TestAMemberAloneOpensNoSocket(t *testing.T) {
	m := start(t, embedded.Config{DataDir: t.TempDir(), Unsafe: true})
	if addrs := m.ClientAddrs(); len(addrs) != 0 {
		t.Errorf("clients are served at %v", addrs)
	}
}

func TestADataDirectoryIsUsedOnce(t *testing.T) {
	dir := t.TempDir()
	other := exec.Command(os.Args[0])
	other.Env = append(os.Environ(), beMember+"="+dir)
	in, err := other.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	out, err := other.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := other.Start(); err != nil {
		t.Fatal(err)
	}
	if line, err := bufio.NewReader(out).ReadString('\n'); line != "ready\n" {
		t.Fatalf("the other process says %q, %v", line, err)
	}
	_, err = embedded.Start(t.Context(), embedded.Config{DataDir: dir})
	if err == nil || !strings.Contains(err.Error(), "data directory "+dir+" is in use by another process") {
		t.Errorf("got %v", err)
	}
	_ = in.Close()
	if err := other.Wait(); err != nil {
		t.Fatalf("the other process: %v", err)
	}
	start(t, embedded.Config{DataDir: dir})
}

func TestConfigurationsThatCannotWorkAreSaidTo(t *testing.T) {
	file := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	for want, cfg := range map[string]embedded.Config{
		"no data directory is given":     {},
		"not a directory":                {DataDir: file},
		`"127.0.0.1:1" is not like http`: {DataDir: t.TempDir(), ListenClientURLs: []string{"127.0.0.1:1"}},
		"needs peer URLs":                {DataDir: t.TempDir(), InitialCluster: "a=http://127.0.0.1:1"},
		`unexpected clusterState "old"`:  {DataDir: t.TempDir(), InitialClusterState: "old"},
	} {
		m, err := embedded.Start(t.Context(), cfg)
		if err == nil {
			m.Close()
		}
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("got %v, want %q", err, want)
		}
	}
}

func TestAMemberWithoutItsClusterGivesUpWithCtx(t *testing.T) {
	ctx, cancel := context.WithTimeout(t.Context(), 200*time.Millisecond)
	defer cancel()
	_, err := embedded.Start(ctx, embedded.Config{
		DataDir:        t.TempDir(),
		Name:           "a",
		ListenPeerURLs: []string{"http://127.0.0.1:0"},
		InitialCluster: "a=http://127.0.0.1:0,b=http://127.0.0.1:1",
		Unsafe:         true,
	})
	if !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("got %v", err)
	}
}

func TestAFullStoreSaysSoAndTakesWritesAgainAfterARestart(t *testing.T) {
	cfg := embedded.Config{DataDir: t.TempDir(), QuotaBytes: 16 << 20, Unsafe: true}
	m := start(t, cfg)
	k := keeper(t, m)
	before, err := k.Head(t.Context())
	n := 0
	for ; err == nil && n < 100; n++ {
		_, err = k.Commit(t.Context(), put("a", strings.Repeat("x", 1<<20)))
	}
	if !errors.Is(err, store.ErrFull) || errors.Is(err, store.ErrUnavailable) {
		t.Fatalf("after %d writes: %v", n, err)
	}
	if err := k.PutNotes(t.Context(), []store.Note{{Name: "n"}}, nil); !errors.Is(err, store.ErrFull) {
		t.Errorf("a note: %v", err)
	}
	before, err = k.Head(t.Context())
	if err != nil {
		t.Errorf("head of a full store: %v", err)
	}
	m.Close()

	k = keeper(t, start(t, cfg))
	rev, err := k.Commit(t.Context(), put("a", "one"))
	if err != nil || rev <= before.Revision {
		t.Errorf("after a restart: %d, %v", rev, err)
	}
}

// Of the transactions under way when its room runs out, etcd makes some and
// answers all that there is no space.
func TestWhatIsRefusedForWantOfRoomIsNotWritten(t *testing.T) {
	m := start(t, embedded.Config{DataDir: t.TempDir(), QuotaBytes: 16 << 20, Unsafe: true})
	k := keeper(t, m)
	if _, err := k.Head(t.Context()); err != nil {
		t.Fatal(err)
	}
	value := strings.Repeat("x", 300<<10)
	var mu sync.Mutex
	outcome := map[string]error{}
	revs := map[string]store.Revision{}
	var writing sync.WaitGroup
	for w := range 16 {
		writing.Go(func() {
			for i := 0; i < 100; i++ {
				name := fmt.Sprintf("r%d.%d", w, i)
				txn := put(name, value)
				txn.If = []store.Condition{{Key: txn.Put[0].Key}}
				rev, err := k.Commit(t.Context(), txn)
				mu.Lock()
				outcome[name], revs[name] = err, rev
				mu.Unlock()
				if err != nil {
					return
				}
			}
		})
	}
	writing.Wait()
	full := 0
	for name, err := range outcome {
		found, _, readErr := k.Read(t.Context(), put(name, "").Put[0].Key)
		if readErr != nil {
			t.Fatal(readErr)
		}
		switch r := found[0]; {
		case err == nil && (r == nil || r.Modified != revs[name]):
			t.Errorf("%s was written at %d, and is %v", name, revs[name], r)
		case errors.Is(err, store.ErrFull) && r != nil:
			t.Errorf("%s was refused and is written: %v", name, err)
		case errors.Is(err, store.ErrFull):
			full++
		case err != nil:
			t.Errorf("%s: %v", name, err)
		}
	}
	t.Logf("%d writes, %d refused", len(outcome), full)
}

func TestClosingDoesNotWaitForWatches(t *testing.T) {
	m := start(t, embedded.Config{DataDir: t.TempDir(), Unsafe: true, ListenClientURLs: []string{"http://127.0.0.1:0"}})
	k, err := etcd.Open(etcd.Config{Endpoints: m.ClientAddrs()})
	if err != nil {
		t.Fatal(err)
	}
	defer k.Close()
	ctx, stop := context.WithCancel(t.Context())
	whole, done := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(done)
		_ = k.Follow(ctx, func(store.Change) error { close(whole); return nil })
	}()
	<-whole
	closed := make(chan struct{})
	go func() {
		m.Close()
		close(closed)
	}()
	select {
	case <-closed:
	case <-time.After(4 * time.Second): // etcd by itself takes five
		t.Error("still not closed")
	}
	stop()
	<-done
	<-closed
}
