package etcd_test

import (
	"fmt"
	"testing"

	clientv3 "go.etcd.io/etcd/client/v3"
	"go.uber.org/zap"

	"signalbox/store"
	"signalbox/store/etcd"
	"signalbox/store/etcd/embedded"
	"signalbox/store/storetest"
)

// What a commit costs beside a bare put of the same bytes: writing a route
// again, and creating one, with its condition and claim.
func BenchmarkCommit(b *testing.B) {
	m, err := embedded.Start(b.Context(), embedded.Config{DataDir: b.TempDir(), ListenClientURLs: []string{"http://127.0.0.1:0"}})
	if err != nil {
		b.Fatal(err)
	}
	defer m.Close()
	inside, err := m.Keeper(etcd.Config{})
	if err != nil {
		b.Fatal(err)
	}
	outside, err := etcd.Open(etcd.Config{Endpoints: m.ClientAddrs()})
	if err != nil {
		b.Fatal(err)
	}
	defer outside.Close()
	client, err := clientv3.New(clientv3.Config{Endpoints: m.ClientAddrs(), Logger: zap.NewNop()})
	if err != nil {
		b.Fatal(err)
	}
	defer client.Close()
	for _, way := range []struct {
		name   string
		client *clientv3.Client
		keeper *etcd.Keeper
	}{
		{"inside", m.Client(), inside},
		{"outside", client, outside},
	} {
		r := storetest.Route("bench", "10.0.0.1:8888")
		value, err := store.Encode(r)
		if err != nil {
			b.Fatal(err)
		}
		b.Run(way.name+"/put", func(b *testing.B) {
			for b.Loop() {
				if _, err := way.client.Put(b.Context(), "/bench", string(value)); err != nil {
					b.Fatal(err)
				}
			}
		})
		b.Run(way.name+"/write", func(b *testing.B) {
			for b.Loop() {
				if _, err := way.keeper.Commit(b.Context(), store.Txn{Put: []store.Record{r}}); err != nil {
					b.Fatal(err)
				}
			}
		})
		n := 0
		b.Run(way.name+"/create", func(b *testing.B) {
			for b.Loop() {
				n++
				r := storetest.Route(fmt.Sprint(way.name, n), "10.0.0.1:8888")
				if _, err := way.keeper.Commit(b.Context(), store.Txn{
					If:    []store.Condition{{Key: r.Key}},
					Put:   []store.Record{r},
					Claim: []store.Claim{{Name: "match /" + r.Name, Holder: r.Key}},
				}); err != nil {
					b.Fatal(err)
				}
			}
		})
		b.Run(way.name+"/head", func(b *testing.B) {
			for b.Loop() {
				if _, err := way.keeper.Head(b.Context()); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
