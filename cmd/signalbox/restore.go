package main

import (
	"crypto/rand"
	"errors"
	"fmt"
	"os"
	"strings"

	"github.com/spf13/cobra"

	"signalbox/store/etcd/embedded"
)

func newRestore() *cobra.Command {
	var r embedded.Restore
	cmd := &cobra.Command{
		Use:   "restore FILE",
		Short: "Make an etcd member's data directory from a backup",
		Long: `Makes a directory for a member of a new etcd cluster, which holds what the
backup holds. Nothing needs to run, and the member is started on it afterwards.

Of a cluster of several, every member is restored, each on its machine from the
same file, with its own --name and --advertise-peer, and with the same
--initial-cluster and --cluster-token. The token has to be a word that no
restore before this one was given.

For "signalbox up" the directory is etcd within its own.

Revisions go on --revision-bump above those of the backup, so that nobody takes
a change made after the restore for an older one.`,
		Example: `  signalbox restore backup.db --data-dir signalbox-data/etcd
  signalbox restore backup.db --data-dir /var/lib/signalbox-etcd --name a --advertise-peer http://10.0.0.1:2380 \
    --initial-cluster a=http://10.0.0.1:2380,b=http://10.0.0.2:2380,c=http://10.0.0.3:2380 --cluster-token restored-2026-11-21`,
		Args: oneFile,
		RunE: func(cmd *cobra.Command, args []string) error {
			r.File = args[0]
			if err := completeRestore(&r); err != nil {
				return err
			}
			if _, err := os.Stat(r.File); err != nil {
				return &usageError{err}
			}
			found, err := r.Do()
			switch {
			case errors.Is(err, embedded.ErrSnapshot):
				return &usageError{fmt.Errorf("%s: %w", r.File, err)}
			case errors.Is(err, embedded.ErrNotEmpty):
				return &usageError{fmt.Errorf("--data-dir: %w", err)}
			case err != nil:
				return err
			}
			_, err = fmt.Fprintf(cmd.OutOrStdout(), "%s: %d keys; etcd's revision was %d and goes on from %d\n", r.DataDir, found.Keys, found.Revision, found.Revision+int64(r.RevisionBump)) //nolint:gosec // bounded by the flag's check
			return err
		},
	}
	f := cmd.Flags()
	f.StringVar(&r.DataDir, "data-dir", "", "directory to make; it must not exist, or be empty")
	f.StringVar(&r.Name, "name", "signalbox", "name of the member")
	f.StringSliceVar(&r.AdvertisePeerURLs, "advertise-peer", nil, "URL other members are told to use")
	f.StringVar(&r.InitialCluster, "initial-cluster", "", "all members, NAME=PEER-URL separated by commas; this one alone if not given")
	f.StringVar(&r.Token, "cluster-token", "", "a word that is new with this restore, and the same for all members; needed when there are several")
	f.Uint64Var(&r.RevisionBump, "revision-bump", 1_000_000_000, "how far revisions go on above the backup's: more than was written since")
	return cmd
}

// maxBump leaves room for all the revisions there will ever be.
const maxBump = 1 << 50

// completeRestore checks the flags.
func completeRestore(r *embedded.Restore) error {
	several := strings.Contains(r.InitialCluster, ",")
	switch {
	case r.DataDir == "":
		return &usageError{errors.New("give the directory to make by --data-dir")}
	case r.InitialCluster != "" && len(r.AdvertisePeerURLs) == 0:
		return &usageError{errors.New("give this member's own peer URL, as it is in --initial-cluster, by --advertise-peer")}
	case several && r.Token == "":
		return &usageError{errors.New("give a word that is new with this restore, and the same for all members, by --cluster-token")}
	case r.RevisionBump == 0 || r.RevisionBump > maxBump:
		return &usageError{fmt.Errorf("--revision-bump %d must be from 1 to %d", r.RevisionBump, uint64(maxBump))}
	}
	if r.Token == "" {
		r.Token = rand.Text()
	}
	return nil
}
