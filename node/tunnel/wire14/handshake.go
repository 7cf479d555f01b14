package wire14

import (
	"bufio"
	"crypto/subtle"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"strings"
	"time"

	"signalbox/node/tunnel/link"
	"signalbox/proto/tunnelurl"
)

const (
	// maxHead is how long a handshake may be in either direction, in bytes.
	maxHead = 8192
	// goodbye is how long whoever was answered has to end his connection.
	goodbye = time.Second
)

// What is wrong with whoever asks.
var (
	errRequest  = errors.New("it asked for nothing in HTTP")
	errMethod   = errors.New("it asked with another method than GET")
	errPath     = errors.New("it asked for another path than /")
	errToken    = errors.New("its key is another one")
	errSecond   = errors.New("a client at the same address is connected, and this wire cannot tell the two apart")
	errReplaced = errors.New("the client was silent, and one at the same address has taken its place")
)

// readRequest reads what a client asks, and says what is wrong with that. It
// asks for nothing else than what one with the key does.
func readRequest(r io.Reader, key string) error {
	req, err := http.ReadRequest(bufio.NewReader(io.LimitReader(r, maxHead)))
	if err != nil {
		return fmt.Errorf("%w: %w", errRequest, err)
	}
	said := req.Header.Values("Authorization")
	switch {
	case req.Method != http.MethodGet:
		return errMethod
	case req.URL.Path != "/":
		return errPath
	case len(said) != 1 || subtle.ConstantTimeCompare([]byte(said[0]), []byte("Bearer "+token(key))) != 1:
		return errToken
	}
	return nil
}

// answer is what is said to whoever asked and is not let in, for that reason.
func answer(why error) string {
	code := http.StatusBadRequest
	switch {
	case errors.Is(why, errMethod):
		code = http.StatusMethodNotAllowed
	case errors.Is(why, errPath):
		code = http.StatusNotFound
	case errors.Is(why, errToken):
		code = http.StatusUnauthorized
	case errors.Is(why, errSecond):
		code = http.StatusConflict
	}
	return response(code, "text/plain; charset=utf-8", http.StatusText(code)+"\n")
}

// response is one of HTTP, with the fields in the order in which NodePass has
// them.
func response(code int, kind, body string) string {
	return fmt.Sprintf("HTTP/1.1 %d %s\r\nConnection: close\r\nContent-Type: %s\r\nContent-Length: %d\r\n\r\n%s",
		code, http.StatusText(code), kind, len(body), body)
}

// reply sends a response and waits for a moment until the client has ended the
// connection: closing one on which more has come would take the response back.
func reply(conn *link.Conn, text string) error {
	if _, err := io.WriteString(conn, text); err != nil {
		return fmt.Errorf("answering: %w", err)
	}
	_ = conn.CloseWrite()
	_ = conn.SetReadDeadline(time.Now().Add(goodbye))
	_, _ = io.Copy(io.Discard, io.LimitReader(conn, maxHead))
	return nil
}

// ask shows the server the key, and returns its terms.
func ask(conn net.Conn, key string) (terms, error) {
	request := "GET / HTTP/1.1\r\nHost: none\r\nUser-Agent: Go-http-client/1.1\r\nAuthorization: Bearer " + token(key) +
		"\r\nAccept-Encoding: gzip\r\n\r\n"
	if _, err := io.WriteString(conn, request); err != nil {
		return terms{}, fmt.Errorf("asking the server: %w", err)
	}
	r := bufio.NewReader(io.LimitReader(conn, maxHead))
	if first, err := r.Peek(4); err == nil && string(first) == "\x00\x00\x00\x00" {
		return terms{}, errors.New("the server takes this for the connection of a client that has asked before; it does not for long")
	}
	res, err := http.ReadResponse(r, nil)
	if errors.Is(err, io.ErrUnexpectedEOF) {
		return terms{}, errors.New("the server closed the connection without an answer: it speaks another wire, or has a client already")
	}
	if err != nil {
		return terms{}, fmt.Errorf("the server's answer is not understood, perhaps it speaks another wire: %w", err)
	}
	defer res.Body.Close()
	body, err := io.ReadAll(res.Body)
	if err != nil {
		return terms{}, fmt.Errorf("reading the server's answer: %w", err)
	}
	if res.StatusCode != http.StatusOK {
		return terms{}, refused(res.StatusCode)
	}
	if encoding := res.Header.Get("Content-Encoding"); encoding != "" {
		return terms{}, fmt.Errorf("%w: Content-Encoding: %s", errTerms, encoding)
	}
	return readTerms(body)
}

// refused says for people why a server does.
func refused(code int) error {
	switch code {
	case http.StatusUnauthorized:
		return errors.New("the server refused the key: it has another one")
	case http.StatusConflict:
		return errors.New("the server has a client at this address, and this wire cannot tell the two apart")
	}
	return fmt.Errorf("the server answered %d %s, as no tunnel does", code, http.StatusText(code))
}

// isRequest tells whether a connection from a client's address asks, instead of
// being a pool connection: that begins TLS, where there is some, or else waits
// for its id in silence.
func isRequest(conn *link.Conn, code tunnelurl.TLS) bool {
	if code == tunnelurl.Plain {
		if conn.Buffered() == 0 {
			// Somebody else may have waited before. What has come is found all the
			// same.
			_ = conn.SetReadDeadline(time.Now().Add(max(look-conn.Age(), time.Millisecond)))
		}
		_, err := conn.Peek(1)
		return !errors.Is(err, os.ErrDeadlineExceeded)
	}
	head, err := conn.Peek(3)
	// A handshake message of TLS: of which version is said elsewhere.
	return err != nil || !strings.HasPrefix(string(head), "\x16\x03")
}
