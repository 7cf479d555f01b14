package wire4

import (
	"fmt"
	"strings"

	"signalbox/proto/tunnelurl"
)

// always is what of signals every session needs: the two ends must agree on
// which end is meant, and the exit must be told which connection.
const always = "/#"

// usable says why a key cannot be used for a session in which this end writes
// the characters in needs, nil where it can. It does not tell the key, but its
// length.
//
// Lengths modulo 256 that are refused are 37 (/) and 41 (#) always, 33 (+) of a
// server whose client receives users and 39 (-) of one that does itself, 58
// (0), 59 (1) and 56 (2) of a server with that code of TLS, and the last two of
// the end that receives users. What else is in an id no end of ours needs: a
// server leaves the one digit that is lost out of its ids, a client leaves
// connections alone whose ids have it, and both read what a peer spoilt so.
func usable(key, needs string) error {
	lost := maskOf(key).lost()
	switch {
	case strings.IndexByte(needs, lost) >= 0:
		return fmt.Errorf("a key that is %d bytes long cannot be used with NodePass 1.4, which loses every %q of its signals then; take a shorter or longer one, or another wire",
			len(key), string(rune(lost)))
	case strings.IndexByte(key, lost) >= 0:
		return fmt.Errorf("the key has a character that NodePass 1.4 loses where a key is %d bytes long; take another key, or another wire",
			len(key))
	}
	return nil
}

// needs is what of signals a server writes; the ids it chooses itself.
func (t terms) needs() string {
	return always + strings.TrimPrefix(t.text(), "//") + openNeeds(t.receives == tunnelurl.Server)
}

// openNeeds is what of signals an end writes that opens streams, if it is one.
func openNeeds(entry bool) string {
	if entry {
		return "12"
	}
	return ""
}
