package etcd_test

import (
	"bytes"
	"context"
	"errors"
	"log/slog"
	"net"
	"strings"
	"testing"
	"time"

	"google.golang.org/grpc"

	"signalbox/store"
	"signalbox/store/etcd"
)

// logged keeps what is logged, and tells of each line.
type logged struct {
	text bytes.Buffer
	line chan struct{}
}

func (l *logged) Write(p []byte) (int, error) {
	defer func() { l.line <- struct{}{} }()
	return l.text.Write(p)
}

// Followers that lose the store together say what each follows.
func TestTheLogSaysWhichNotesAreFollowed(t *testing.T) {
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	no := grpc.NewServer() // refuses all calls
	served := make(chan error, 1)
	go func() { served <- no.Serve(ln) }()
	said := &logged{line: make(chan struct{}, 10)}
	k, err := etcd.Open(etcd.Config{Endpoints: []string{ln.Addr().String()}, Logger: slog.New(slog.NewTextHandler(said, nil))})
	if err != nil {
		t.Fatal(err)
	}
	ended := make(chan error, 2)
	for _, prefix := range []string{"live/", "member/"} {
		go func() { ended <- k.FollowNotes(ctx, prefix, func(store.NoteChange) error { return nil }) }()
	}
	for range 2 {
		select {
		case <-said.line:
		case <-ctx.Done():
			t.Fatal("nothing is logged")
		}
	}
	cancel()
	for range 2 {
		if err := <-ended; !errors.Is(err, context.Canceled) {
			t.Error(err)
		}
	}
	for _, want := range []string{`followed="notes live/"`, `followed="notes member/"`} {
		if !strings.Contains(said.text.String(), want) {
			t.Errorf("the log has no %s: %s", want, said.text.String())
		}
	}
	if err := k.Close(); err != nil {
		t.Error(err)
	}
	no.Stop()
	if err := <-served; err != nil {
		t.Error(err)
	}
}
