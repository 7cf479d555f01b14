package listen

import (
	"bytes"
	"net/http"
	"strconv"
	"sync/atomic"
)

// maxPhrase is the longest reason phrase that is sent, in bytes.
const maxPhrase = 256

// statusLine is how long a status line is up to its phrase: "HTTP/1.1 200 ".
const statusLine = len("HTTP/1.1 200 ")

// A phrase waits for the status line that it belongs to. net/http has no way to
// send one that is not its own; but it hands the head of every response to the
// connection at the beginning of a Write, with nothing before it, since it
// flushes what came earlier.
type phrase struct{ waits atomic.Pointer[said] }

// said is a phrase and the status that it is of.
type said struct{ status, phrase string }

// Phrase has the answer to r, which is of HTTP/1, say phrase in its status line
// if it is of that status. It must be called right before the WriteHeader that
// sends the line. A phrase that is empty, that net/http would send anyhow, that
// could not stand in a status line, or that is longer than 256 bytes is left
// out, and HTTP/2 has none (RFC 9113, section 8.3.2).
func Phrase(r *http.Request, status int, phrase string) {
	cc, ok := r.Context().Value(connKey{}).(*checkedConn)
	if !ok || r.ProtoMajor != 1 || phrase == "" || phrase == http.StatusText(status) || len(phrase) > maxPhrase || !consists([]byte(phrase), inValue) {
		return
	}
	cc.phrase.waits.Store(&said{strconv.Itoa(status), phrase})
}

// Write implements [net.Conn].
func (c *checkedConn) Write(p []byte) (int, error) {
	if c.phrase.waits.Load() == nil {
		return c.Conn.Write(p)
	}
	line, rest := c.phrase.put(p)
	if line == nil {
		return c.Conn.Write(p)
	}
	if n, err := c.Conn.Write(append(line, rest...)); err != nil {
		return max(n-len(line), 0), err // of p; the connection is of no more use
	}
	return len(p), nil
}

// put takes a head apart: into its status line with the phrase that waits, and
// what follows the old one. There is no line if p begins with none of the
// phrase's status. Nothing waits afterwards.
func (w *phrase) put(p []byte) (line, rest []byte) {
	s := w.waits.Swap(nil)
	end := bytes.Index(p, []byte("\r\n"))
	if s == nil || end < statusLine || !bytes.HasPrefix(p, []byte("HTTP/1.")) || string(p[statusLine-4:statusLine]) != s.status+" " {
		return nil, nil
	}
	line = append(make([]byte, 0, statusLine+len(s.phrase)+len(p)-end), p[:statusLine]...)
	return append(line, s.phrase...), p[end:]
}
