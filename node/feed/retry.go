package feed

import (
	"errors"
	"math/rand/v2"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
)

// retry decides when to try a link again after what ended its attempt.
func (l *loop) retry(k *link, welcomed bool, err error) {
	t, now, before := l.conf.timing, time.Now(), k.err
	k.err = err
	var dup *duplicateError
	switch code := status.Code(err); {
	case errors.Is(err, errRenewed):
		k.fails, k.due = 0, now
	case errors.As(err, &dup):
		k.parked, k.fails, k.due = dup.Replica, 0, now
		l.log.Debug("one stream to a control plane is enough", "addr", k.addr, "controlplane", k.replica)
	case (code == codes.AlreadyExists || code == codes.Aborted) && welcomed:
		// A stream of a newer process took its place, or one of our own that
		// reached the same replica at another address. The first is found out
		// when trying again; the second has been welcomed by then.
		k.parked, k.fails, k.due = k.replica, 0, now.Add(jitter(2*t.backoff))
		l.log.Debug("another stream took this one's place", "addr", k.addr, "controlplane", k.replica)
	case code == codes.AlreadyExists:
		l.fatal = &ReplacedError{Node: l.conf.Node, Reason: status.Convert(err).Message()}
	case code == codes.Unauthenticated || code == codes.PermissionDenied:
		k.fails++
		k.due = now.Add(jitter(t.refused))
		if status.Code(before) != code {
			l.log.Error("control plane refuses this node: it needs a key with scope node, or a certificate, that is good for its name",
				"addr", k.addr, "err", err)
		}
	case welcomed && !ours(err):
		k.fails, k.due = 0, now.Add(jitter(t.backoff)/2)
		l.log.Warn("lost control plane", "addr", k.addr, "controlplane", k.replica, "err", err)
	default:
		k.fails++
		k.due = now.Add(jitter(min(t.backoff<<min(k.fails-1, 16), t.backoffMax)))
		if welcomed || k.fails == 1 || k.fails%100 == 0 {
			l.log.Warn("cannot reach control plane", "addr", k.addr, "err", err)
		}
	}
}

// ours reports whether the node itself ended a stream, for a reason that will
// hardly be gone at once.
func ours(err error) bool {
	var fault *faultError
	return errors.As(err, &fault) || errors.Is(err, errProtocol) || errors.Is(err, errBlocked) ||
		errors.Is(err, errFrozen) || errors.Is(err, errCannotFeed)
}

// jitter is between half of d and d, so that many nodes do not come at once.
func jitter(d time.Duration) time.Duration { return d/2 + rand.N(d/2+1) }
