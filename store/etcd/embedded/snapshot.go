package embedded

import (
	"bytes"
	"cmp"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"syscall"

	"go.etcd.io/etcd/client/pkg/v3/fileutil"
	"go.etcd.io/etcd/etcdutl/v3/snapshot"
	"go.uber.org/zap"
)

// A Snapshot is what a file holds that etcd's snapshot was written to.
type Snapshot struct {
	// Revision is etcd's own, of the last thing written.
	Revision int64
	// Keys is how many there are.
	Keys int
	// Size of the file, in bytes.
	Size int64
	// Sum is the SHA-256 of what is before it in the file.
	Sum [sha256.Size]byte
}

// ErrSnapshot says that a file is no snapshot, or a damaged one.
var ErrSnapshot = errors.New("it is no backup, or a damaged one")

// ErrNotEmpty says that there is something where a directory is to be made.
var ErrNotEmpty = errors.New("it is not empty; what is there has to be moved away first")

// ReadSnapshot checks a file, all of it, and says what it holds. Errors wrap
// ErrSnapshot where it is the file's fault.
func ReadSnapshot(file string) (Snapshot, error) {
	s, err := checkSum(file)
	if err != nil {
		return s, err
	}
	found, err := look(file)
	if err != nil {
		return s, err
	}
	s.Revision, s.Keys = found.Revision, found.TotalKey
	return s, nil
}

// look reads the database in a file. Its reader panics over what it does not
// understand.
func look(file string) (found snapshot.Status, err error) {
	defer func() {
		if r := recover(); r != nil {
			err = fmt.Errorf("%w: %v", ErrSnapshot, r)
		}
	}()
	found, err = snapshot.NewV3(zap.NewNop()).Status(file)
	if err != nil {
		return found, fmt.Errorf("%w: %w", ErrSnapshot, err)
	}
	return found, nil
}

// page is a size that divides the database's; its checksum follows it.
const page = 512

// checkSum compares a file with the checksum at its end.
func checkSum(file string) (s Snapshot, err error) {
	f, err := os.Open(file) //nolint:gosec // the operator's own file
	if err != nil {
		return s, err
	}
	defer func() { _ = f.Close() }()
	info, err := f.Stat()
	if err != nil {
		return s, err
	}
	s.Size = info.Size()
	if s.Size%page != sha256.Size || s.Size < page {
		return s, fmt.Errorf("%w: %d bytes are not a database with its checksum; perhaps its end is missing", ErrSnapshot, s.Size)
	}
	sum := sha256.New()
	if _, err := io.CopyN(sum, f, s.Size-sha256.Size); err != nil {
		return s, err
	}
	if _, err := io.ReadFull(f, s.Sum[:]); err != nil {
		return s, err
	}
	if !bytes.Equal(sum.Sum(nil), s.Sum[:]) {
		return s, fmt.Errorf("%w: its checksum is wrong", ErrSnapshot)
	}
	return s, nil
}

// Restore says how a snapshot becomes a member's data. File and DataDir are
// needed; with them alone it is for a member that is alone, as Start runs it.
type Restore struct {
	File    string
	DataDir string // must not exist, or be empty
	// Name, AdvertisePeerURLs and InitialCluster are as in Config, and must be
	// what the member is started with.
	Name              string
	AdvertisePeerURLs []string
	InitialCluster    string
	// Token keeps the cluster apart from others made from the same URLs and
	// the same snapshot. All members must be given the same.
	Token string
	// RevisionBump is how much higher revisions go on than they were in the
	// snapshot. It must be more than what was written since.
	RevisionBump uint64
}

// Do makes the data directory: all of it, or none, also when the machine fails
// meanwhile. Once it has returned, the directory stays.
func (r Restore) Do() (Snapshot, error) {
	found, err := ReadSnapshot(r.File)
	if err != nil {
		return found, err
	}
	dir := filepath.Clean(r.DataDir)
	if fileutil.Exist(dir) && !fileutil.DirEmpty(dir) {
		return found, fmt.Errorf("directory %s: %w", dir, ErrNotEmpty)
	}
	part := dir + ".part"
	if err := os.RemoveAll(part); err != nil { // of an earlier attempt
		return found, err
	}
	if err := r.into(part, found); err != nil {
		return found, errors.Join(err, os.RemoveAll(part))
	}
	if err := syncFolders(part); err != nil {
		return found, errors.Join(err, os.RemoveAll(part))
	}
	if err := os.Remove(dir); err != nil && !errors.Is(err, os.ErrNotExist) {
		return found, err
	}
	if err := os.Rename(part, dir); err != nil {
		return found, err
	}
	return found, syncFolder(filepath.Dir(dir))
}

// syncFolders makes what is in a folder and those below it last. Files are for
// who wrote them.
func syncFolders(top string) error {
	return filepath.WalkDir(top, func(path string, d fs.DirEntry, err error) error {
		if err != nil || !d.IsDir() {
			return err
		}
		return syncFolder(path)
	})
}

// syncFolder makes the names in a folder last.
func syncFolder(path string) error {
	d, err := os.Open(path)
	if err != nil {
		return err
	}
	if err = d.Sync(); errors.Is(err, syscall.EINVAL) {
		err = nil // some file systems cannot
	}
	return errors.Join(err, d.Close())
}

// into makes the data directory at part.
func (r Restore) into(part string, found Snapshot) (err error) {
	defer func() {
		if p := recover(); p != nil {
			err = fmt.Errorf("%w: %v", ErrSnapshot, p)
		}
	}()
	if err := os.MkdirAll(part, fileutil.PrivateDirMode); err != nil {
		return err
	}
	name, peers := cmp.Or(r.Name, "signalbox"), r.AdvertisePeerURLs
	if len(peers) == 0 {
		peers = []string{nowhere}
	}
	cluster := r.InitialCluster
	if cluster == "" {
		for _, u := range peers {
			cluster += "," + name + "=" + u
		}
		cluster = strings.TrimPrefix(cluster, ",")
	}
	return snapshot.NewV3(zap.NewNop()).Restore(snapshot.RestoreConfig{
		SnapshotPath: r.File, OutputDataDir: part,
		Name: name, PeerURLs: peers, InitialCluster: cluster,
		// What was restored is another cluster, so that who followed the old
		// one notices; see package etcd on epochs.
		InitialClusterToken: fmt.Sprintf("%s-%x", cmp.Or(r.Token, "signalbox"), found.Sum[:8]),
		RevisionBump:        r.RevisionBump, MarkCompacted: r.RevisionBump > 0,
	})
}
