package main

import (
	"io"
	"path/filepath"
	"testing"

	pb "go.etcd.io/etcd/api/v3/etcdserverpb"
	clientv3 "go.etcd.io/etcd/client/v3"
)

// An alarm alone is no silence: etcd answers, and its status fails.
func TestStatusSaysByItsCodeWhatIsWrong(t *testing.T) {
	well := func(errs ...string) *clientv3.StatusResponse {
		return &clientv3.StatusResponse{Leader: 1, Errors: errs}
	}
	all := []*pb.Member{{ID: 1, Name: "a", PeerURLs: []string{"http://a:1"}}, {ID: 2, Name: "b", PeerURLs: []string{"http://b:1"}}}
	for name, c := range map[string]struct {
		is   []*clientv3.StatusResponse
		code int
	}{
		"all are well":           {[]*clientv3.StatusResponse{well(), well()}, exitOK},
		"one has an alarm":       {[]*clientv3.StatusResponse{well(), well("memberID:2 alarm:NOSPACE")}, exitFailed},
		"one is silent":          {[]*clientv3.StatusResponse{well("memberID:1 alarm:NOSPACE"), nil}, exitUnavailable},
		"one knows of no leader": {[]*clientv3.StatusResponse{well(), {}}, exitUnavailable},
	} {
		t.Run(name, func(t *testing.T) {
			var u upkeep
			err := u.plain(t.Context(), nil, showStatus(io.Discard, all, c.is))
			if exitCode(err) != c.code {
				t.Errorf("exits with %d, want %d: %v", exitCode(err), c.code, err)
			}
		})
	}
}

// A backup that is not there, and a directory that is in use, are wrong input.
func TestRestoreOfWhatIsNotThere(t *testing.T) {
	for name, args := range map[string][]string{
		"no such file": {filepath.Join(t.TempDir(), "none.db"), "--data-dir", filepath.Join(t.TempDir(), "data")},
		"a folder":     {t.TempDir(), "--data-dir", filepath.Join(t.TempDir(), "data")},
	} {
		if err := outcome(t.Context(), append([]string{"restore"}, args...)...); exitCode(err) != exitUsage {
			t.Errorf("%s: %v", name, err)
		}
	}
}
