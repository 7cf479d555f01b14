package tunnel

import (
	"strings"

	"signalbox/proto/tunnelurl"
)

// What the generations' clients begin with.
const (
	ours = "signalbox/1"
	http = "GET "
)

// recognise says which generation's client begins with first. known is false
// while more bytes could tell.
//
// Of 1.4 and 1.14 some connections begin with nothing, or with TLS: they belong
// to a client that has introduced itself before. What is none of the others'
// introductions is 1.4's.
func recognise(first []byte) (w tunnelurl.Wire, known bool) {
	switch s := string(first); {
	case strings.HasPrefix(s, ours):
		return tunnelurl.Signalbox, true
	case strings.HasPrefix(s, http):
		return tunnelurl.V1_14, true
	case strings.HasPrefix(ours, s), strings.HasPrefix(http, s):
		return "", false
	}
	return tunnelurl.V1_4, true
}
