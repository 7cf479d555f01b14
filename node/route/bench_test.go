package route_test

import (
	"fmt"
	"runtime"
	"testing"

	signalboxv1 "signalbox/proto/gen/signalbox/v1"

	"signalbox/node/route"
)

var sizes = []int{100, 10_000, 100_000}

// BenchmarkMatch must be flat in the number of routes, and free of allocations.
func BenchmarkMatch(b *testing.B) {
	for _, n := range sizes {
		tab := table(b, users(n)...)
		b.Run(fmt.Sprint(n), func(b *testing.B) {
			paths := make([]string, 64)
			for i := range paths {
				paths[i] = fmt.Sprintf("/user/name-%06d/api/kernels/0123456789", i*n/len(paths))
			}
			b.ReportAllocs()
			for i := 0; b.Loop(); i++ {
				p, _ := route.ParsePath(paths[i&63])
				if _, ok := tab.Match(route.Host("www.example.org:8000"), p.Clean); !ok {
					b.Fatal("no match")
				}
			}
		})
	}
}

// BenchmarkOneChange is one more route, and one less.
func BenchmarkOneChange(b *testing.B) {
	for _, n := range sizes {
		tab := table(b, users(n)...)
		one := []*signalboxv1.Route{record("new", 1_000_000, "", "/user/new")}
		b.Run(fmt.Sprintf("put-%d", n), func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				tab.With(one, nil)
			}
		})
		b.Run(fmt.Sprintf("remove-%d", n), func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				tab.With(nil, []string{"chp/user/name-000050"})
			}
		})
	}
}

// BenchmarkWhole is a whole state: from nothing, and again over itself.
func BenchmarkWhole(b *testing.B) {
	for _, n := range sizes {
		recs := users(n)
		b.Run(fmt.Sprintf("new-%d", n), func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				route.New(route.Config{}).Whole(recs)
			}
		})
		tab := table(b, recs...)
		b.Run(fmt.Sprintf("same-%d", n), func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				tab.Whole(recs)
			}
		})
	}
}

// BenchmarkMemory reports what a table holds beside the records' own strings.
func BenchmarkMemory(b *testing.B) {
	const n = 100_000
	recs := users(n)
	for b.Loop() {
		var before, after runtime.MemStats
		runtime.GC()
		runtime.ReadMemStats(&before)
		tab := table(b, recs...)
		runtime.GC()
		runtime.ReadMemStats(&after)
		b.ReportMetric(float64(after.HeapAlloc-before.HeapAlloc)/n, "B/route")
		runtime.KeepAlive(tab)
	}
}
