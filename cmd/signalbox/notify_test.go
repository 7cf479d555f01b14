package main

import (
	"context"
	"log/slog"
	"net"
	"path/filepath"
	"testing"
	"time"
)

func TestSystemdIsToldOfTheStartAndTheEnd(t *testing.T) {
	addr := filepath.Join(t.TempDir(), "notify")
	systemd, err := net.ListenUnixgram("unixgram", &net.UnixAddr{Name: addr, Net: "unixgram"})
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = systemd.Close() }()
	if err := systemd.SetReadDeadline(time.Now().Add(10 * time.Second)); err != nil {
		t.Fatal(err)
	}
	hears := func(want string) {
		t.Helper()
		text := make([]byte, 100)
		n, err := systemd.Read(text)
		if err != nil || string(text[:n]) != want {
			t.Errorf("systemd hears %q, %v, want %q", text[:n], err, want)
		}
	}
	t.Setenv("NOTIFY_SOCKET", addr)
	ctx, stop := context.WithCancel(t.Context())
	stopped := notifyReady(ctx, slog.New(slog.DiscardHandler))
	hears("READY=1")
	stop()
	stopped()
	hears("STOPPING=1")
}

// Most processes are not started by systemd.
func TestWithoutSystemdNobodyIsTold(t *testing.T) {
	t.Setenv("NOTIFY_SOCKET", "")
	ctx, stop := context.WithCancel(t.Context())
	stopped := notifyReady(ctx, slog.New(slog.DiscardHandler))
	stop()
	stopped()
	notifyReady(t.Context(), slog.New(slog.DiscardHandler))()
}
