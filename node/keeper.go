package node

import (
	"context"
	"log/slog"
	"sync"
	"time"

	"signalbox/node/feed"
)

const (
	// keepEvery is how often the last-known-good file is written at most.
	keepEvery = time.Second
	// keepShare is how many times longer than the last writing took the next
	// one waits, so that a large table that changes all the time costs little.
	keepShare = 20
	// keepRetry is how long to wait after the file could not be written.
	keepRetry = 10 * time.Second
)

// A keeper keeps what was applied in the last-known-good file. It is told of
// changes at once and does everything else later: nobody waits for it.
type keeper struct {
	dir  string
	log  *slog.Logger
	wake chan struct{} // has an element when there are changes

	counts keeping

	mu      sync.Mutex // guards changes
	changes []applied

	// The running goroutine's alone: what the file holds, or should, and why it
	// could not be written last, empty when it could.
	state  state
	failed string
}

// applied is a change, which records were refused, and which that were before
// are in force.
type applied struct {
	change   *feed.Change
	refused  map[feed.Key]bool
	accepted []feed.Key
}

func newKeeper(dir string, log *slog.Logger) *keeper {
	return &keeper{dir: dir, log: log, wake: make(chan struct{}, 1), state: newState()}
}

// keep has a change kept.
func (k *keeper) keep(a applied) {
	k.mu.Lock()
	k.changes = append(k.changes, a)
	k.mu.Unlock()
	k.rouse()
}

func (k *keeper) rouse() {
	select {
	case k.wake <- struct{}{}:
	default: // it is awake already
	}
}

// run keeps changes until ctx ends, and then once more if there is need.
func (k *keeper) run(ctx context.Context) {
	pause := time.NewTimer(0)
	defer pause.Stop()
	for {
		select {
		case <-k.wake:
		case <-ctx.Done():
			select {
			case <-k.wake:
				k.write()
			default:
			}
			return
		}
		pause.Reset(k.write())
		select {
		case <-pause.C:
		case <-ctx.Done():
		}
	}
}

// write writes the file, and returns how long to wait before the next time.
func (k *keeper) write() time.Duration {
	begun := time.Now()
	k.mu.Lock()
	changes := k.changes
	k.changes = nil
	k.mu.Unlock()
	for _, a := range changes {
		k.state.apply(a)
	}
	rev := k.state.version.GetRevision()
	if err := writeState(k.dir, &k.state); err != nil {
		k.counts.failed.Add(1)
		if k.failed != err.Error() { // a full disk is full for long, and that is said once
			k.log.Error("last-known-good file cannot be written", "rev", rev, "err", err)
		}
		k.failed = err.Error()
		k.rouse()
		return keepRetry
	}
	k.counts.written.Add(1)
	k.counts.at.Store(time.Now().UnixNano())
	if k.failed != "" {
		k.failed = ""
		k.log.Info("last-known-good file written again", "rev", rev)
	}
	return max(keepEvery, keepShare*time.Since(begun))
}
