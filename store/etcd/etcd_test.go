package etcd_test

import (
	"context"
	"fmt"
	"testing"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"
	"go.uber.org/goleak"

	"signalbox/store"
	"signalbox/store/etcd"
	"signalbox/store/etcd/embedded"
	"signalbox/store/storetest"
)

// Members of a cluster whose peers are killed wait for them on HTTP connections
// for five seconds; nothing else here uses net/http.
func TestMain(m *testing.M) {
	goleak.VerifyTestMain(m,
		goleak.IgnoreAnyFunction("net/http.(*persistConn).readLoop"),
		goleak.IgnoreAnyFunction("net/http.(*persistConn).writeLoop"),
		goleak.IgnoreAnyFunction("net/http.(*conn).serve"),
		goleak.IgnoreAnyFunction("net/http.(*connReader).backgroundRead"),
	)
}

// member starts a member, alone, that serves clients on a loopback port, until
// the test ends.
func member(t *testing.T, cfg embedded.Config) *embedded.Member {
	t.Helper()
	if cfg.DataDir == "" {
		cfg.DataDir = t.TempDir()
	}
	if cfg.ListenClientURLs == nil {
		cfg.ListenClientURLs = []string{"http://127.0.0.1:0"}
	}
	cfg.Unsafe = true
	m, err := embedded.Start(t.Context(), cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(m.Close)
	return m
}

// open opens a keeper until the test ends.
func open(t *testing.T, cfg etcd.Config) *etcd.Keeper {
	t.Helper()
	k, err := etcd.Open(cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := k.Close(); err != nil {
			t.Errorf("close: %v", err)
		}
	})
	return k
}

// compact makes a member forget all that was before now.
func compact(t *testing.T, m *embedded.Member) {
	t.Helper()
	now, err := m.Client().Get(t.Context(), "x")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := m.Client().Compact(t.Context(), now.Header.Revision, clientv3.WithCompactPhysical()); err != nil {
		t.Fatal(err)
	}
}

func TestPromises(t *testing.T) {
	t.Parallel()
	m := member(t, embedded.Config{})
	n := 0
	storetest.Run(t, func(t *testing.T) storetest.Subject {
		n++
		prefix := fmt.Sprintf("/test-%d", n)
		w := newWire(t, m.ClientAddrs()[0])
		return storetest.Subject{
			Keeper:  open(t, etcd.Config{Endpoints: []string{w.addr()}, Prefix: prefix}),
			Other:   open(t, etcd.Config{Endpoints: m.ClientAddrs(), Prefix: prefix}),
			Compact: func(t *testing.T) { compact(t, m) },
			PutRaw: func(t *testing.T, key store.Key, value []byte) {
				if _, err := m.Client().Put(t.Context(), prefix+"/signalbox/v1/"+key.String(), string(value)); err != nil {
					t.Fatal(err)
				}
			},
			Cut:  func(*testing.T) { w.cut() },
			Mend: func(*testing.T) { w.mend() },
		}
	})
}

// The same over the way inside the process; it cannot be cut.
func TestPromisesInProcess(t *testing.T) {
	t.Parallel()
	m := member(t, embedded.Config{})
	n := 0
	storetest.Run(t, func(t *testing.T) storetest.Subject {
		n++
		keeper := func() *etcd.Keeper {
			k, err := m.Keeper(etcd.Config{Prefix: fmt.Sprintf("/test-%d", n)})
			if err != nil {
				t.Fatal(err)
			}
			return k
		}
		return storetest.Subject{
			Keeper:  keeper(),
			Other:   keeper(),
			Compact: func(t *testing.T) { compact(t, m) },
			PutRaw: func(t *testing.T, key store.Key, value []byte) {
				if _, err := m.Client().Put(t.Context(), fmt.Sprintf("/test-%d/signalbox/v1/%s", n, key), string(value)); err != nil {
					t.Fatal(err)
				}
			},
		}
	})
}

func contextFor(t *testing.T, d time.Duration) (context.Context, context.CancelFunc) {
	return context.WithTimeout(t.Context(), d)
}
