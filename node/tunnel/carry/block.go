package carry

import (
	"errors"
	"strings"

	"signalbox/node/tunnel/link"
)

// A Protocol is what a user's first bytes look like.
type Protocol string

// What is told apart; Other is everything else.
const (
	SOCKS Protocol = "SOCKS"
	HTTP  Protocol = "HTTP"
	TLS   Protocol = "TLS"
	Other Protocol = ""
)

// enough is how many first bytes always tell.
const enough = 8

// methods begin requests of HTTP, and end with the space after them, cut at
// enough bytes.
var methods = []string{"GET ", "HEAD ", "POST ", "PUT ", "DELETE ", "CONNECT ", "OPTIONS ", "TRACE ", "PATCH ", "PRI * HT"}

// Recognise says what begins with first. known is false while more bytes, which
// are fewer than 8 in all, could tell.
func Recognise(first []byte) (p Protocol, known bool) {
	if len(first) == 0 {
		return Other, false
	}
	switch first[0] {
	case 4, 5: // version (SOCKS 4; RFC 1928, section 3)
		return SOCKS, true
	case 0x16: // handshake, of version 3 (RFC 8446, section 5.1)
		if len(first) == 1 {
			return Other, false
		}
		if first[1] == 3 {
			return TLS, true
		}
		return Other, true
	}
	known = true
	for _, m := range methods {
		m = m[:min(len(m), enough)]
		if n := min(len(first), len(m)); string(first[:n]) == m[:n] {
			if n == len(m) {
				return HTTP, true
			}
			known = false
		}
	}
	return Other, known
}

// A Block is what users may not speak, as the URL's "block" has it.
type Block string

// has says whether p is among it.
func (b Block) has(p Protocol) bool {
	digit := map[Protocol]string{SOCKS: "1", HTTP: "2", TLS: "3"}[p]
	return digit != "" && strings.Contains(string(b), digit)
}

// Any says whether anything is.
func (b Block) Any() bool { return b.has(SOCKS) || b.has(HTTP) || b.has(TLS) }

// ErrBlocked says that a user spoke what is blocked.
var ErrBlocked = errors.New("blocked")

// A sieve is a user's side that is read from only once it is known that what it
// speaks is not blocked.
type sieve struct {
	link.Stream
	block Block
	first []byte // read ahead
	err   error  // read after first
	open  bool   // nothing more is looked at
}

// Sieve returns user with the first bytes looked at: Read fails with ErrBlocked
// if they are blocked. Users who wait for the other side to speak first are let
// be, since nothing waits for them.
func (b Block) Sieve(user link.Stream) link.Stream {
	if !b.Any() {
		return user
	}
	return &sieve{Stream: user, block: b}
}

func (s *sieve) Read(p []byte) (int, error) {
	for !s.open {
		what, known := Recognise(s.first)
		if s.block.has(what) {
			return 0, ErrBlocked
		}
		if s.open = known || s.err != nil || len(s.first) >= enough; !s.open {
			s.more()
		}
	}
	if len(s.first) > 0 {
		n := copy(p, s.first)
		s.first = s.first[n:]
		return n, nil
	}
	if s.err != nil {
		return 0, s.err
	}
	return s.Stream.Read(p)
}

// more reads on to where it is known what the user speaks.
func (s *sieve) more() {
	var buf [enough]byte
	n, err := s.Stream.Read(buf[:enough-len(s.first)])
	s.first, s.err = append(s.first, buf[:n]...), err
}

// SetLinger is that of the user's connection, where it is one.
func (s *sieve) SetLinger(sec int) error {
	if c, ok := s.Stream.(interface{ SetLinger(sec int) error }); ok {
		return c.SetLinger(sec)
	}
	return nil
}
