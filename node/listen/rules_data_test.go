package listen

import "strings"

// The rules as data, for the tests of this package and of listen_test.

// Lines joins header lines with CRLF and ends the head.
func Lines(l ...string) string { return strings.Join(l, "\r\n") + "\r\n\r\n" }

// BadHeads are refused, with this status and reason; the connection is closed,
// and what follows is not read as a request.
var BadHeads = []struct {
	Name   string
	Head   string
	Status int
	Reason Reason
}{
	// Framing.
	{"Content-Length and chunked", Lines("POST / HTTP/1.1", "Host: a", "Content-Length: 4", "Transfer-Encoding: chunked"), 400, ReasonLengthAndEncoding},
	{"chunked and Content-Length", Lines("POST / HTTP/1.1", "Host: a", "Transfer-Encoding: chunked", "Content-Length: 4"), 400, ReasonLengthAndEncoding},
	{"two different Content-Lengths", Lines("POST / HTTP/1.1", "Host: a", "Content-Length: 4", "Content-Length: 5"), 400, ReasonDuplicateLength},
	{"two equal Content-Lengths", Lines("POST / HTTP/1.1", "Host: a", "Content-Length: 4", "content-length: 4"), 400, ReasonDuplicateLength},
	{"a list of Content-Lengths", Lines("POST / HTTP/1.1", "Host: a", "Content-Length: 4, 4"), 400, ReasonBadContentLength},
	{"a signed Content-Length", Lines("POST / HTTP/1.1", "Host: a", "Content-Length: +4"), 400, ReasonBadContentLength},
	{"a negative Content-Length", Lines("POST / HTTP/1.1", "Host: a", "Content-Length: -4"), 400, ReasonBadContentLength},
	{"a hex Content-Length", Lines("POST / HTTP/1.1", "Host: a", "Content-Length: 0x4"), 400, ReasonBadContentLength},
	{"an empty Content-Length", Lines("POST / HTTP/1.1", "Host: a", "Content-Length:"), 400, ReasonBadContentLength},
	{"a Content-Length of 2^63", Lines("POST / HTTP/1.1", "Host: a", "Content-Length: 9223372036854775808"), 400, ReasonBadContentLength},
	{"Transfer-Encoding: xchunked", Lines("POST / HTTP/1.1", "Host: a", "Transfer-Encoding: xchunked"), 501, ReasonUnknownEncoding},
	{"Transfer-Encoding: gzip, chunked", Lines("POST / HTTP/1.1", "Host: a", "Transfer-Encoding: gzip, chunked"), 501, ReasonUnknownEncoding},
	{"Transfer-Encoding: gzip", Lines("POST / HTTP/1.1", "Host: a", "Transfer-Encoding: gzip;q=1"), 501, ReasonUnknownEncoding},
	{"chunked, then identity", Lines("POST / HTTP/1.1", "Host: a", "Transfer-Encoding: chunked", "Transfer-Encoding: identity"), 400, ReasonBadEncoding},
	{"chunked, identity on one line", Lines("POST / HTTP/1.1", "Host: a", "Transfer-Encoding: chunked, identity"), 400, ReasonBadEncoding},
	{"chunked twice", Lines("POST / HTTP/1.1", "Host: a", "Transfer-Encoding: chunked", "Transfer-Encoding: chunked"), 400, ReasonBadEncoding},
	{"chunked twice on one line", Lines("POST / HTTP/1.1", "Host: a", "Transfer-Encoding: chunked,chunked"), 400, ReasonBadEncoding},
	{"chunked with an empty element", Lines("POST / HTTP/1.1", "Host: a", "Transfer-Encoding: chunked,"), 400, ReasonBadEncoding},
	{"chunked with a parameter", Lines("POST / HTTP/1.1", "Host: a", "Transfer-Encoding: chunked;a=b"), 400, ReasonBadEncoding},
	{"quoted chunked", Lines("POST / HTTP/1.1", "Host: a", `Transfer-Encoding: "chunked"`), 400, ReasonBadEncoding},
	{"identity alone", Lines("POST / HTTP/1.1", "Host: a", "Transfer-Encoding: identity"), 400, ReasonBadEncoding},
	{"an empty Transfer-Encoding", Lines("POST / HTTP/1.1", "Host: a", "Transfer-Encoding:"), 400, ReasonBadEncoding},
	{"chunked in HTTP/1.0", Lines("POST / HTTP/1.0", "Host: a", "Transfer-Encoding: chunked"), 400, ReasonEncodingInHTTP10},
	{"an unknown expectation", Lines("POST / HTTP/1.1", "Host: a", "Content-Length: 2", "Expect: 100-continue, more"), 417, ReasonUnknownExpectation},
	{"Trailer: Content-Length", Lines("POST / HTTP/1.1", "Host: a", "Transfer-Encoding: chunked", "Trailer: a, content-length"), 400, ReasonBadTrailerAnnounced},

	// Header lines.
	{"a space before the colon", Lines("GET / HTTP/1.1", "Host: a", "X-A : b"), 400, ReasonSpaceBeforeColon},
	{"a space before Host's colon", Lines("GET / HTTP/1.1", "Host : a"), 400, ReasonSpaceBeforeColon},
	{"a tab before the colon", Lines("GET / HTTP/1.1", "Host: a", "Content-Length\t: 3"), 400, ReasonSpaceBeforeColon},
	{"no colon", Lines("GET / HTTP/1.1", "Host: a", "X-A"), 400, ReasonMissingColon},
	{"an empty name", Lines("GET / HTTP/1.1", "Host: a", ": b"), 400, ReasonBadHeaderName},
	{"a name with a slash", Lines("GET / HTTP/1.1", "Host: a", "X/A: b"), 400, ReasonBadHeaderName},
	{"a name outside ASCII", Lines("GET / HTTP/1.1", "Host: a", "X-\xc3\xa4: b"), 400, ReasonBadHeaderName},
	{"obs-fold", Lines("GET / HTTP/1.1", "Host: a", "X-A: b", " c"), 400, ReasonObsFold},
	{"obs-fold with a tab", Lines("GET / HTTP/1.1", "Host: a", "X-A: b", "\tTransfer-Encoding: chunked"), 400, ReasonObsFold},
	{"white space before the first header", Lines("GET / HTTP/1.1", " Host: a"), 400, ReasonObsFold},
	{"a line of white space", Lines("GET / HTTP/1.1", "Host: a", " "), 400, ReasonObsFold},
	{"bare LF after the request line", "GET / HTTP/1.1\nHost: a\r\n\r\n", 400, ReasonBareLF},
	{"bare LF after a header", "GET / HTTP/1.1\r\nHost: a\nX-A: b\r\n\r\n", 400, ReasonBareLF},
	{"bare LF as the empty line", "GET / HTTP/1.1\r\nHost: a\r\n\n", 400, ReasonBareLF},
	{"bare LF before the request", "\nGET / HTTP/1.1\r\nHost: a\r\n\r\n", 400, ReasonBareLF},
	{"bare CR in a value", Lines("GET / HTTP/1.1", "Host: a", "X-A: b\rX-B: c"), 400, ReasonBareCR},
	{"bare CR in a name", Lines("GET / HTTP/1.1", "Host: a", "X\r-A: b"), 400, ReasonBareCR},
	{"bare CR in the request line", Lines("GET /\r HTTP/1.1", "Host: a"), 400, ReasonBareCR},
	{"bare CR before the request", "\rGET / HTTP/1.1\r\nHost: a\r\n\r\n", 400, ReasonBareCR},
	{"CR CR LF", "GET / HTTP/1.1\r\nHost: a\r\r\n\r\n", 400, ReasonBareCR},
	{"NUL in a value", Lines("GET / HTTP/1.1", "Host: a", "X-A: b\x00c"), 400, ReasonBadHeaderValue},
	{"DEL in a value", Lines("GET / HTTP/1.1", "Host: a", "X-A: \x7f"), 400, ReasonBadHeaderValue},
	{"an escape in a value", Lines("GET / HTTP/1.1", "Host: a", "X-A: \x1b[2J"), 400, ReasonBadHeaderValue},

	// Host.
	{"two Hosts", Lines("GET / HTTP/1.1", "Host: a", "Host: b"), 400, ReasonDuplicateHost},
	{"two equal Hosts", Lines("GET / HTTP/1.1", "Host: a", "host: a"), 400, ReasonDuplicateHost},
	{"no Host", Lines("GET / HTTP/1.1", "X-A: b"), 400, ReasonMissingHost},
	{"no Host with an absolute target", Lines("GET http://a/ HTTP/1.1", "X-A: b"), 400, ReasonMissingHost},
	{"an empty Host", Lines("GET / HTTP/1.1", "Host:"), 400, ReasonBadHost},
	{"a Host with a path", Lines("GET / HTTP/1.1", "Host: a/b"), 400, ReasonBadHost},
	{"a Host with a user", Lines("GET / HTTP/1.1", "Host: u@a"), 400, ReasonBadHost},
	{"a Host list", Lines("GET / HTTP/1.1", "Host: a, b"), 400, ReasonBadHost},
	{"a Host with a space", Lines("GET / HTTP/1.1", "Host: a b"), 400, ReasonBadHost},
	{"a Host with a bad port", Lines("GET / HTTP/1.1", "Host: a:80x"), 400, ReasonBadHost},
	{"a Host with a signed port", Lines("GET / HTTP/1.1", "Host: a:+80"), 400, ReasonBadHost},
	{"a Host with a port of 65536", Lines("GET / HTTP/1.1", "Host: a:65536"), 400, ReasonBadHost},
	{"a Host with two ports", Lines("GET / HTTP/1.1", "Host: a:80:80"), 400, ReasonBadHost},
	{"a Host that is only a port", Lines("GET / HTTP/1.1", "Host: :80"), 400, ReasonBadHost},
	{"an IPv6 Host without brackets", Lines("GET / HTTP/1.1", "Host: ::1"), 400, ReasonBadHost},
	{"an IPv6 Host with a zone", Lines("GET / HTTP/1.1", "Host: [fe80::1%25eth0]"), 400, ReasonBadHost},
	{"an unclosed IPv6 Host", Lines("GET / HTTP/1.1", "Host: [::1"), 400, ReasonBadHost},
	{"an IPv4 Host in brackets", Lines("GET / HTTP/1.1", "Host: [127.0.0.1]"), 400, ReasonBadHost},
	{"junk after an IPv6 Host", Lines("GET / HTTP/1.1", "Host: [::1]a"), 400, ReasonBadHost},
	{"a percent-escaped Host", Lines("GET / HTTP/1.1", "Host: a%2eb"), 400, ReasonBadHost},

	// Request line.
	{"HTTP/9.9", Lines("GET / HTTP/9.9", "Host: a"), 505, ReasonUnsupportedVersion},
	{"HTTP/1.2", Lines("GET / HTTP/1.2", "Host: a"), 505, ReasonUnsupportedVersion},
	{"HTTP/0.9 spelt out", Lines("GET / HTTP/0.9", "Host: a"), 505, ReasonUnsupportedVersion},
	{"HTTP/2.0 without preface", Lines("GET / HTTP/2.0", "Host: a"), 505, ReasonUnsupportedVersion},
	{"PRI without the rest of the preface", Lines("PRI * HTTP/2.0") + "XX\r\n\r\n", 505, ReasonUnsupportedVersion},
	{"HTTP/2's preface after an empty line", "\r\nPRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", 505, ReasonUnsupportedVersion},
	{"lower-case http/1.1", Lines("GET / http/1.1", "Host: a"), 400, ReasonBadVersion},
	{"HTTP/1.10", Lines("GET / HTTP/1.10", "Host: a"), 400, ReasonBadVersion},
	{"HTTP/0.9", "GET /\r\n\r\n", 400, ReasonBadRequestLine},
	{"a space after the version", Lines("GET / HTTP/1.1 ", "Host: a"), 400, ReasonBadRequestLine},
	{"a space before the method", Lines(" GET / HTTP/1.1", "Host: a"), 400, ReasonBadMethod},
	{"a method with a slash", Lines("G/T / HTTP/1.1", "Host: a"), 400, ReasonBadMethod},
	{"a tab for a space", Lines("GET\t/ HTTP/1.1", "Host: a"), 400, ReasonBadRequestLine},
	{"a TLS hello", "\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03\r\n\r\n", 400, ReasonBadMethod},
	{"a method of 33 bytes", Lines(strings.Repeat("A", 33)+" / HTTP/1.1", "Host: a"), 405, ReasonMethodTooLong},
	{"CONNECT", Lines("CONNECT a.example:443 HTTP/1.1", "Host: a.example:443"), 405, ReasonMethodRefused},
	{"CONNECT with a path", Lines("CONNECT / HTTP/1.1", "Host: a"), 405, ReasonMethodRefused},
	{"TRACE", Lines("TRACE / HTTP/1.1", "Host: a"), 405, ReasonMethodRefused},
	{"two empty lines before the request", "\r\n\r\nGET / HTTP/1.1\r\nHost: a\r\n\r\n", 400, ReasonBadRequestLine},

	// Target.
	{"a space in the target", Lines("GET /a b HTTP/1.1", "Host: a"), 400, ReasonSpaceInTarget},
	{"two spaces before the target", Lines("GET  / HTTP/1.1", "Host: a"), 400, ReasonSpaceInTarget},
	{"an empty target", Lines("GET  HTTP/1.1", "Host: a"), 400, ReasonBadTarget},
	{"a target without slash", Lines("GET a HTTP/1.1", "Host: a"), 400, ReasonBadTarget},
	{"GET *", Lines("GET * HTTP/1.1", "Host: a"), 400, ReasonBadTarget},
	{"another scheme", Lines("GET ftp://a/ HTTP/1.1", "Host: a"), 400, ReasonBadTarget},
	{"a scheme without host", Lines("GET http:///a HTTP/1.1", "Host: a"), 400, ReasonBadTarget},
	{"a scheme without slashes", Lines("GET http:/a HTTP/1.1", "Host: a"), 400, ReasonBadTarget},
	{"a target with a user", Lines("GET http://u:p@a/ HTTP/1.1", "Host: a"), 400, ReasonBadTarget},
	{"a target with a bad port", Lines("GET http://a:b/ HTTP/1.1", "Host: a"), 400, ReasonBadTarget},
	{"a fragment", Lines("GET /a#b HTTP/1.1", "Host: a"), 400, ReasonFragmentInTarget},
	{"UTF-8 in the target", Lines("GET /\xc3\xa4 HTTP/1.1", "Host: a"), 400, ReasonBadTarget},
	{"UTF-8 in the query", Lines("GET /?\xc3\xa4 HTTP/1.1", "Host: a"), 400, ReasonBadTarget},
	{"a control byte in the target", Lines("GET /a\x01 HTTP/1.1", "Host: a"), 400, ReasonBadTarget},
	{"a tab in the target", Lines("GET /a\tb HTTP/1.1", "Host: a"), 400, ReasonBadTarget},
	{"a bad percent-escape", Lines("GET /a%zz HTTP/1.1", "Host: a"), 400, ReasonBadEscape},
	{"a cut percent-escape", Lines("GET /a%2 HTTP/1.1", "Host: a"), 400, ReasonBadEscape},
	{"a lone percent", Lines("GET /% HTTP/1.1", "Host: a"), 400, ReasonBadEscape},
	{"a bad percent-escape in an absolute target", Lines("GET http://a/%g0 HTTP/1.1", "Host: a"), 400, ReasonBadEscape},

	// Size.
	{"a head over the limit", Lines("GET / HTTP/1.1", "Host: a", "X-A: "+strings.Repeat("b", DefaultMaxHeaderBytes)), 431, ReasonHeadTooLarge},
	{"a request line over the limit", Lines("GET /"+strings.Repeat("b", DefaultMaxHeaderBytes)+" HTTP/1.1", "Host: a"), 431, ReasonHeadTooLarge},
	{"a head that never ends", "GET / HTTP/1.1\r\nHost: a\r\n" + strings.Repeat("X-A: b\r\n", DefaultMaxHeaderBytes/8), 431, ReasonHeadTooLarge},
	{"a head much over the limit", Lines("GET / HTTP/1.1", "Host: a", "X-A: "+strings.Repeat("b", 3*DefaultMaxHeaderBytes)), 431, ReasonHeadTooLarge},
}

// GoodHeads are served, and the connection goes on. Want is what the tests' server
// answers.
var GoodHeads = []struct{ Name, Head, Want string }{
	{"a plain request", Lines("GET /a?b=c HTTP/1.1", "Host: a.example"), `GET /a?b=c ""`},
	{"one empty line before it", "\r\n" + Lines("GET /a HTTP/1.1", "Host: a.example"), `GET /a ""`},
	{"an absolute target", Lines("GET http://a.example:80/b HTTP/1.1", "Host: c"), `GET http://a.example:80/b ""`},
	{"an absolute https target without path", Lines("GET HTTPS://[::1]:80?q HTTP/1.1", "Host: c"), `GET HTTPS://[::1]:80?q ""`},
	{"odd bytes in the path", Lines("GET /a//b/../%2F;c=d|{e}^\"`\\[]'~@!$&()*+,:<> HTTP/1.1", "Host: a.example"), "GET /a//b/../%2F;c=d|{e}^\"`\\[]'~@!$&()*+,:<> \"\""},
	{"percent signs in the query", Lines("GET /?%zz&% HTTP/1.1", "Host: a.example"), `GET /?%zz&% ""`},
	{"an unknown method", Lines("PURGE /a HTTP/1.1", "Host: a"), `PURGE /a ""`},
	{"a method of 32 bytes", Lines(strings.Repeat("A", 32)+" / HTTP/1.1", "Host: a"), strings.Repeat("A", 32) + ` / ""`},
	{"names with underscore and dot", Lines("GET / HTTP/1.1", "Host: a", "X_A.b: c", "!#$%&'*+-.^_`|~: d"), `GET / ""`},
	{"obs-text and tabs in values", Lines("GET / HTTP/1.1", "Host:\ta \t", "X-A: \xe4\tb\xff"), `GET / ""`},
	{"empty values", Lines("GET / HTTP/1.1", "Host: a", "X-A:", "X-B: ", "Upgrade:"), `GET / ""`},
	{"a Host with trailing dot and port", Lines("GET / HTTP/1.1", "Host: a_b-C.example.:8080"), `GET / ""`},
	{"a Host with an empty port", Lines("GET / HTTP/1.1", "Host: a:"), `GET / ""`},
	{"an IPv6 Host", Lines("GET / HTTP/1.1", "Host: [2001:db8::1]:443"), `GET / ""`},
	{"a body of known length", Lines("POST / HTTP/1.1", "Host: a", "Content-Length: 0005") + "he\r\no", `POST / "he\r\no"`},
	{"an empty body", Lines("POST / HTTP/1.1", "Host: a", "Content-Length: 0"), `POST / ""`},
	{"a chunked body", Lines("POST / HTTP/1.1", "Host: a", "Transfer-Encoding: Chunked") + "3\r\nabc\r\n00A\r\n0123456789\r\n0\r\n\r\n", `POST / "abc0123456789"`},
	{"chunk extensions", Lines("POST / HTTP/1.1", "Host: a", "transfer-encoding:chunked") + "3;a=b\r\nabc\r\n1; c=\"d;e\"\r\nd\r\n0;f\r\n\r\n", `POST / "abcd"`},
	{"trailers", Lines("POST / HTTP/1.1", "Host: a", "Transfer-Encoding: chunked", "Trailer: X-T") + "1\r\na\r\n0\r\nX-T: u\r\n\r\n", `POST / "a" X-T=["u"]`},
	{"a GET with a body", Lines("GET / HTTP/1.1", "Host: a", "Content-Length: 2") + "ab", `GET / "ab"`},
	{"a large head", Lines("GET / HTTP/1.1", "Host: a", "X-A: "+strings.Repeat("b", DefaultMaxHeaderBytes-41)), `GET / ""`},
}

// BadBodies are chunked bodies that cannot be read.
var BadBodies = []struct {
	Name, Body string
	Reason     Reason
}{
	{"bare LF after a chunk size", "3\nabc\r\n0\r\n\r\n", ReasonBareLF},
	{"bare LF after an extension", "3;a\nabc\r\n0\r\n\r\n", ReasonBareLF},
	{"bare LF after chunk data", "3\r\nabc\n0\r\n\r\n", ReasonBadChunkEnd},
	{"bare LF after the last chunk", "3\r\nabc\r\n0\n\r\n", ReasonBareLF},
	{"bare LF as the end", "3\r\nabc\r\n0\r\n\n", ReasonBareLF},
	{"0x5", "0x5\r\nabcde\r\n0\r\n\r\n", ReasonBadChunkSize},
	{"no size", "\r\nabc\r\n0\r\n\r\n", ReasonBadChunkSize},
	{"a signed size", "+3\r\nabc\r\n0\r\n\r\n", ReasonBadChunkSize},
	{"a size with underscore", "1_0\r\n0123456789abcdef\r\n0\r\n\r\n", ReasonBadChunkSize},
	{"a space before the size", " 3\r\nabc\r\n0\r\n\r\n", ReasonBadChunkSize},
	{"a space after the size", "3 \r\nabc\r\n0\r\n\r\n", ReasonBadChunkSize},
	{"a size of 16 digits", "0000000000000003\r\nabc\r\n0\r\n\r\n", ReasonBadChunkSize},
	{"a size of 2^64", "10000000000000000\r\nabc\r\n0\r\n\r\n", ReasonBadChunkSize},
	{"a bare CR in the size line", "3\r;a\r\nabc\r\n0\r\n\r\n", ReasonBareCR},
	{"a bare CR in an extension", "3;a\rb\r\nabc\r\n0\r\n\r\n", ReasonBareCR},
	{"a control character in an extension", "3;a\x00\r\nabc\r\n0\r\n\r\n", ReasonBadChunkExt},
	{"an endless extension", "3;" + strings.Repeat("a", 2000) + "\r\nabc\r\n0\r\n\r\n", ReasonChunkLineTooLong},
	{"a chunk longer than its size", "3\r\nabcd\r\n0\r\n\r\n", ReasonBadChunkEnd},
	{"a chunk shorter than its size", "4\r\nabc\r\n0\r\n\r\n", ReasonBadChunkEnd},
	{"a folded trailer", "0\r\nA: b\r\n c\r\n\r\n", ReasonObsFold},
	{"a trailer with a space before its colon", "0\r\nA : b\r\n\r\n", ReasonSpaceBeforeColon},
	{"a trailer with a bare CR", "0\r\nA: b\rc\r\n\r\n", ReasonBareCR},
	{"a trailer with a bare LF", "0\r\nA: b\nC: d\r\n\r\n", ReasonBareLF},
	{"a framing trailer", "0\r\nContent-Length: 3\r\n\r\n", ReasonBadTrailer},
	{"a routing trailer", "0\r\nhost: b\r\n\r\n", ReasonBadTrailer},
	{"a trailer section over the limit", "0\r\nA: " + strings.Repeat("b", 5000) + "\r\n\r\n", ReasonTrailerTooLarge},
}
