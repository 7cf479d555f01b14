package main

import (
	"bytes"
	"context"
	"crypto/sha256"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	signalboxv1 "signalbox/proto/gen/signalbox/v1"
	"signalbox/store/etcd"
	"signalbox/store/etcd/embedded"
)

// A sender answers every call for a backup in the same way.
type sender struct {
	signalboxv1.UnimplementedBackupServiceServer
	chunks   [][]byte
	complete *signalboxv1.BackupComplete // nil: it ends without
	err      error
}

func (s *sender) CreateBackup(_ *signalboxv1.CreateBackupRequest, stream signalboxv1.BackupService_CreateBackupServer) error {
	for _, c := range s.chunks {
		if err := stream.Send(&signalboxv1.CreateBackupResponse{Message: &signalboxv1.CreateBackupResponse_Chunk{Chunk: c}}); err != nil {
			return err
		}
	}
	if s.complete != nil {
		return stream.Send(&signalboxv1.CreateBackupResponse{Message: &signalboxv1.CreateBackupResponse_Complete{Complete: s.complete}})
	}
	return s.err
}

// asks returns a client of a server that answers so.
func (s *sender) asks(t *testing.T) signalboxv1.BackupServiceClient {
	t.Helper()
	ln, conn, err := inProcess()
	if err != nil {
		t.Fatal(err)
	}
	server := grpc.NewServer()
	signalboxv1.RegisterBackupServiceServer(server, s)
	done := make(chan struct{})
	go func() {
		defer close(done)
		_ = server.Serve(ln)
	}()
	t.Cleanup(func() {
		_ = conn.Close()
		server.Stop()
		<-done
	})
	return signalboxv1.NewBackupServiceClient(conn)
}

// completes is what an honest server says of these bytes.
func completes(text []byte, rev int64) *signalboxv1.BackupComplete {
	sum := sha256.Sum256(text)
	return &signalboxv1.BackupComplete{Size: int64(len(text)), Sha256: sum[:], Version: &signalboxv1.Version{Revision: rev}}
}

// snapshot is what etcd makes of a store without records.
func snapshot(t *testing.T) []byte {
	t.Helper()
	m, err := embedded.Start(t.Context(), embedded.Config{DataDir: t.TempDir(), Unsafe: true})
	if err != nil {
		t.Fatal(err)
	}
	defer m.Close()
	k, err := m.Keeper(etcd.Config{})
	if err != nil {
		t.Fatal(err)
	}
	from, _, err := k.Backup(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = from.Close() }()
	text, err := io.ReadAll(from)
	if err != nil {
		t.Fatal(err)
	}
	return text
}

func TestOnlyAWholeBackupGetsItsName(t *testing.T) {
	whole := snapshot(t)
	wrong := completes(whole, 1)
	wrong.Sha256[0] ^= 1
	for name, c := range map[string]struct {
		from sender
		want string
		code int
	}{
		"the control plane dies in the middle": {sender{chunks: [][]byte{whole[:1000]}, err: status.Error(codes.Unavailable, "gone")}, "broke off after 1000 bytes: gone", exitUnavailable},
		"it ends too early":                    {sender{chunks: [][]byte{whole}}, "without saying that it is complete", exitUnavailable},
		"a byte is wrong on the way":           {sender{chunks: [][]byte{whole}, complete: wrong}, "checksum is wrong", exitFailed},
		"it is no snapshot":                    {sender{chunks: [][]byte{[]byte("hello")}, complete: completes([]byte("hello"), 1)}, "no backup", exitFailed},
		"it is older than it must be":          {sender{chunks: [][]byte{whole}, complete: completes(whole, 1000)}, "must hold 1000", exitFailed},
		"the key may not":                      {sender{err: status.Error(codes.PermissionDenied, "no")}, "no", exitRefused},
	} {
		file := filepath.Join(t.TempDir(), "backup")
		err := saveBackup(t.Context(), c.from.asks(t), file, false, io.Discard)
		if err == nil || !strings.Contains(describe(err), c.want) || exitCode(err) != c.code {
			t.Errorf("%s: %v, exit code %d", name, err, exitCode(err))
		}
		if left, _ := filepath.Glob(file + "*"); left != nil {
			t.Errorf("%s: left behind: %v", name, left)
		}
	}

	file := filepath.Join(t.TempDir(), "backup")
	if err := os.WriteFile(file+".part", []byte("of an attempt that was killed"), 0o600); err != nil {
		t.Fatal(err)
	}
	api := (&sender{chunks: [][]byte{whole[:100], whole[100:]}, complete: completes(whole, 1)}).asks(t)
	if err := saveBackup(t.Context(), api, file, false, io.Discard); err != nil {
		t.Fatal(err)
	}
	got, err := os.ReadFile(file)
	if err != nil || !bytes.Equal(got, whole) {
		t.Errorf("what is in the file is not what was sent, %v", err)
	}
	if err := saveBackup(t.Context(), api, file, false, io.Discard); exitCode(err) != exitConflict {
		t.Errorf("over a file that is there: %v", err)
	}
	if err := saveBackup(t.Context(), api, file, true, io.Discard); err != nil {
		t.Errorf("by force: %v", err)
	}
}

// A restore that cannot mean what it says is refused before anything is done.
func TestARestoreIsCheckedFirst(t *testing.T) {
	for line, want := range map[string]string{
		"restore": "takes one file",
		"restore f --data-dir d --initial-cluster a=http://h:1,b=http://h:2":                             "--advertise-peer",
		"restore f --data-dir d --initial-cluster a=http://h:1,b=http://h:2 --advertise-peer http://h:1": "--cluster-token",
		"restore f": "--data-dir",
		"restore f --data-dir d --revision-bump 0": "--revision-bump",
		"etcd nonsense":      "is not a command",
		"etcd add a":         "a name and a peer URL",
		"etcd add a nowhere": "must be like",
		"etcd remove":        "takes one name",
		"backup":             "takes one file",
	} {
		root := newRoot()
		root.SetArgs(strings.Fields(line))
		err := root.ExecuteContext(context.Background())
		if err == nil || !strings.Contains(err.Error(), want) || exitCode(err) != exitUsage {
			t.Errorf("%s: %v, exit code %d", line, err, exitCode(err))
		}
	}
}
