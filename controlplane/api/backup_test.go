package api_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"testing"
	"testing/iotest"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"signalbox/controlplane/api"
	signalboxv1 "signalbox/proto/gen/signalbox/v1"
	"signalbox/store"
	"signalbox/store/mem"
)

// copied is a store whose copy is given.
type copied struct {
	from io.Reader
	err  error
}

func (c copied) Backup(context.Context) (io.ReadCloser, store.Version, error) {
	return io.NopCloser(c.from), store.Version{Epoch: "e", Revision: 7}, c.err
}

// backup asks for a backup, and returns what came.
func backup(t *testing.T, p *plane) (text []byte, complete *signalboxv1.BackupComplete, err error) {
	t.Helper()
	stream, err := signalboxv1.NewBackupServiceClient(p.conn).CreateBackup(bounded(t), new(signalboxv1.CreateBackupRequest))
	if err != nil {
		t.Fatal(err)
	}
	for {
		res, err := stream.Recv()
		if errors.Is(err, io.EOF) {
			return text, complete, nil
		}
		if err != nil {
			return text, complete, err
		}
		text = append(text, res.GetChunk()...)
		complete = res.GetComplete()
	}
}

func TestABackupIsSentInChunks(t *testing.T) {
	whole := bytes.Repeat([]byte("0123456789"), 100_000)
	st := mem.New()
	p := start(t, st, func(c *api.Config) { c.Backups = copied{from: iotest.HalfReader(bytes.NewReader(whole))} })
	text, complete, err := backup(t, p)
	if err != nil || !bytes.Equal(text, whole) || complete.GetSize() != int64(len(whole)) || complete.GetVersion().GetRevision() != 7 {
		t.Errorf("%d bytes came, and %v, %v", len(text), complete, err)
	}
	st.SetAvailable(false)
	_, _, err = backup(t, p)
	refused(t, err, codes.Unavailable)
}

func TestABackupThatBreaksOffIsNotComplete(t *testing.T) {
	broken := io.MultiReader(bytes.NewReader(make([]byte, 1<<20)), iotest.ErrReader(fmt.Errorf("%w: gone", store.ErrUnavailable)))
	p := start(t, mem.New(), func(c *api.Config) { c.Backups = copied{from: broken} })
	_, complete, err := backup(t, p)
	refused(t, err, codes.Unavailable)
	if complete != nil {
		t.Errorf("it says %v", complete)
	}
}

func TestAStoreThatCannotBeCopiedSaysSo(t *testing.T) {
	_, _, err := backup(t, start(t, mem.New()))
	refused(t, err, codes.FailedPrecondition)
	shared := copied{err: fmt.Errorf("%w: it is shared", store.ErrNoBackup), from: bytes.NewReader(nil)}
	_, _, err = backup(t, start(t, mem.New(), func(c *api.Config) { c.Backups = shared }))
	refused(t, err, codes.FailedPrecondition)
}

func TestOneBackupIsMadeAtATime(t *testing.T) {
	first, more := io.Pipe()
	p := start(t, mem.New(), func(c *api.Config) { c.Backups = copied{from: first} })
	client := signalboxv1.NewBackupServiceClient(p.conn)
	ctx, cancel := context.WithCancel(bounded(t))
	defer cancel()
	stream, err := client.CreateBackup(ctx, new(signalboxv1.CreateBackupRequest))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := more.Write(make([]byte, 300<<10)); err != nil { // a chunk, and some of the next
		t.Fatal(err)
	}
	if _, err := stream.Recv(); err != nil {
		t.Fatal(err)
	}
	_, _, err = backup(t, p)
	refused(t, err, codes.ResourceExhausted)

	// Whoever goes away makes room for the next.
	cancel()
	for {
		next, err := client.CreateBackup(bounded(t), new(signalboxv1.CreateBackupRequest))
		if err != nil {
			t.Fatal(err)
		}
		_ = more.Close()
		if _, err = next.Recv(); status.Code(err) != codes.ResourceExhausted {
			break
		}
	}
}
