package wire14

import (
	"bufio"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"net/netip"
	"strings"
)

// maxLine is how long a signal may be, in bytes and with its end; the longest
// that is known has about 230.
const maxLine = 1024

// What a signal asks for. Others are nobody's business.
const (
	ping   = "ping"   // answer at once
	pong   = "pong"   // the answer
	open   = "tcp"    // use a pool connection for a user's connection
	openU  = "udp"    // use it for the datagrams of a user's address
	flush  = "flush"  // close all pool connections that wait, and begin anew
	verify = "verify" // compare the certificate of a pool connection
)

// A signal is what one line of the control connection says.
type signal struct {
	// Action is what it asks for.
	Action string `json:"action"`
	// Remote is the "ip:port" of the user, with tcp and udp.
	Remote string `json:"remote,omitempty"`
	// ID is that of a pool connection, with tcp, udp and verify.
	ID string `json:"id,omitempty"`
	// Print is the fingerprint of its certificate, with verify.
	Print string `json:"fp,omitempty"`
}

// What a line can be, of a peer that has another key or is none.
var (
	errLong   = errors.New("a line of the control connection is too long to be a signal")
	errSignal = errors.New("a line of the control connection is no signal")
)

// A mask is the key that every byte of a message is combined with, over and
// over.
type mask string

// on combines b with the mask, or undoes that.
func (m mask) on(b []byte) []byte {
	for i := range b {
		if m != "" {
			b[i] ^= m[i%len(m)]
		}
	}
	return b
}

// line is a signal as it is sent.
func (m mask) line(s signal) []byte {
	text, _ := json.Marshal(s) // strings only: never fails
	return append(base64.StdEncoding.AppendEncode(nil, m.on(text)), '\n')
}

// parse says what a line means, without its end. It takes every action; of those
// that are known, the id and the user's address are in order.
func (m mask) parse(line []byte) (signal, error) {
	text, err := base64.StdEncoding.Strict().AppendDecode(nil, line)
	if err != nil {
		return signal{}, errSignal
	}
	var s signal
	if json.Unmarshal(m.on(text), &s) != nil || s.Action == "" {
		return signal{}, errSignal
	}
	switch s.Action {
	case open, openU, verify:
		if len(s.ID) != 8 || strings.Trim(s.ID, "0123456789abcdef") != "" {
			return signal{}, fmt.Errorf("%w: its id is none", errSignal)
		}
	}
	if _, err := netip.ParseAddrPort(s.Remote); err != nil {
		s.Remote = "" // it goes into logs and headers
	}
	return s, nil
}

// read takes one line and says what it means. The error is r's, or says that the
// line is no signal.
func (m mask) read(r *bufio.Reader) (signal, error) {
	line, err := r.ReadSlice('\n')
	if errors.Is(err, bufio.ErrBufferFull) || len(line) > maxLine {
		return signal{}, errLong
	}
	if err != nil {
		return signal{}, err
	}
	return m.parse(line[:len(line)-1])
}
