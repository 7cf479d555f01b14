package pki

import (
	"crypto"
	"crypto/x509"
	"fmt"
	"os"
	"sync"
	"time"

	"signalbox/proto/certificate"
)

// Kept is an authority in files, which are read again when they have changed.
// While what is there cannot be used, the last that could be is. It is safe for
// concurrent use.
type Kept struct {
	certFile, keyFile string
	failed            func(error)

	mu    sync.Mutex
	last  *Authority
	stamp string // of the files when they were read
}

// Keep reads an authority that was saved. failed is told of files that have
// changed and cannot be used, once for each change.
func Keep(certFile, keyFile string, failed func(error)) (*Kept, error) {
	k := &Kept{certFile: certFile, keyFile: keyFile, failed: failed, stamp: stampOf(certFile, keyFile)}
	var err error
	k.last, err = Load(certFile, keyFile)
	return k, err
}

// IssueNode is [Authority.IssueNode] of the authority that is in the files now.
func (k *Kept) IssueNode(n certificate.Node, public crypto.PublicKey, now time.Time, life time.Duration) (chain []byte, end time.Time, err error) {
	return k.authority().IssueNode(n, public, now, life)
}

// Signed is [Authority.Signed] of the authority that is in the files now.
func (k *Kept) Signed(chains [][]*x509.Certificate) bool { return k.authority().Signed(chains) }

func (k *Kept) authority() *Authority {
	k.mu.Lock()
	defer k.mu.Unlock()
	stamp := stampOf(k.certFile, k.keyFile)
	if stamp == k.stamp {
		return k.last
	}
	k.stamp = stamp
	a, err := Load(k.certFile, k.keyFile)
	if err != nil {
		k.failed(err)
		return k.last
	}
	k.last = a
	return a
}

// stampOf changes when one of some files does.
func stampOf(files ...string) (stamp string) {
	for _, file := range files {
		info, err := os.Stat(file)
		if err != nil {
			stamp += err.Error()
			continue
		}
		stamp += fmt.Sprint(info.ModTime().UnixNano(), " ", info.Size(), ";")
	}
	return stamp
}
