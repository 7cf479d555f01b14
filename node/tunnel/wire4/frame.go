package wire4

import (
	"errors"
	"io"
	"strings"

	"signalbox/node/tunnel/link"
	"signalbox/proto/tunnelurl"
)

// maxLine is how long a signal may be, in bytes; the longest that is known has
// 12.
const maxLine = 64

// errLong says that what came is no signal.
var errLong = errors.New("a line of the control connection is too long to be a signal")

// A mask is what every byte of a message is combined with: the length of the
// key, modulo 256.
type mask byte

func maskOf(key string) mask { return mask(len(key)) }

// lost is the character that cannot be sent: masked, it would end the line.
func (m mask) lost() byte { return '\n' ^ byte(m) }

// line is a text as it is sent.
func (m mask) line(text string) []byte {
	b := make([]byte, 0, len(text)+1)
	for i := range len(text) {
		b = append(b, text[i]^byte(m))
	}
	return append(b, '\n')
}

// A signal is what one line of the control connection says after the handshake.
// The zero one is a line that nobody understands.
type signal struct {
	what act
	// id and kind are for open: the pool connection, and what it carries.
	id   string
	kind link.Kind
}

// An act is what a signal asks for.
type act int

const (
	unknown act = iota
	beat        // nothing: the peer lives
	flush       // close all pool connections that wait, and begin anew
	open        // use a pool connection
)

// text of a signal, before it is masked.
func (s signal) text() string {
	switch {
	case s.what == flush:
		return "#0"
	case s.what == open && s.kind == link.UDP:
		return "//" + s.id + "#2"
	case s.what == open:
		return "//" + s.id + "#1"
	}
	return ""
}

// parse says what a text means. It understands what text returns, and nothing
// else.
func parse(text string) signal {
	switch {
	case text == "":
		return signal{what: beat}
	case text == "#0":
		return signal{what: flush}
	case begins(text, opening) && len(text) == len(opening):
		s := signal{what: open, id: text[2:10]}
		if text[11] == '2' {
			s.kind = link.UDP
		}
		return s
	}
	return signal{}
}

// opening is the form of the signal that opens: x is a hexadecimal digit, k the
// code of what is carried.
const opening = "//xxxxxxxx#k"

// begins tells whether text is a signal's form, or its beginning.
func begins(text, form string) bool {
	if len(text) > len(form) {
		return false
	}
	for i := range len(text) {
		c := text[i]
		switch form[i] {
		case 'x':
			if !strings.ContainsRune(hexDigits, rune(c)) {
				return false
			}
		case 'k':
			if c != '1' && c != '2' {
				return false
			}
		default:
			if c != form[i] {
				return false
			}
		}
	}
	return true
}

// hexDigits are what ids are made of.
const hexDigits = "0123456789abcdef"

// read takes one line and says what it means. An end of line that the key's
// length made of a character is taken for that character where one is due, so
// that such keys do no harm in this direction. The error is r's, or that the
// line does not end.
func (m mask) read(r io.ByteReader) (signal, error) {
	var text []byte
	for len(text) < maxLine {
		c, err := r.ReadByte()
		if err != nil {
			return signal{}, err
		}
		if c == '\n' && !m.due(string(text)) {
			return parse(string(text)), nil
		}
		text = append(text, c^byte(m))
	}
	return signal{}, errLong
}

// due tells whether the end of line after text is the character lost, since
// text is no signal yet and that character would go on with one. A lone end of
// line is a beat.
func (m mask) due(text string) bool {
	next := text + string(rune(m.lost()))
	return text != "" && parse(text).what == unknown && (begins(next, opening) || next == "#0")
}

// terms are what a server answers to the key.
type terms struct {
	receives tunnelurl.Role
	tls      tunnelurl.TLS
}

// termsLength is how long they are as they are sent, in bytes.
const termsLength = len("//-#0\n")

// text of terms, before it is masked.
func (t terms) text() string {
	flow := "-"
	if t.receives == tunnelurl.Client {
		flow = "+"
	}
	return "//" + flow + "#" + string(rune('0'+t.tls))
}

// readTerms says what a line of termsLength means, its end included.
func (m mask) readTerms(line []byte) (terms, bool) {
	for _, receives := range []tunnelurl.Role{tunnelurl.Server, tunnelurl.Client} {
		for _, code := range []tunnelurl.TLS{tunnelurl.Plain, tunnelurl.SelfSigned, tunnelurl.Verified} {
			t := terms{receives, code}
			if string(m.line(t.text())) == string(line) {
				return t, true
			}
		}
	}
	return terms{}, false
}
