package main

import (
	"context"
	"flag"
	"fmt"
	"testing"
	"time"
	"unsafe"

	signalboxv1 "signalbox/proto/gen/signalbox/v1"

	"signalbox/node/route"
)

// A lookup is how long finding the route of a request takes.
type lookup struct {
	// Hot is for inCaches routes in turn, All for all of them, each far from
	// the one before. Nanoseconds.
	Hot, All float64
	// Allocations of one look-up.
	Allocations int64
}

// inCaches is a number of routes that are still in caches when their turn comes
// again.
const inCaches = 64

// lookupTime is how long one measurement goes on.
const lookupTime = 300 * time.Millisecond

// beLookup measures. It is asked with a number of routes.
func beLookup(_ context.Context, _ []byte, serve func(func(string) (any, error)) error) error {
	testing.Init()
	if err := flag.Set("test.benchtime", lookupTime.String()); err != nil {
		return err
	}
	tables := map[int]*route.Table{}
	return serve(func(question string) (any, error) {
		var n int
		if _, err := fmt.Sscan(question, &n); err != nil {
			return nil, err
		}
		if tables[n] == nil {
			tables[n] = table(n)
		}
		h, a := matches(tables[n], n, min(n, inCaches)), matches(tables[n], n, n)
		if h.N == 0 || a.N == 0 {
			return nil, fmt.Errorf("a path of %d routes has no match", n)
		}
		return lookup{Hot: each(h), All: each(a), Allocations: max(h.AllocsPerOp(), a.AllocsPerOp())}, nil
	})
}

func table(n int) *route.Table {
	records := make([]*signalboxv1.Route, n)
	for i := range records {
		records[i] = sentRecord(i)
	}
	t, _ := route.New(route.Config{}).Whole(records)
	return t
}

// sentRecord is a route as a node is sent it.
func sentRecord(i int) *signalboxv1.Route {
	r := record(i)
	r.Meta = &signalboxv1.Meta{CreatedRevision: int64(i + 2), Revision: int64(i + 2)}
	return r
}

// matches finds the routes of requests for so many of n routes, again and
// again: parses path and host, and looks them up, as is done for a request.
func matches(t *route.Table, n, asked int) testing.BenchmarkResult {
	// One path that is changed in place: what has just been read from a
	// connection is in caches too.
	buf := []byte(path(0))
	digits := buf[len("/user/name-"):][:6]
	request := unsafe.String(&buf[0], len(buf)) // nobody keeps it
	step := stride(asked)
	return testing.Benchmark(func(b *testing.B) {
		b.ReportAllocs()
		for i := 0; b.Loop(); i = (i + step) % asked {
			write(digits, i*(n/asked))
			p, _ := route.ParsePath(request)
			if _, ok := t.Match(route.Host("hub.example.org:8000"), p.Clean); !ok {
				b.Fatal("no match")
			}
		}
	})
}

// stride is a step that visits all of n, each far from the one before.
func stride(n int) int {
	s := n*618/1000 | 1
	for gcd(s, n) != 1 {
		s += 2
	}
	return s
}

func gcd(a, b int) int {
	for b != 0 {
		a, b = b, a%b
	}
	return a
}

// write writes a number with leading zeros.
func write(digits []byte, n int) {
	for i := len(digits) - 1; i >= 0; i-- {
		digits[i] = byte('0' + n%10)
		n /= 10
	}
}

func each(r testing.BenchmarkResult) float64 {
	return float64(r.T.Nanoseconds()) / float64(r.N)
}
