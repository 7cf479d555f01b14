package listen

import (
	"bufio"
	"bytes"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"testing"
)

// seeds are streams from which the fuzzers start.
var seeds = []string{
	"GET / HTTP/1.1\r\nHost: a\r\n\r\n",
	"\r\nGET /a%20b?c#d HTTP/1.0\r\n\r\nGET / HTTP/1.1\r\nHost: [::1]:80\r\n\r\n",
	"OPTIONS * HTTP/1.1\r\nHost: a.b:80\r\nConnection: upgrade\r\nUpgrade: x\r\n\r\n\x81",
	"POST http://a:80/b?c HTTP/1.1\r\nHost: c\r\nContent-Length: 3\r\n\r\nabcGET / HTTP/1.1\n\n",
	"PUT https://[::1]?q HTTP/1.1\r\nHost: c\r\nTransfer-Encoding: chunked\r\nTrailer: a\r\n\r\n3;x=\"y\"\r\nabc\r\n0\r\nA: b\r\n\r\nHEAD / HTTP/1.1\r\nHost: a\r\n\r\n",
	"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked, identity\r\nContent-Length: 4, 4\r\n\r\n",
	"GET / HTTP/1.1\r\nHost: a\r\nX : b\r\n c\r\n\r\n",
	"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\x00\x00",
}

// allSeeds are seeds and everything we know a verdict on.
func allSeeds() []string {
	all := slices.Clone(seeds)
	for _, tt := range BadHeads {
		all = append(all, tt.Head)
	}
	for _, tt := range GoodHeads {
		all = append(all, tt.Head)
	}
	for _, tt := range BadBodies {
		all = append(all, Lines("POST /a HTTP/1.1", "Host: a", "Transfer-Encoding: chunked")+tt.Body)
	}
	return slices.DeleteFunc(all, func(s string) bool { return len(s) > 4096 })
}

// words are what heads and chunked bodies are made of. In a fuzzer's input the
// bytes from 0x80 on stand for them, so that it need not find them letter by
// letter.
var words = []string{
	"GET ", "POST ", "OPTIONS ", "HEAD ", "CONNECT ", "TRACE ", "PRI ", preface, "Ab ",
	"/", "*", "/a%2f?%", "http://", "HTTPS://", "a.b", "[::1]", "[::ffff:1.2.3.4]", ":80", ":", "u@", "//", "?x", "%zz", "#", "a:80:90", "[", "]", "%25e",
	" HTTP/1.1\r\n", " HTTP/1.0\r\n", " HTTP/2.0\r\n", "\r\n", "\r\n\r\n", "\n", "\r", " ", "\t", "\x00", "\x7f", "\xff", "\xc3\xa4",
	"Host: ", "Host: a\r\n", "host:b\r\n", " HTTP/1.1\r\nHost: a\r\n", "Connection: ", "upgrade", "close", "Upgrade: ", "Connection: upgrade\r\nUpgrade: x\r\n",
	"Content-Length: ", "content-length:", "Content-Length: 3\r\n", "0", "3", "4, 4", "+4", "9223372036854775807", "9223372036854775808", "18446744073709551619",
	"Transfer-Encoding: ", "transfer-encoding:chunked\r\n", "Transfer-Encoding: chunked\r\n\r\n", "chunked", "identity", "gzip", ",", ";", "=", "\"",
	"Trailer: ", "X-T", "X-A: b\r\n", "X_A.b:", "Expect: 100-continue\r\n", "\r\n c",
	"3\r\nabc\r\n", "1;a=b\r\n", "0\r\n", "0\r\n\r\n", "abc", "fffffffffffffff", "ffffffffffffffff", "7fffffffffffffff", "00000000000003", "0x3", "a\r\n", "-", "_",
}

// spell writes out the words in a fuzzer's input.
func spell(b []byte) (s []byte) {
	for _, c := range b {
		if i := int(c) - 0x80; i >= 0 && i < len(words) {
			s = append(s, words[i]...)
		} else {
			s = append(s, c)
		}
	}
	return s
}

// FuzzHead checks that net/http accepts every head that we do, reads it to the
// same byte, and agrees on what it says.
func FuzzHead(f *testing.F) {
	for _, s := range allSeeds() {
		f.Add([]byte(s))
	}
	f.Add([]byte{0x80, 0x89, 0xac, 0xbe})
	f.Fuzz(func(t *testing.T, b []byte) {
		b = spell(b)
		var h head
		size, v := h.parse(b, DefaultMaxHeaderBytes)
		if v != nil || size == 0 {
			return
		}
		if end := bytes.Index(b, []byte("\r\n\r\n")); size != end+4 {
			t.Fatalf("the head ends at %d, not %d", end+4, size)
		}
		r := bufio.NewReaderSize(bytes.NewReader(b[:size]), size+16)
		req, err := http.ReadRequest(r)
		if err != nil {
			t.Fatalf("net/http refuses what we accept: %v", err)
		}
		if r.Buffered() > 0 {
			t.Fatalf("net/http leaves %d bytes of the head", r.Buffered())
		}
		line := strings.Split(strings.SplitN(string(b), "\r\n", 2)[0], " ")
		if req.Method != line[0] || req.RequestURI != line[1] || req.Proto != line[2] {
			t.Errorf("net/http reads %q %q %q of %q", req.Method, req.RequestURI, req.Proto, line)
		}
		if want := hostOf(line[1], string(b[:size])); req.Host != want {
			t.Errorf("net/http reads Host %q, not %q", req.Host, want)
		}
		length := h.length
		if h.coded {
			length = -1
		}
		if req.ContentLength != length || (len(req.TransferEncoding) > 0) != h.coded {
			t.Errorf("net/http reads length %d, %q; we read %d, %v", req.ContentLength, req.TransferEncoding, length, h.coded)
		}
	})
}

// hostOf is the host that a head is for, found in another way than the check's.
func hostOf(target, head string) string {
	if u, err := url.Parse(target); err == nil && u.IsAbs() {
		return u.Host
	}
	for line := range strings.SplitSeq(head, "\r\n") {
		if name, value, _ := strings.Cut(line, ":"); strings.EqualFold(name, "host") {
			return strings.Trim(value, " \t")
		}
	}
	return ""
}

// stream is what a framer makes of what a client sends.
type stream struct {
	text  string // the bytes approved
	heads []int  // where in text the heads end; only if fed byte by byte
	ends  []int  // where in text the requests end; likewise
	end   string // how it ended
}

// follow has a framer look at b, piece by piece. No upgrade is granted.
func follow(b []byte, pieces func(left int) int) (s stream) {
	f := framer{maxHead: 512, h2c: true}
	var text, rest []byte
	for len(b) > 0 {
		n := pieces(len(b))
		rest, b = append(rest, b[:n]...), b[n:]
		for {
			before := f.at
			n, why := f.advance(rest)
			text, rest = append(text, rest[:n]...), rest[n:]
			if n > 0 && before == inHead {
				s.heads = append(s.heads, len(text))
			}
			if n > 0 && (f.at == inHead || f.at == undecided) {
				s.ends = append(s.ends, len(text))
			}
			switch {
			case why == skip:
				rest = rest[2:]
				continue
			case why == waiting:
				f.notUpgraded()
				continue
			case why == refused:
				s.text, s.end = string(text), fmt.Sprint(f.inABody, f.wrong.reason, f.wrong.text)
				return s
			}
			break
		}
	}
	s.text, s.end = string(text), fmt.Sprint(f.at == raw, len(rest))
	return s
}

// FuzzStream checks that however a connection's bytes are split, the verdict is
// the same, and that net/http finds in what is approved the requests we found,
// at the same places.
func FuzzStream(f *testing.F) {
	for _, s := range allSeeds() {
		f.Add([]byte(s), uint16(7))
		f.Add([]byte(s+s), uint16(300))
	}
	f.Add([]byte{0x81, 0x89, 0xac, 0xbe, 0xc8, 0xcb, 0x80, 0x89, 0xac, 0x9f}, uint16(9))
	f.Fuzz(func(t *testing.T, b []byte, split uint16) {
		if b = spell(b); len(b) > 4096 {
			return // beyond what net/http looks at in a trailer
		}
		bytewise := follow(b, func(int) int { return 1 })
		at := int(split) % (len(b) + 1)
		halves := follow(b, func(left int) int {
			if left == len(b) && at > 0 {
				return at
			}
			return left
		})
		if whole := follow(b, func(left int) int { return left }); whole.text != bytewise.text || whole.end != bytewise.end {
			t.Fatalf("whole %+v, byte by byte %+v", whole, bytewise)
		}
		if halves.text != bytewise.text || halves.end != bytewise.end {
			t.Fatalf("split at %d %+v, byte by byte %+v", at, halves, bytewise)
		}
		if strings.Contains(bytewise.text, preface) {
			return // the rest is not HTTP/1
		}
		agree(t, bytewise)
	})
}

// agree checks that net/http reads s as we did.
func agree(t *testing.T, s stream) {
	src := strings.NewReader(s.text)
	r := bufio.NewReader(src)
	at := func() int { return len(s.text) - src.Len() - r.Buffered() }
	for i, head := range s.heads {
		req, err := http.ReadRequest(r)
		if err != nil || at() != head {
			t.Fatalf("net/http reads head %d to %d, not %d: %v\n%q", i, at(), head, err, s.text)
		}
		_, err = io.Copy(io.Discard, req.Body)
		if i >= len(s.ends) {
			if !strings.HasSuffix(fmt.Sprint(err), "EOF") && !strings.HasSuffix(fmt.Sprint(err), "EOF reading trailer") {
				t.Fatalf("net/http reads an unfinished body: %v\n%q", err, s.text)
			}
			return
		}
		if err != nil || at() != s.ends[i] {
			t.Fatalf("net/http reads request %d to %d, not %d: %v\n%q", i, at(), s.ends[i], err, s.text)
		}
	}
	if rest := len(s.text) - at(); rest != 0 {
		t.Fatalf("net/http found %d bytes more than we\n%q", rest, s.text)
	}
}
