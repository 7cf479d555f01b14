package main

import (
	"context"
	"log/slog"

	"github.com/coreos/go-systemd/v22/daemon"
)

// notifyReady tells systemd, if it started this process as a unit of
// Type=notify, that the process serves, and that it stops once ctx ends. What
// it returns waits for that, and is called on the way out.
func notifyReady(ctx context.Context, log *slog.Logger) (stopped func()) {
	tell := func(state string) {
		if _, err := daemon.SdNotify(false, state); err != nil {
			log.Warn("systemd not told", "said", state, "err", err)
		}
	}
	tell(daemon.SdNotifyReady)
	told := make(chan struct{})
	forget := context.AfterFunc(ctx, func() {
		defer close(told)
		tell(daemon.SdNotifyStopping)
	})
	return func() {
		if !forget() {
			<-told
		}
	}
}
