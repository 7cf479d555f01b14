package api

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"sync"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"signalbox/controlplane/auth"
	signalboxv1 "signalbox/proto/gen/signalbox/v1"
	"signalbox/store"
)

// chunkSize is the most that one message of a backup holds.
const chunkSize = 256 << 10

// maxBackup is how long a backup may take: for as long, etcd keeps all that is
// written meanwhile beside what it copies.
const maxBackup = time.Hour

// backups is the BackupService.
type backups struct {
	signalboxv1.UnimplementedBackupServiceServer
	*core
	making sync.Mutex // held while one is made: each costs etcd memory and disk
}

// CreateBackup implements BackupService.
func (s *backups) CreateBackup(_ *signalboxv1.CreateBackupRequest, stream signalboxv1.BackupService_CreateBackupServer) error {
	if s.Backups == nil {
		return s.fail(store.ErrNoBackup)
	}
	if !s.making.TryLock() {
		return status.Error(codes.ResourceExhausted, "a backup is being made through this control plane: wait for its end, or ask another one")
	}
	defer s.making.Unlock()
	ctx, cancel := context.WithTimeout(stream.Context(), maxBackup)
	defer cancel()
	if _, err := s.current(ctx); err != nil { // in its time, and with its reason
		return s.fail(err)
	}
	from, at, err := s.Backups.Backup(ctx)
	if err != nil {
		return s.fail(err)
	}
	defer func() { _ = from.Close() }() // the store has said what was wrong by then
	var complete *signalboxv1.BackupComplete
	sent := make(chan error, 1)
	go func() {
		var err error
		complete, err = sendAll(stream, from)
		sent <- err
	}()
	select {
	case err = <-sent:
	case <-ctx.Done(): // a client that does not read holds up only the sender, which ends with the stream
		err = ctx.Err()
	}
	if err != nil {
		return s.fail(err)
	}
	complete.Version = version(at)
	s.Log.Info("backup made", "rev", int64(at.Revision), "key", auth.Caller(ctx).GetName())
	return stream.Send(&signalboxv1.CreateBackupResponse{Message: &signalboxv1.CreateBackupResponse_Complete{Complete: complete}})
}

// sendAll sends what is read, chunk by chunk, and returns what it adds up to.
// No more than a chunk is held at once, but for what is on its way.
func sendAll(stream signalboxv1.BackupService_CreateBackupServer, from io.Reader) (*signalboxv1.BackupComplete, error) {
	sum, size := sha256.New(), int64(0)
	for {
		chunk := make([]byte, chunkSize) // gRPC may hold on to it
		n, err := io.ReadFull(from, chunk)
		ended := errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF)
		if err != nil && !ended {
			return nil, status.Error(codes.Unavailable, fmt.Sprintf("the backup broke off: %v", store.ErrUnavailable))
		}
		if n > 0 {
			size += int64(n)
			_, _ = sum.Write(chunk[:n]) // never fails
			err := stream.Send(&signalboxv1.CreateBackupResponse{Message: &signalboxv1.CreateBackupResponse_Chunk{Chunk: chunk[:n]}})
			if err != nil {
				return nil, err
			}
		}
		if ended {
			return &signalboxv1.BackupComplete{Size: size, Sha256: sum.Sum(nil)}, nil
		}
	}
}
