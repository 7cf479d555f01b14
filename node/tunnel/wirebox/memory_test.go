package wirebox_test

import (
	"io"
	"runtime"
	"testing"
	"time"

	"signalbox/node/tunnel/link"
	"signalbox/proto/tunnelurl"
)

// heap is how much is in use.
func heap() int64 {
	var m runtime.MemStats
	runtime.GC()
	runtime.GC() // and what the first one left in pools
	runtime.ReadMemStats(&m)
	return int64(m.HeapAlloc)
}

// Connections are open for long, and mostly nothing is sent.
func TestStreamsAreSmallAgainAfterABurst(t *testing.T) {
	const streams, burst, most = 20, 8 << 20, 1 << 20
	opens, accepts := pair(t, tunnelurl.Server)
	var out, in []link.Stream
	for range streams {
		s, r := open(t, opens, accepts, link.TCP)
		out, in = append(out, s), append(in, r.Stream)
	}
	before := heap()
	chunk := make([]byte, burst/streams)
	for i, s := range out { // so that all of it waits before any is read
		if _, err := s.Write(chunk); err != nil {
			t.Fatalf("stream %d: %v", i, err)
		}
	}
	full := heap()
	for i, s := range in {
		if _, err := io.CopyN(io.Discard, s, int64(len(chunk))); err != nil {
			t.Fatalf("stream %d: %v", i, err)
		}
	}
	ctx, clock := bounded(t), time.NewTicker(100*time.Millisecond)
	defer clock.Stop()
	for after := heap(); after > before+most; after = heap() {
		select {
		case <-clock.C:
		case <-ctx.Done():
			t.Fatalf("%d KiB in use, %d before and %d when streams were full", after>>10, before>>10, full>>10)
		}
	}
	runtime.KeepAlive(chunk)
	for i, s := range out { // and they go on
		if _, err := s.Write([]byte("more")); err != nil {
			t.Fatalf("stream %d: %v", i, err)
		}
		if _, err := io.ReadFull(in[i], make([]byte, 4)); err != nil {
			t.Fatalf("stream %d: %v", i, err)
		}
	}
	t.Logf("%d KiB before, %d full", before>>10, full>>10)
}
