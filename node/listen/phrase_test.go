package listen_test

import (
	"bufio"
	"io"
	"net"
	"net/http"
	"strconv"
	"strings"
	"testing"
	"time"

	"signalbox/node/listen"
)

func TestAnAnswerSaysThePhraseThatItIsGiven(t *testing.T) {
	s := serve(t, listen.Config{}, func(w http.ResponseWriter, r *http.Request) {
		status, _ := strconv.Atoi(r.Header.Get("Status"))
		of, _ := strconv.Atoi(r.Header.Get("Phrase-Of"))
		w.Header().Set("X-Large", strings.Repeat("x", 10_000)) // more than net/http writes at once
		if r.Header.Get("Early") != "" {
			w.WriteHeader(http.StatusEarlyHints)
		}
		if phrase, err := strconv.Unquote(r.Header.Get("Phrase")); err == nil {
			listen.Phrase(r, of, phrase)
		}
		w.WriteHeader(status)
		_, _ = io.WriteString(w, "HTTP/1.1 599 is no status line here\r\n")
	})
	conn, err := net.Dial("tcp", s.addr)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = conn.Close() }()
	_ = conn.SetDeadline(time.Now().Add(patience))
	from := bufio.NewReader(conn)
	for _, c := range []struct {
		status, of int
		phrase     string
		want       string
	}{
		{599, 599, "Custom Reason", "599 Custom Reason"},
		{200, 200, "Fine", "200 Fine"},
		{200, 0, "", "200 OK"}, // the next has its own
		{200, 200, "OK", "200 OK"},
		{200, 200, "", "200 OK"},
		{404, 200, "Fine", "404 Not Found"},
		{200, 200, "a\tb \xe4", "200 a\tb \xe4"},
		{200, 200, "Fine\r\nX-Evil: 1", "200 OK"},
		{200, 200, "Fine\x00", "200 OK"},
		{200, 200, strings.Repeat("x", 256), "200 " + strings.Repeat("x", 256)},
		{200, 200, strings.Repeat("x", 257), "200 OK"},
		{599, 0, "", "599 status code 599"},
	} {
		for _, early := range []string{"", "Early: 1\r\n"} {
			_, err := io.WriteString(conn, "GET / HTTP/1.1\r\nHost: h\r\nStatus: "+strconv.Itoa(c.status)+"\r\nPhrase-Of: "+strconv.Itoa(c.of)+
				"\r\nPhrase: "+strconv.QuoteToASCII(c.phrase)+"\r\n"+early+"\r\n")
			if err != nil {
				t.Fatal(err)
			}
			res, err := http.ReadResponse(from, nil)
			if err == nil && early != "" {
				res, err = http.ReadResponse(from, nil)
			}
			if err != nil {
				t.Fatal(err)
			}
			body, err := io.ReadAll(res.Body)
			if res.Status != c.want || len(res.Header.Get("X-Large")) != 10_000 || len(body) != 37 || err != nil || res.Header.Get("X-Evil") != "" {
				t.Errorf("%d with %q: got %q and %d bytes, %v; want %q", c.status, c.phrase, res.Status, len(body), err, c.want)
			}
		}
	}
}
