package main

import (
	"context"
	"errors"
	"log/slog"
	"strings"
	"testing"
	"time"
)

// A control plane whose own etcd has ended does not go on without it: the
// process fails, for whoever watches over it to start it again.
func TestAProcessEndsWithItsStore(t *testing.T) {
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	kept, err := openEmbedded(ctx, t.TempDir(), slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	if kept.failed == nil {
		t.Error("nobody would hear of a member that stops by itself")
	}
	failed := make(chan error, 1)
	kept.failed = failed
	flags := planeFlags{grpc: "127.0.0.1:0", gateway: gatewayFlags{addr: "127.0.0.1:0"}, lease: time.Second}
	pl, err := flags.check(slog.New(slog.DiscardHandler))
	if err == nil {
		err = pl.listen(ctx, kept)
	}
	if err != nil {
		t.Fatal(err)
	}
	ready := make(chan struct{})
	pl.config.Ready = func(string) { close(ready) }
	ended := make(chan error, 1)
	go func() { ended <- pl.run(ctx) }()
	select {
	case <-ready:
	case err := <-ended:
		t.Fatalf("it ended before it was ready: %v", err)
	}
	kept.close()
	failed <- errors.New("it stopped by itself")
	err = <-ended
	if err == nil || !strings.Contains(err.Error(), "it stopped by itself") || exitCode(err) != exitFailed {
		t.Errorf("the process ends with %v, and exits with %d", err, exitCode(err))
	}
}
