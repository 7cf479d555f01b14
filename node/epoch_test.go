package node

import (
	"log/slog"
	"math"
	"os"
	"path/filepath"
	"strconv"
	"testing"
)

// A process is later than the one before it, whatever the clock says, and one
// that cannot know starts by the clock.
func TestEpochsGrowInAStateDirectory(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "state")
	start := func(clock int64) int64 {
		n := &Node{conf: Config{StateDir: dir}, log: slog.New(slog.DiscardHandler), epoch: clock}
		if err := n.keepEpoch(); err != nil {
			t.Fatal(err)
		}
		return n.epoch
	}
	for _, c := range []struct{ clock, want int64 }{{1000, 1000}, {2000, 2000}, {1500, 2001}, {2001, 2002}, {3000, 3000}} {
		if got := start(c.clock); got != c.want {
			t.Errorf("by the clock %d: got %d, want %d", c.clock, got, c.want)
		}
	}
	for _, garbage := range []string{"", "garbage", strconv.FormatInt(math.MaxInt64, 10)} {
		if err := os.WriteFile(filepath.Join(dir, epochFile), []byte(garbage), 0o600); err != nil {
			t.Fatal(err)
		}
		if got := start(1000); got != 1000 {
			t.Errorf("after %q: got %d", garbage, got)
		}
	}
}
