package feed

import (
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
)

// What ended an attempt says when to try again, and how often that has failed.
func TestRetry(t *testing.T) {
	d := defaults()
	synctest.Test(t, func(t *testing.T) { // in which no time passes
		for name, c := range map[string]struct {
			err      error
			welcomed bool
			fails    int // before
			want     int // fails after
			parked   string
			from, to time.Duration
		}{
			"a second stream to a replica": {err: &duplicateError{Replica: "cp2"}, welcomed: true, fails: 3, parked: "cp2"},
			"another stream took its place": {
				err: status.Error(codes.Aborted, ""), welcomed: true, fails: 3, parked: "cp1", from: d.backoff, to: 2 * d.backoff,
			},
			"a key that is refused": {
				err: status.Error(codes.Unauthenticated, ""), fails: 3, want: 4, from: d.refused / 2, to: d.refused,
			},
			"a control plane that was lost": {
				err: status.Error(codes.Unavailable, ""), welcomed: true, fails: 3, from: d.backoff / 4, to: d.backoff / 2,
			},
			"one that sends nonsense": {
				err: &faultError{errors.New("part 3")}, welcomed: true, want: 1, from: d.backoff / 2, to: d.backoff,
			},
			"the first failure":  {err: status.Error(codes.Unavailable, ""), want: 1, from: d.backoff / 2, to: d.backoff},
			"the fourth":         {err: status.Error(codes.Unavailable, ""), fails: 3, want: 4, from: 4 * d.backoff, to: 8 * d.backoff},
			"the five hundredth": {err: status.Error(codes.Unavailable, ""), fails: 499, want: 500, from: d.backoffMax / 2, to: d.backoffMax},
		} {
			l := newLoop(newRig(t, "cp:1").make())
			k := &link{addr: "a:1", replica: "cp1", fails: c.fails}
			l.conf.timing = d
			l.retry(k, c.welcomed, c.err)
			if k.fails != c.want || k.parked != c.parked || l.fatal != nil || !errors.Is(k.err, c.err) {
				t.Errorf("%s: the link is %+v, failed for good: %v", name, k, l.fatal)
			}
			if wait := time.Until(k.due); wait < c.from || wait > c.to {
				t.Errorf("%s: tried again after %v, want %v to %v", name, wait, c.from, c.to)
			}
		}
	})
}
