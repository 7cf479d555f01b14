package wire14

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"strings"
	"sync"
)

// Errors of comparing certificates.
var (
	errOther  = errors.New("somebody stands between the two ends: they see different certificates")
	errUnseen = errors.New("the peer compares the certificate of a connection that is not here")
)

// fingerprint of a certificate, as signals have it.
func fingerprint(der []byte) string {
	sum := sha256.Sum256(der)
	return "sha256:" + strings.ReplaceAll(fmt.Sprintf("% X", sum[:]), " ", ":")
}

// maxPrints is how many connections' certificates are remembered at most. A peer
// compares one of the first.
const maxPrints = 4096

// prints are the certificates that were seen on a session's connections, until
// each end has told the other of one. Connections that have gone are among them:
// whoever compares one closes it, and the word of it is slower. They are safe
// for concurrent use.
type prints struct {
	// verified is closed when the peer has compared one, and was right.
	verified chan struct{}

	mu           sync.Mutex
	byID         map[string]string // nil when told and agreed
	more         chan struct{}     // closed, and replaced, when byID has grown
	told, agreed bool
}

func newPrints() *prints {
	return &prints{verified: make(chan struct{}), byID: map[string]string{}, more: make(chan struct{})}
}

// saw remembers the certificate of a connection.
func (p *prints) saw(id, print string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.byID != nil && len(p.byID) < maxPrints {
		p.byID[id] = print
		close(p.more)
		p.more = make(chan struct{})
	}
}

// await waits for something to compare with what the peer says of a connection,
// until ctx or the session ends. The word of it may come before its id is known here.
func (p *prints) await(ctx context.Context, ended <-chan struct{}, id string) {
	for {
		p.mu.Lock()
		_, ok := p.byID[id]
		ok, more := ok || p.agreed, p.more
		p.mu.Unlock()
		if ok {
			return
		}
		select {
		case <-more:
		case <-ended:
			return
		case <-ctx.Done():
			return
		}
	}
}

// tell is the certificate that was seen on a connection, of which the peer is
// told.
func (p *prints) tell(id string) string {
	p.mu.Lock()
	defer p.mu.Unlock()
	print := p.byID[id]
	p.told = true
	p.forget()
	return print
}

// compare takes what the peer says of a connection. Once it was right, what more
// is said does not matter.
func (p *prints) compare(id, print string) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	switch own, ok := p.byID[id]; {
	case p.agreed:
		return nil
	case !ok:
		return errUnseen
	case !strings.EqualFold(own, print):
		return errOther
	}
	p.agreed = true
	p.forget()
	close(p.verified)
	return nil
}

// forget forgets what nobody will ask for. mu is held.
func (p *prints) forget() {
	if p.told && p.agreed {
		p.byID = nil
	}
}
