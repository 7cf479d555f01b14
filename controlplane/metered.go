package controlplane

import (
	"context"
	"errors"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"signalbox/store"
)

// meters is what is told of a store's answers.
type meters struct {
	took   *prometheus.HistogramVec // by request
	failed *prometheus.CounterVec   // by request and reason
	writes *prometheus.CounterVec   // by kind and result

	mu   sync.Mutex
	head store.Version // the newest that this replica has heard of
}

func newMeters() *meters {
	m := &meters{
		took: prometheus.NewHistogramVec(prometheus.HistogramOpts{
			Name: prefix + "store_request_duration_seconds", Help: "How long the store took to answer, failures included.",
			Buckets: []float64{.001, .005, .025, .1, .5, 2.5, 10}, NativeHistogramBucketFactor: 1.1, NativeHistogramMaxBucketNumber: 100,
		}, []string{"request"}),
		failed: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: prefix + "store_failures_total", Help: "Requests that the store did not answer as it should: unavailable, full, limit (too large a transaction), other. A condition that does not hold is no failure.",
		}, []string{"request", "reason"}),
		writes: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: prefix + "writes_total", Help: "Transactions of records, by the kind of the first: ok, conflict (planned anew, or refused), unavailable (it is not known whether it was made), full, limit, other.",
		}, []string{"kind", "result"}),
	}
	for _, kind := range kinds {
		m.writes.WithLabelValues(string(kind), "ok")
		m.writes.WithLabelValues(string(kind), "unavailable")
	}
	for _, request := range []string{"commit", "read", "head", "notes"} {
		m.failed.WithLabelValues(request, "unavailable")
	}
	return m
}

// kinds are all there are.
var kinds = []store.Kind{store.KindRoute, store.KindListener, store.KindNode, store.KindAPIKey, store.KindRevocation, store.KindInstance, store.KindAssignment}

// done counts a request that was sent at a moment, and returns what became of
// it in a word.
func (m *meters) done(request string, begun time.Time, err error) string {
	m.took.WithLabelValues(request).Observe(time.Since(begun).Seconds())
	result := resultOf(err)
	if result != "ok" && result != "conflict" {
		m.failed.WithLabelValues(request, result).Inc()
	}
	return result
}

// resultOf is what became of a request, in a word.
func resultOf(err error) string {
	var conflict *store.ConflictError
	var limit *store.LimitError
	switch {
	case err == nil:
		return "ok"
	case errors.As(err, &conflict):
		return "conflict"
	case errors.As(err, &limit):
		return "limit"
	case errors.Is(err, store.ErrFull):
		return "full"
	case errors.Is(err, store.ErrUnavailable):
		return "unavailable"
	}
	return "other"
}

// reached takes note of a version that the store has. Without an epoch it is
// of the one that is known.
func (m *meters) reached(v store.Version) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if v.Epoch != "" && v.Epoch != m.head.Epoch {
		m.head = v
	}
	m.head.Revision = max(m.head.Revision, v.Revision)
}

// newest is the newest version that the store is known to have.
func (m *meters) newest() store.Version {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.head
}

// meteredRecords are records whose requests are counted.
type meteredRecords struct {
	store.Records
	*meters
}

// Commit implements store.Records.
func (r meteredRecords) Commit(ctx context.Context, txn store.Txn) (store.Revision, error) {
	begun := time.Now()
	rev, err := r.Records.Commit(ctx, txn)
	r.writes.WithLabelValues(kindOf(txn), r.done("commit", begun, err)).Inc()
	if err == nil {
		r.reached(store.Version{Revision: rev})
	}
	return rev, err
}

// kindOf is the kind of the first record in a transaction.
func kindOf(txn store.Txn) string {
	switch {
	case len(txn.Put) > 0:
		return string(txn.Put[0].Kind)
	case len(txn.Delete) > 0:
		return string(txn.Delete[0].Kind)
	}
	return "none"
}

// Read implements store.Records.
func (r meteredRecords) Read(ctx context.Context, keys ...store.Key) ([]*store.Record, store.Version, error) {
	begun := time.Now()
	found, at, err := r.Records.Read(ctx, keys...)
	r.done("read", begun, err)
	return found, at, err
}

// Head implements store.Records.
func (r meteredRecords) Head(ctx context.Context) (store.Version, error) {
	begun := time.Now()
	v, err := r.Records.Head(ctx)
	r.done("head", begun, err)
	if err == nil {
		r.reached(v)
	}
	return v, err
}

// meteredNotes are notes whose transactions are counted.
type meteredNotes struct {
	store.Notes
	*meters
}

// PutNotes implements store.Notes.
func (n meteredNotes) PutNotes(ctx context.Context, put []store.Note, gone []string, unless ...store.NoteCondition) error {
	begun := time.Now()
	err := n.Notes.PutNotes(ctx, put, gone, unless...)
	n.done("notes", begun, err)
	return err
}
