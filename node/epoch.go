package node

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"
)

// epochFile holds the epoch of the process that used the state directory last.
const epochFile = "epoch"

// keepEpoch makes the node's epoch later than that of its predecessor, whatever
// the clock has come to say since: of two processes with one name the later is
// the node. Without a state directory the clock is all there is.
func (n *Node) keepEpoch() error {
	if n.conf.StateDir == "" {
		return nil
	}
	file := filepath.Join(n.conf.StateDir, epochFile)
	last, err := readEpoch(file)
	if err != nil {
		return err
	}
	if last >= n.epoch {
		n.log.Warn("the clock is behind the node's last start", "epoch", last)
		n.epoch = last + 1
	}
	if err := os.MkdirAll(n.conf.StateDir, 0o700); err != nil {
		return err
	}
	temporary := file + ".tmp"
	if err := os.WriteFile(temporary, []byte(strconv.FormatInt(n.epoch, 10)+"\n"), 0o600); err != nil {
		return err
	}
	return os.Rename(temporary, file)
}

// readEpoch returns 0 where there is none that can be believed: a process
// cannot have been started after the year 2200.
func readEpoch(file string) (int64, error) {
	b, err := os.ReadFile(file)
	if errors.Is(err, fs.ErrNotExist) {
		return 0, nil
	}
	if err != nil {
		return 0, err
	}
	last, err := strconv.ParseInt(strings.TrimSpace(string(b)), 10, 64)
	if err != nil || last > time.Date(2200, 1, 1, 0, 0, 0, 0, time.UTC).UnixNano() {
		return 0, nil //nolint:nilerr // what a broken disk has left is overwritten
	}
	return last, nil
}
