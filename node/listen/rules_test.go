package listen_test

import (
	"strings"
	"testing"

	"signalbox/node/listen"
)

// Each head here is refused, with this status and reason; the connection is
// closed, and what follows is not read as a request.
var badHeads = []struct {
	name   string
	head   string
	status int
	reason listen.Reason
}{
	// Framing.
	{"Content-Length and chunked", lines("POST / HTTP/1.1", "Host: a", "Content-Length: 4", "Transfer-Encoding: chunked"), 400, listen.ReasonLengthAndEncoding},
	{"chunked and Content-Length", lines("POST / HTTP/1.1", "Host: a", "Transfer-Encoding: chunked", "Content-Length: 4"), 400, listen.ReasonLengthAndEncoding},
	{"two different Content-Lengths", lines("POST / HTTP/1.1", "Host: a", "Content-Length: 4", "Content-Length: 5"), 400, listen.ReasonDuplicateLength},
	{"two equal Content-Lengths", lines("POST / HTTP/1.1", "Host: a", "Content-Length: 4", "content-length: 4"), 400, listen.ReasonDuplicateLength},
	{"a list of Content-Lengths", lines("POST / HTTP/1.1", "Host: a", "Content-Length: 4, 4"), 400, listen.ReasonBadContentLength},
	{"a signed Content-Length", lines("POST / HTTP/1.1", "Host: a", "Content-Length: +4"), 400, listen.ReasonBadContentLength},
	{"a negative Content-Length", lines("POST / HTTP/1.1", "Host: a", "Content-Length: -4"), 400, listen.ReasonBadContentLength},
	{"a hex Content-Length", lines("POST / HTTP/1.1", "Host: a", "Content-Length: 0x4"), 400, listen.ReasonBadContentLength},
	{"an empty Content-Length", lines("POST / HTTP/1.1", "Host: a", "Content-Length:"), 400, listen.ReasonBadContentLength},
	{"a Content-Length of 2^63", lines("POST / HTTP/1.1", "Host: a", "Content-Length: 9223372036854775808"), 400, listen.ReasonBadContentLength},
	{"Transfer-Encoding: xchunked", lines("POST / HTTP/1.1", "Host: a", "Transfer-Encoding: xchunked"), 501, listen.ReasonUnknownEncoding},
	{"Transfer-Encoding: gzip, chunked", lines("POST / HTTP/1.1", "Host: a", "Transfer-Encoding: gzip, chunked"), 501, listen.ReasonUnknownEncoding},
	{"Transfer-Encoding: gzip", lines("POST / HTTP/1.1", "Host: a", "Transfer-Encoding: gzip;q=1"), 501, listen.ReasonUnknownEncoding},
	{"chunked, then identity", lines("POST / HTTP/1.1", "Host: a", "Transfer-Encoding: chunked", "Transfer-Encoding: identity"), 400, listen.ReasonBadEncoding},
	{"chunked, identity on one line", lines("POST / HTTP/1.1", "Host: a", "Transfer-Encoding: chunked, identity"), 400, listen.ReasonBadEncoding},
	{"chunked twice", lines("POST / HTTP/1.1", "Host: a", "Transfer-Encoding: chunked", "Transfer-Encoding: chunked"), 400, listen.ReasonBadEncoding},
	{"chunked twice on one line", lines("POST / HTTP/1.1", "Host: a", "Transfer-Encoding: chunked,chunked"), 400, listen.ReasonBadEncoding},
	{"chunked with an empty element", lines("POST / HTTP/1.1", "Host: a", "Transfer-Encoding: chunked,"), 400, listen.ReasonBadEncoding},
	{"chunked with a parameter", lines("POST / HTTP/1.1", "Host: a", "Transfer-Encoding: chunked;a=b"), 400, listen.ReasonBadEncoding},
	{"quoted chunked", lines("POST / HTTP/1.1", "Host: a", `Transfer-Encoding: "chunked"`), 400, listen.ReasonBadEncoding},
	{"identity alone", lines("POST / HTTP/1.1", "Host: a", "Transfer-Encoding: identity"), 400, listen.ReasonBadEncoding},
	{"an empty Transfer-Encoding", lines("POST / HTTP/1.1", "Host: a", "Transfer-Encoding:"), 400, listen.ReasonBadEncoding},
	{"chunked in HTTP/1.0", lines("POST / HTTP/1.0", "Host: a", "Transfer-Encoding: chunked"), 400, listen.ReasonEncodingInHTTP10},
	{"Trailer: Content-Length", lines("POST / HTTP/1.1", "Host: a", "Transfer-Encoding: chunked", "Trailer: a, content-length"), 400, listen.ReasonBadTrailerAnnounced},

	// Header lines.
	{"a space before the colon", lines("GET / HTTP/1.1", "Host: a", "X-A : b"), 400, listen.ReasonSpaceBeforeColon},
	{"a space before Host's colon", lines("GET / HTTP/1.1", "Host : a"), 400, listen.ReasonSpaceBeforeColon},
	{"a tab before the colon", lines("GET / HTTP/1.1", "Host: a", "Content-Length\t: 3"), 400, listen.ReasonSpaceBeforeColon},
	{"no colon", lines("GET / HTTP/1.1", "Host: a", "X-A"), 400, listen.ReasonMissingColon},
	{"an empty name", lines("GET / HTTP/1.1", "Host: a", ": b"), 400, listen.ReasonBadHeaderName},
	{"a name with a slash", lines("GET / HTTP/1.1", "Host: a", "X/A: b"), 400, listen.ReasonBadHeaderName},
	{"a name outside ASCII", lines("GET / HTTP/1.1", "Host: a", "X-\xc3\xa4: b"), 400, listen.ReasonBadHeaderName},
	{"obs-fold", lines("GET / HTTP/1.1", "Host: a", "X-A: b", " c"), 400, listen.ReasonObsFold},
	{"obs-fold with a tab", lines("GET / HTTP/1.1", "Host: a", "X-A: b", "\tTransfer-Encoding: chunked"), 400, listen.ReasonObsFold},
	{"white space before the first header", lines("GET / HTTP/1.1", " Host: a"), 400, listen.ReasonObsFold},
	{"a line of white space", lines("GET / HTTP/1.1", "Host: a", " "), 400, listen.ReasonObsFold},
	{"bare LF after the request line", "GET / HTTP/1.1\nHost: a\r\n\r\n", 400, listen.ReasonBareLF},
	{"bare LF after a header", "GET / HTTP/1.1\r\nHost: a\nX-A: b\r\n\r\n", 400, listen.ReasonBareLF},
	{"bare LF as the empty line", "GET / HTTP/1.1\r\nHost: a\r\n\n", 400, listen.ReasonBareLF},
	{"bare LF before the request", "\nGET / HTTP/1.1\r\nHost: a\r\n\r\n", 400, listen.ReasonBareLF},
	{"bare CR in a value", lines("GET / HTTP/1.1", "Host: a", "X-A: b\rX-B: c"), 400, listen.ReasonBareCR},
	{"bare CR in a name", lines("GET / HTTP/1.1", "Host: a", "X\r-A: b"), 400, listen.ReasonBareCR},
	{"bare CR in the request line", lines("GET /\r HTTP/1.1", "Host: a"), 400, listen.ReasonBareCR},
	{"bare CR before the request", "\rGET / HTTP/1.1\r\nHost: a\r\n\r\n", 400, listen.ReasonBareCR},
	{"CR CR LF", "GET / HTTP/1.1\r\nHost: a\r\r\n\r\n", 400, listen.ReasonBareCR},
	{"NUL in a value", lines("GET / HTTP/1.1", "Host: a", "X-A: b\x00c"), 400, listen.ReasonBadHeaderValue},
	{"DEL in a value", lines("GET / HTTP/1.1", "Host: a", "X-A: \x7f"), 400, listen.ReasonBadHeaderValue},
	{"an escape in a value", lines("GET / HTTP/1.1", "Host: a", "X-A: \x1b[2J"), 400, listen.ReasonBadHeaderValue},

	// Host.
	{"two Hosts", lines("GET / HTTP/1.1", "Host: a", "Host: b"), 400, listen.ReasonDuplicateHost},
	{"two equal Hosts", lines("GET / HTTP/1.1", "Host: a", "host: a"), 400, listen.ReasonDuplicateHost},
	{"no Host", lines("GET / HTTP/1.1", "X-A: b"), 400, listen.ReasonMissingHost},
	{"no Host with an absolute target", lines("GET http://a/ HTTP/1.1", "X-A: b"), 400, listen.ReasonMissingHost},
	{"an empty Host", lines("GET / HTTP/1.1", "Host:"), 400, listen.ReasonBadHost},
	{"a Host with a path", lines("GET / HTTP/1.1", "Host: a/b"), 400, listen.ReasonBadHost},
	{"a Host with a user", lines("GET / HTTP/1.1", "Host: u@a"), 400, listen.ReasonBadHost},
	{"a Host list", lines("GET / HTTP/1.1", "Host: a, b"), 400, listen.ReasonBadHost},
	{"a Host with a space", lines("GET / HTTP/1.1", "Host: a b"), 400, listen.ReasonBadHost},
	{"a Host with a bad port", lines("GET / HTTP/1.1", "Host: a:80x"), 400, listen.ReasonBadHost},
	{"a Host with a signed port", lines("GET / HTTP/1.1", "Host: a:+80"), 400, listen.ReasonBadHost},
	{"a Host with a port of 65536", lines("GET / HTTP/1.1", "Host: a:65536"), 400, listen.ReasonBadHost},
	{"a Host with two ports", lines("GET / HTTP/1.1", "Host: a:80:80"), 400, listen.ReasonBadHost},
	{"a Host that is only a port", lines("GET / HTTP/1.1", "Host: :80"), 400, listen.ReasonBadHost},
	{"an IPv6 Host without brackets", lines("GET / HTTP/1.1", "Host: ::1"), 400, listen.ReasonBadHost},
	{"an IPv6 Host with a zone", lines("GET / HTTP/1.1", "Host: [fe80::1%25eth0]"), 400, listen.ReasonBadHost},
	{"an unclosed IPv6 Host", lines("GET / HTTP/1.1", "Host: [::1"), 400, listen.ReasonBadHost},
	{"an IPv4 Host in brackets", lines("GET / HTTP/1.1", "Host: [127.0.0.1]"), 400, listen.ReasonBadHost},
	{"junk after an IPv6 Host", lines("GET / HTTP/1.1", "Host: [::1]a"), 400, listen.ReasonBadHost},
	{"a percent-escaped Host", lines("GET / HTTP/1.1", "Host: a%2eb"), 400, listen.ReasonBadHost},

	// Request line.
	{"HTTP/9.9", lines("GET / HTTP/9.9", "Host: a"), 505, listen.ReasonUnsupportedVersion},
	{"HTTP/1.2", lines("GET / HTTP/1.2", "Host: a"), 505, listen.ReasonUnsupportedVersion},
	{"HTTP/0.9 spelt out", lines("GET / HTTP/0.9", "Host: a"), 505, listen.ReasonUnsupportedVersion},
	{"HTTP/2.0 without preface", lines("GET / HTTP/2.0", "Host: a"), 505, listen.ReasonUnsupportedVersion},
	{"PRI without the rest of the preface", lines("PRI * HTTP/2.0") + "XX\r\n\r\n", 505, listen.ReasonUnsupportedVersion},
	{"HTTP/2's preface after an empty line", "\r\nPRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", 505, listen.ReasonUnsupportedVersion},
	{"lower-case http/1.1", lines("GET / http/1.1", "Host: a"), 400, listen.ReasonBadVersion},
	{"HTTP/1.10", lines("GET / HTTP/1.10", "Host: a"), 400, listen.ReasonBadVersion},
	{"HTTP/0.9", "GET /\r\n\r\n", 400, listen.ReasonBadRequestLine},
	{"a space after the version", lines("GET / HTTP/1.1 ", "Host: a"), 400, listen.ReasonBadRequestLine},
	{"a space before the method", lines(" GET / HTTP/1.1", "Host: a"), 400, listen.ReasonBadMethod},
	{"a method with a slash", lines("G/T / HTTP/1.1", "Host: a"), 400, listen.ReasonBadMethod},
	{"a tab for a space", lines("GET\t/ HTTP/1.1", "Host: a"), 400, listen.ReasonBadRequestLine},
	{"a TLS hello", "\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03\r\n\r\n", 400, listen.ReasonBadMethod},
	{"a method of 33 bytes", lines(strings.Repeat("A", 33)+" / HTTP/1.1", "Host: a"), 405, listen.ReasonMethodTooLong},
	{"CONNECT", lines("CONNECT a.example:443 HTTP/1.1", "Host: a.example:443"), 405, listen.ReasonMethodRefused},
	{"CONNECT with a path", lines("CONNECT / HTTP/1.1", "Host: a"), 405, listen.ReasonMethodRefused},
	{"TRACE", lines("TRACE / HTTP/1.1", "Host: a"), 405, listen.ReasonMethodRefused},
	{"two empty lines before the request", "\r\n\r\nGET / HTTP/1.1\r\nHost: a\r\n\r\n", 400, listen.ReasonBadRequestLine},

	// Target.
	{"a space in the target", lines("GET /a b HTTP/1.1", "Host: a"), 400, listen.ReasonSpaceInTarget},
	{"two spaces before the target", lines("GET  / HTTP/1.1", "Host: a"), 400, listen.ReasonSpaceInTarget},
	{"an empty target", lines("GET  HTTP/1.1", "Host: a"), 400, listen.ReasonBadTarget},
	{"a target without slash", lines("GET a HTTP/1.1", "Host: a"), 400, listen.ReasonBadTarget},
	{"GET *", lines("GET * HTTP/1.1", "Host: a"), 400, listen.ReasonBadTarget},
	{"another scheme", lines("GET ftp://a/ HTTP/1.1", "Host: a"), 400, listen.ReasonBadTarget},
	{"a scheme without host", lines("GET http:///a HTTP/1.1", "Host: a"), 400, listen.ReasonBadTarget},
	{"a scheme without slashes", lines("GET http:/a HTTP/1.1", "Host: a"), 400, listen.ReasonBadTarget},
	{"a target with a user", lines("GET http://u:p@a/ HTTP/1.1", "Host: a"), 400, listen.ReasonBadTarget},
	{"a target with a bad port", lines("GET http://a:b/ HTTP/1.1", "Host: a"), 400, listen.ReasonBadTarget},
	{"a fragment", lines("GET /a#b HTTP/1.1", "Host: a"), 400, listen.ReasonFragmentInTarget},
	{"UTF-8 in the target", lines("GET /\xc3\xa4 HTTP/1.1", "Host: a"), 400, listen.ReasonBadTarget},
	{"UTF-8 in the query", lines("GET /?\xc3\xa4 HTTP/1.1", "Host: a"), 400, listen.ReasonBadTarget},
	{"a control byte in the target", lines("GET /a\x01 HTTP/1.1", "Host: a"), 400, listen.ReasonBadTarget},
	{"a tab in the target", lines("GET /a\tb HTTP/1.1", "Host: a"), 400, listen.ReasonBadTarget},
	{"a bad percent-escape", lines("GET /a%zz HTTP/1.1", "Host: a"), 400, listen.ReasonBadEscape},
	{"a cut percent-escape", lines("GET /a%2 HTTP/1.1", "Host: a"), 400, listen.ReasonBadEscape},
	{"a lone percent", lines("GET /% HTTP/1.1", "Host: a"), 400, listen.ReasonBadEscape},
	{"a bad percent-escape in an absolute target", lines("GET http://a/%g0 HTTP/1.1", "Host: a"), 400, listen.ReasonBadEscape},

	// Size.
	{"a head over the limit", lines("GET / HTTP/1.1", "Host: a", "X-A: "+strings.Repeat("b", listen.DefaultMaxHeaderBytes)), 431, listen.ReasonHeadTooLarge},
	{"a request line over the limit", lines("GET /"+strings.Repeat("b", listen.DefaultMaxHeaderBytes)+" HTTP/1.1", "Host: a"), 431, listen.ReasonHeadTooLarge},
	{"a head that never ends", "GET / HTTP/1.1\r\nHost: a\r\n" + strings.Repeat("X-A: b\r\n", listen.DefaultMaxHeaderBytes/8), 431, listen.ReasonHeadTooLarge},
	{"a head much over the limit", lines("GET / HTTP/1.1", "Host: a", "X-A: "+strings.Repeat("b", 3*listen.DefaultMaxHeaderBytes)), 431, listen.ReasonHeadTooLarge},
}

func TestBadHeads(t *testing.T) {
	s := serve(t, listen.Config{}, nil)
	for _, tt := range badHeads {
		t.Run(tt.name+" is refused and the connection closed", func(t *testing.T) {
			t.Parallel()
			c := dial(t, s, nil)
			c.send(tt.head + next)
			a := c.answer("GET")
			if a.status != tt.status || a.reason != string(tt.reason) {
				t.Errorf("got %d %s (%s), want %d %s", a.status, a.reason, a.body, tt.status, tt.reason)
			}
			if a.body == "" {
				t.Error("there is no sentence for people")
			}
			c.closed()
		})
		t.Run(tt.name+" after good requests is answered in its turn", func(t *testing.T) {
			t.Parallel()
			c := dial(t, s, nil)
			post := lines("POST /b HTTP/1.1", "Host: a", "Content-Length: 2") + "hi"
			chunks := lines("PUT /c HTTP/1.1", "Host: a", "Transfer-Encoding: chunked") + "2\r\nho\r\n0\r\n\r\n"
			c.send(get("/a") + post + chunks + tt.head + next)
			for _, want := range []string{`GET /a ""`, `POST /b "hi"`, `PUT /c "ho"`} {
				if a := c.answer("GET"); a.status != 200 || a.body != want {
					t.Errorf("got %d %s, want 200 %s", a.status, a.body, want)
				}
			}
			if a := c.answer("GET"); a.status != tt.status || a.reason != string(tt.reason) {
				t.Errorf("got %d %s (%s), want %d %s", a.status, a.reason, a.body, tt.status, tt.reason)
			}
			c.closed()
		})
	}
	t.Cleanup(func() {
		for _, r := range s.requests() {
			if strings.Contains(r, "smuggled") {
				t.Error("a request after a refused head was served")
			}
		}
	})
}

// Each head here is accepted, and the connection goes on.
var goodHeads = []struct{ name, head, want string }{
	{"a plain request", get("/a?b=c"), `GET /a?b=c ""`},
	{"one empty line before it", "\r\n" + get("/a"), `GET /a ""`},
	{"an absolute target", lines("GET http://a.example:80/b HTTP/1.1", "Host: c"), `GET http://a.example:80/b ""`},
	{"an absolute https target without path", lines("GET HTTPS://[::1]:80?q HTTP/1.1", "Host: c"), `GET HTTPS://[::1]:80?q ""`},
	{"odd bytes in the path", get("/a//b/../%2F;c=d|{e}^\"`\\[]'~@!$&()*+,:<>"), "GET /a//b/../%2F;c=d|{e}^\"`\\[]'~@!$&()*+,:<> \"\""},
	{"percent signs in the query", get("/?%zz&%"), `GET /?%zz&% ""`},
	{"an unknown method", lines("PURGE /a HTTP/1.1", "Host: a"), `PURGE /a ""`},
	{"a method of 32 bytes", lines(strings.Repeat("A", 32)+" / HTTP/1.1", "Host: a"), strings.Repeat("A", 32) + ` / ""`},
	{"names with underscore and dot", lines("GET / HTTP/1.1", "Host: a", "X_A.b: c", "!#$%&'*+-.^_`|~: d"), `GET / ""`},
	{"obs-text and tabs in values", lines("GET / HTTP/1.1", "Host:\ta \t", "X-A: \xe4\tb\xff"), `GET / ""`},
	{"empty values", lines("GET / HTTP/1.1", "Host: a", "X-A:", "X-B: ", "Upgrade:"), `GET / ""`},
	{"a Host with trailing dot and port", lines("GET / HTTP/1.1", "Host: a_b-C.example.:8080"), `GET / ""`},
	{"a Host with an empty port", lines("GET / HTTP/1.1", "Host: a:"), `GET / ""`},
	{"an IPv6 Host", lines("GET / HTTP/1.1", "Host: [2001:db8::1]:443"), `GET / ""`},
	{"a body of known length", lines("POST / HTTP/1.1", "Host: a", "Content-Length: 0005") + "he\r\no", `POST / "he\r\no"`},
	{"an empty body", lines("POST / HTTP/1.1", "Host: a", "Content-Length: 0"), `POST / ""`},
	{"a chunked body", lines("POST / HTTP/1.1", "Host: a", "Transfer-Encoding: Chunked") + "3\r\nabc\r\n00A\r\n0123456789\r\n0\r\n\r\n", `POST / "abc0123456789"`},
	{"chunk extensions", lines("POST / HTTP/1.1", "Host: a", "transfer-encoding:chunked") + "3;a=b\r\nabc\r\n1; c=\"d;e\"\r\nd\r\n0;f\r\n\r\n", `POST / "abcd"`},
	{"trailers", lines("POST / HTTP/1.1", "Host: a", "Transfer-Encoding: chunked", "Trailer: X-T") + "1\r\na\r\n0\r\nX-T: u\r\n\r\n", `POST / "a" X-T=["u"]`},
	{"a GET with a body", lines("GET / HTTP/1.1", "Host: a", "Content-Length: 2") + "ab", `GET / "ab"`},
	{"a large head", lines("GET / HTTP/1.1", "Host: a", "X-A: "+strings.Repeat("b", listen.DefaultMaxHeaderBytes-41)), `GET / ""`},
}

func TestGoodHeads(t *testing.T) {
	s := serve(t, listen.Config{}, nil)
	for _, tt := range goodHeads {
		t.Run(tt.name+" is served and the connection goes on", func(t *testing.T) {
			t.Parallel()
			c := dial(t, s, nil)
			c.send(tt.head + tt.head + get("/last"))
			for i, want := range []string{tt.want, tt.want, `GET /last ""`} {
				if a := c.answer("GET"); a.status != 200 || a.body != want {
					t.Fatalf("answer %d: got %d %s %s, want 200 %s", i, a.status, a.reason, a.body, want)
				}
			}
		})
	}
	t.Run("OPTIONS * is accepted", func(t *testing.T) {
		c := dial(t, s, nil)
		c.send(lines("OPTIONS * HTTP/1.1", "Host: a") + get("/last"))
		if a := c.answer("OPTIONS"); a.status != 200 {
			t.Errorf("got %d, want 200", a.status)
		}
		c.answer("GET")
	})
	t.Run("HTTP/1.0 needs no Host", func(t *testing.T) {
		c := dial(t, s, nil)
		c.send("GET /a HTTP/1.0\r\n\r\n")
		if a := c.answer("GET"); a.body != `GET /a ""` {
			t.Errorf("got %d %s", a.status, a.body)
		}
		c.closed()
	})
	t.Run("a body sent after 100 Continue is read", func(t *testing.T) {
		c := dial(t, s, nil)
		c.send(lines("POST / HTTP/1.1", "Host: a", "Expect: 100-continue", "Content-Length: 2"))
		if a := c.answer("POST"); a.status != 100 {
			t.Fatalf("got %d, want 100", a.status)
		}
		c.send("hi" + get("/last"))
		for _, want := range []string{`POST / "hi"`, `GET /last ""`} {
			if a := c.answer("GET"); a.body != want {
				t.Errorf("got %d %s, want %s", a.status, a.body, want)
			}
		}
	})
	t.Run("the answer to a refused HEAD has no body", func(t *testing.T) {
		c := dial(t, s, nil)
		c.send(lines("HEAD / HTTP/1.1", "Host: a", "X-A : b"))
		if a := c.answer("HEAD"); a.status != 400 || a.reason != string(listen.ReasonSpaceBeforeColon) {
			t.Errorf("got %d %s, want 400", a.status, a.reason)
		}
		c.closed()
	})
	t.Run("the limit is exact", func(t *testing.T) {
		s := serve(t, listen.Config{MaxHeaderBytes: 100}, nil)
		for extra, want := range map[int]int{0: 200, 1: 431} {
			head := lines("GET / HTTP/1.1", "Host: a", "X-A: "+strings.Repeat("b", 66+extra))
			if len(head) != 100+extra {
				t.Fatal(len(head))
			}
			c := dial(t, s, nil)
			c.send(head)
			if a := c.answer("GET"); a.status != want {
				t.Errorf("%d bytes: got %d, want %d", len(head), a.status, want)
			}
		}
	})
}
