package main

import (
	"os"
	"path/filepath"
	"time"

	"go.etcd.io/etcd/client/pkg/v3/fileutil"
)

// tempPrefix is how the directories begin in which `signalbox chp` keeps things
// while it runs.
const tempPrefix = "signalbox-chp-"

// sweepTemp removes what processes left behind that were killed: each is some
// 130 MB. One that is in use has a lock on it; one that is new may be about to.
func sweepTemp() {
	left, _ := filepath.Glob(filepath.Join(os.TempDir(), tempPrefix+"*"))
	for _, dir := range left {
		info, err := os.Lstat(dir)
		if err != nil || !info.IsDir() || time.Since(info.ModTime()) < time.Minute {
			continue
		}
		lock, err := fileutil.TryLockFile(filepath.Join(dir, "etcd", "lock"), os.O_RDWR, 0)
		if err != nil {
			continue // in use, or another user's
		}
		_ = os.RemoveAll(dir)
		_ = lock.Close()
	}
}
