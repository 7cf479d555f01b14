package main

import (
	"bytes"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"syscall"
	"time"

	"github.com/spf13/cobra"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	signalboxv1 "signalbox/proto/gen/signalbox/v1"
	"signalbox/store/etcd/embedded"
)

func newBackup() *cobra.Command {
	var (
		c     client
		force bool
	)
	cmd := &cobra.Command{
		Use:   "backup FILE",
		Short: "Copy everything the store holds into a file",
		Long: `Copies all of etcd, as it is now, into FILE: routes, listeners, nodes, keys and
counters. It asks a control plane, with an admin key, and needs no way to etcd.
The file takes its name once it is complete, checked and on disk. With "-" it
goes to standard output, and only its checksum is checked.

The file holds the hashes of all keys: keep it as you keep those.`,
		Example: `  signalbox backup signalbox-$(date +%F).db
  signalbox backup - | ssh backups 'cat > signalbox.db'`,
		Args: oneFile,
		RunE: func(cmd *cobra.Command, args []string) error {
			return c.call(cmd.Context(), func(ctx context.Context, conn grpc.ClientConnInterface) error {
				api := signalboxv1.NewBackupServiceClient(conn)
				if args[0] == "-" {
					complete, err := receive(ctx, api, cmd.OutOrStdout())
					if err == nil {
						_, err = fmt.Fprintf(cmd.ErrOrStderr(), "backup: %d bytes, up to revision %d\n", complete.GetSize(), complete.GetVersion().GetRevision())
					}
					return err
				}
				return saveBackup(ctx, api, args[0], force, cmd.OutOrStdout())
			})
		},
	}
	f := cmd.Flags()
	f.BoolVar(&force, "force", false, "replace FILE if it exists")
	c.addStream(f)
	f.DurationVar(&c.timeout, "timeout", 10*time.Minute, "how long it may take in all")
	return cmd
}

// oneFile takes the one argument of a command.
func oneFile(cmd *cobra.Command, args []string) error {
	if len(args) != 1 {
		return fmt.Errorf("%q takes one file", cmd.CommandPath())
	}
	return nil
}

// saveBackup makes a backup under a name of its own, and gives it its name
// when it is known to be good.
func saveBackup(ctx context.Context, api signalboxv1.BackupServiceClient, file string, force bool, out io.Writer) error {
	if _, err := os.Lstat(file); err == nil && !force {
		return status.Errorf(codes.AlreadyExists, "%s exists already; --force replaces it", file)
	}
	part := file + ".part"
	complete, err := writePart(ctx, api, part)
	var found embedded.Snapshot
	if err == nil {
		found, err = checkPart(part, complete)
	}
	if err == nil {
		err = os.Rename(part, file)
	}
	if err != nil {
		_ = os.Remove(part) // there may be none
		return err
	}
	if err := syncDir(filepath.Dir(file)); err != nil {
		return err
	}
	_, err = fmt.Fprintf(out, "%s: revision %d, %d keys, %d bytes\n", file, complete.GetVersion().GetRevision(), found.Keys, complete.GetSize())
	return err
}

// writePart writes the file and sees to it that it is on disk.
func writePart(ctx context.Context, api signalboxv1.BackupServiceClient, part string) (*signalboxv1.BackupComplete, error) {
	f, err := os.OpenFile(part, os.O_CREATE|os.O_TRUNC|os.O_RDWR, 0o600) //nolint:gosec // the operator's own file
	if err != nil {
		return nil, err
	}
	complete, err := receive(ctx, api, f)
	if err == nil {
		err = f.Sync()
	}
	if closeErr := f.Close(); err == nil {
		err = closeErr
	}
	return complete, err
}

// receive writes what a control plane sends, all of it.
func receive(ctx context.Context, api signalboxv1.BackupServiceClient, to io.Writer) (*signalboxv1.BackupComplete, error) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	stream, err := api.CreateBackup(ctx, new(signalboxv1.CreateBackupRequest))
	if err != nil {
		return nil, err
	}
	sum, size := sha256.New(), int64(0)
	for {
		res, err := stream.Recv()
		switch {
		case errors.Is(err, io.EOF):
			return nil, status.Error(codes.Unavailable, "the backup broke off: the control plane ended it without saying that it is complete")
		case err != nil && size > 0:
			return nil, status.Errorf(status.Code(err), "the backup broke off after %d bytes: %s", size, status.Convert(err).Message())
		case err != nil:
			return nil, err
		}
		if complete := res.GetComplete(); complete != nil {
			if complete.GetSize() != size || !bytes.Equal(complete.GetSha256(), sum.Sum(nil)) {
				return nil, errors.New("the backup is not what the control plane sent: its checksum is wrong")
			}
			return complete, nil
		}
		size += int64(len(res.GetChunk()))
		_, _ = sum.Write(res.GetChunk()) // never fails
		if _, err := to.Write(res.GetChunk()); err != nil {
			return nil, fmt.Errorf("the backup cannot be written: %w", err)
		}
	}
}

// checkPart reads what is on disk.
func checkPart(part string, complete *signalboxv1.BackupComplete) (embedded.Snapshot, error) {
	found, err := embedded.ReadSnapshot(part)
	if err != nil {
		return found, fmt.Errorf("what was received is no backup: %w", err)
	}
	if found.Revision < complete.GetVersion().GetRevision() {
		return found, fmt.Errorf("what was received ends at revision %d, and must hold %d", found.Revision, complete.GetVersion().GetRevision())
	}
	return found, nil
}

// syncDir makes a rename last.
func syncDir(dir string) error {
	d, err := os.Open(dir) //nolint:gosec // the operator's own directory
	if err != nil {
		return err
	}
	defer func() { _ = d.Close() }()
	if err := d.Sync(); err != nil && !errors.Is(err, syscall.EINVAL) { // some file systems cannot
		return err
	}
	return nil
}
