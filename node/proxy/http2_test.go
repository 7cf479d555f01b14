package proxy_test

import (
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/binary"
	"io"
	"math/big"
	"net"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"golang.org/x/net/http2"
	"golang.org/x/net/http2/hpack"

	signalboxv1 "signalbox/proto/gen/signalbox/v1"

	"signalbox/node/listen"
	"signalbox/node/upstream"
)

// selfSigned is a certificate for 127.0.0.1, and the roots that trust it.
func selfSigned(t testing.TB) (tls.Certificate, *x509.CertPool) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "test"}, IsCA: true, BasicConstraintsValid: true,
		NotAfter: time.Now().Add(time.Hour), IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)}, DNSNames: []string{"localhost"},
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	if err != nil {
		t.Fatal(err)
	}
	cert, _ := x509.ParseCertificate(der)
	roots := x509.NewCertPool()
	roots.AddCert(cert)
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}, roots
}

// browser is a client that speaks the versions of HTTP it is told to.
func browser(t testing.TB, roots *x509.CertPool, protocols ...func(*http.Protocols)) *http.Client {
	var p http.Protocols
	for _, set := range protocols {
		set(&p)
	}
	tr := &http.Transport{Protocols: &p, TLSClientConfig: &tls.Config{RootCAs: roots}, DisableCompression: true}
	t.Cleanup(tr.CloseIdleConnections)
	return &http.Client{Transport: tr, Timeout: patience, CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}
}

func h1(p *http.Protocols)  { p.SetHTTP1(true) }
func h2(p *http.Protocols)  { p.SetHTTP2(true) }
func h2c(p *http.Protocols) { p.SetUnencryptedHTTP2(true) }

// overTLS starts a node that speaks TLS.
func overTLS(t testing.TB) (*node, *x509.CertPool) {
	cert, roots := selfSigned(t)
	return start(t, upstream.Config{TLS: &tls.Config{RootCAs: roots}}, listen.Config{
		TLS: &tls.Config{Certificates: []tls.Certificate{cert}, NextProtos: []string{"h2", "http/1.1"}},
	}), roots
}

func TestEveryVersionOfHTTPIsSpokenOnBothSides(t *testing.T) {
	secure, roots := overTLS(t)
	clear := plain(t)
	answer := func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Trailer", "X-Announced")
		body, _ := io.ReadAll(r.Body)
		_, _ = io.WriteString(w, r.Proto+" "+r.Host+" "+r.RequestURI+" "+r.Header.Get("X-Forwarded-Proto")+" "+string(body)+" "+r.Trailer.Get("X-Sum"))
		w.Header().Set("X-Announced", "1")
		w.Header().Set(http.TrailerPrefix+"X-Other", "2")
	}
	origin := web(t, answer)
	for _, n := range []*node{secure, clear} {
		n.route("/h1", origin)
		n.route("/h2c", strings.Replace(origin, "http:", "h2c:", 1))
	}
	for _, c := range []struct {
		name, url, proto string
		client           *http.Client
	}{
		{"HTTP/1.1", "http://" + clear.addr, "http", browser(t, nil, h1)},
		{"HTTP/2 by prior knowledge", "http://" + clear.addr, "http", browser(t, nil, h2c)},
		{"HTTP/1.1 over TLS", "https://" + secure.addr, "https", browser(t, roots, h1)},
		{"HTTP/2 over TLS", "https://" + secure.addr, "https", browser(t, roots, h2)},
	} {
		for path, version := range map[string]string{"/h1": "HTTP/1.1", "/h2c": "HTTP/2.0"} {
			t.Run(c.name+" to "+version, func(t *testing.T) {
				req, _ := http.NewRequestWithContext(t.Context(), "POST", c.url+path+"/a%2Fb//c?x=1;y", io.MultiReader(strings.NewReader("body")))
				req.Trailer = http.Header{"X-Sum": {"42"}}
				res, err := c.client.Do(req)
				if err != nil {
					t.Fatal(err)
				}
				body, err := io.ReadAll(res.Body)
				_ = res.Body.Close()
				want := version + " " + req.URL.Host + " " + path + "/a%2Fb//c?x=1;y " + c.proto + " body 42"
				if err != nil || string(body) != want || res.Trailer.Get("X-Announced") != "1" || res.Trailer.Get("X-Other") != "2" {
					t.Errorf("got %q, trailer %v, %v; want %q", body, res.Trailer, err, want)
				}
			})
		}
	}
}

func TestHTTP2UpstreamsThatDieEndTheStreamOnly(t *testing.T) {
	n := plain(t)
	n.route("/die", web(t, func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Length", "10")
		_, _ = w.Write([]byte("abc"))
		w.(http.Flusher).Flush()
		<-r.Context().Done()
		panic(http.ErrAbortHandler)
	}))
	o := scripted(t)
	n.route("/cut", o.url)
	c := browser(t, nil, h2c)
	req, _ := http.NewRequestWithContext(t.Context(), "GET", "http://"+n.addr+"/cut", nil)
	begun, got := make(chan struct{}), make(chan error, 1)
	go func() {
		res, err := c.Do(req)
		close(begun)
		if err == nil {
			_, err = io.ReadAll(res.Body)
			_ = res.Body.Close()
		}
		got <- err
	}()
	up := o.accept(t)
	up.head()
	up.raw("HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nabc")
	<-begun
	_ = up.Close()
	if err := <-got; err == nil {
		t.Error("a truncated answer looks complete")
	}
	ctx, cancel := context.WithCancel(t.Context())
	req, _ = http.NewRequestWithContext(ctx, "GET", "http://"+n.addr+"/die", nil)
	res, err := c.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	buf := make([]byte, 3)
	if _, err := io.ReadFull(res.Body, buf); err != nil {
		t.Error(err)
	}
	cancel() // which reaches the upstream, and is a failure of nobody's
	_ = res.Body.Close()
	eventually(t, "the client's leaving is logged", func() bool { return strings.Contains(n.log.String(), "reason=client_gone") })
	if got := n.counters("r.die").Counters.NodeFailures; got != 0 {
		t.Errorf("%d failures", got)
	}
}

func TestAnEarlyAnswerDoesNotWaitForTheBodyInHTTP2(t *testing.T) {
	n := plain(t)
	o := scripted(t)
	n.route("/", o.url)
	body, feed := io.Pipe()
	defer func() { _ = feed.Close() }()
	req, _ := http.NewRequestWithContext(t.Context(), "POST", "http://"+n.addr+"/", body)
	req.ContentLength = 100000
	answered := make(chan string, 1)
	go func() {
		res, err := browser(t, nil, h2c).Do(req)
		if err != nil {
			answered <- err.Error()
			return
		}
		got, _ := io.ReadAll(res.Body)
		_ = res.Body.Close()
		answered <- res.Status + " " + string(got)
	}()
	_, _ = feed.Write([]byte("0123456789"))
	up := o.accept(t)
	up.head()
	up.exactly(10)
	up.raw("HTTP/1.1 413 Too Large\r\nContent-Length: 3\r\n\r\nbig")
	if got := <-answered; got != "413 Request Entity Too Large big" {
		t.Errorf("got %s", got)
	}
}

// rawH2 sends one request's header fields, as no HTTP library would, and
// returns the status with the node's reason, or the error code of a reset.
func rawH2(t *testing.T, c *client, fields ...string) string {
	t.Helper()
	c.raw(http2.ClientPreface)
	fr := http2.NewFramer(c, c.r)
	_ = fr.WriteSettings()
	var block bytes.Buffer
	enc := hpack.NewEncoder(&block)
	for i := 0; i < len(fields); i += 2 {
		_ = enc.WriteField(hpack.HeaderField{Name: fields[i], Value: fields[i+1]})
	}
	for first := true; first || block.Len() > 0; first = false {
		part := block.Next(16 << 10)
		if first {
			_ = fr.WriteHeaders(http2.HeadersFrameParam{StreamID: 1, BlockFragment: part, EndStream: true, EndHeaders: block.Len() == 0})
		} else {
			_ = fr.WriteContinuation(1, block.Len() == 0, part)
		}
	}
	fr.ReadMetaHeaders = hpack.NewDecoder(4096, nil)
	for {
		f, err := fr.ReadFrame()
		if err != nil {
			return err.Error()
		}
		switch f := f.(type) {
		case *http2.MetaHeadersFrame:
			answer := f.PseudoValue("status")
			for _, h := range f.RegularFields() {
				if h.Name == "signalbox-error" {
					answer += " " + h.Value
				}
			}
			return answer
		case *http2.RSTStreamFrame:
			return f.ErrCode.String()
		case *http2.GoAwayFrame:
			return "go away: " + f.ErrCode.String()
		}
	}
}

// h2Fields are those of a request, with some of them set to something else,
// or added; a value of "-" leaves one out.
func h2Fields(kv ...string) []string {
	fields := []string{":method", "GET", ":scheme", "http", ":authority", "h", ":path", "/"}
	for i := 0; i < len(kv); i += 2 {
		at := slices.Index(fields, kv[i])
		switch {
		case at < 0 || kv[i][0] != ':':
			fields = append(fields, kv[i], kv[i+1])
		case kv[i+1] == "-":
			fields = slices.Delete(fields, at, at+2)
		default:
			fields[at+1] = kv[i+1]
		}
	}
	return fields
}

func TestHTTP2RequestsAreHeldToTheSameRules(t *testing.T) {
	const kib = 1 << 10
	table := []struct {
		name   string
		fields []string
		want   string // a status and maybe a reason, or what net/http does by itself
	}{
		{"an ordinary request", h2Fields(), "200"},
		{"an unknown method of 32 bytes", h2Fields(":method", strings.Repeat("A", 32)), "200"},
		{"an IPv6 authority with a port", h2Fields(":authority", "[::1]:80"), "200"},
		{"a Host that says the same", h2Fields("host", "H"), "200"},
		{"a Host for an authority", h2Fields(":authority", "-", "host", "h"), "200"},
		{"asking for all", h2Fields(":method", "OPTIONS", ":path", "*"), "200"},
		{"a bad escape in the query", h2Fields(":path", "/?%zz"), "200"},

		{"a method that is no token", h2Fields(":method", "G@T"), "400 bad_method"},
		{"a method with a space", h2Fields(":method", "GET /x"), "400 bad_method"},
		{"a method of 33 bytes", h2Fields(":method", strings.Repeat("A", 33)), "405 method_too_long"},
		{"TRACE", h2Fields(":method", "TRACE"), "405 method_refused"},
		{"CONNECT", []string{":method", "CONNECT", ":authority", "h:1"}, "405 method_refused"},
		{"a path without slash", h2Fields(":path", "a"), "PROTOCOL_ERROR"},
		{"a whole URI for a path", h2Fields(":path", "http://other/a"), "400 bad_target"},
		{"asking for all without OPTIONS", h2Fields(":path", "*"), "400 bad_target"},
		{"a fragment", h2Fields(":path", "/a#b"), "400 fragment_in_target"},
		{"a space in the path", h2Fields(":path", "/a b"), "400 space_in_target"},
		{"a byte beyond ASCII", h2Fields(":path", "/\xe4"), "400 bad_target"},
		{"a bad escape", h2Fields(":path", "/%zz"), "PROTOCOL_ERROR"},

		{"no authority", h2Fields(":authority", "-"), "400 missing_host"},
		{"user information", h2Fields(":authority", "u@h"), "PROTOCOL_ERROR"},
		{"user information in a Host", h2Fields(":authority", "-", "host", "u@h"), "PROTOCOL_ERROR"},
		{"a slash in the authority", h2Fields(":authority", "h/x"), "400 bad_host"},
		{"a comma in the authority", h2Fields(":authority", "h,i"), "400 bad_host"},
		{"a port beyond 65535", h2Fields(":authority", "h:65536"), "400 bad_host"},
		{"two ports", h2Fields(":authority", "h:1:2"), "400 bad_host"},
		{"an unclosed bracket", h2Fields(":authority", "[::1"), "400 bad_host"},
		{"an IPv6 zone", h2Fields(":authority", "[fe80::1%25eth0]"), "400 bad_host"},
		{"a Host that says other", h2Fields("host", "i"), "400 duplicate_host"},
		{"two Hosts", h2Fields("host", "h", "host", "h"), "400 duplicate_host"},

		{"a length that is no number", h2Fields("content-length", "+0"), "400 bad_content_length"},
		{"a length without a body", h2Fields("content-length", "4"), "400 bad_content_length"},
		{"two lengths", h2Fields("content-length", "0", "content-length", "0"), "400 duplicate_content_length"},
		{"an unknown expectation", h2Fields("expect", "more"), "417 unknown_expectation"},
		{"Trailer: Host", h2Fields("trailer", "X-A, host"), "400 bad_trailer_announced"},

		{"one field beyond the limit", h2Fields("cookie", strings.Repeat("x", 64*kib)), "431 head_too_large"},
		{"one field far beyond the limit", h2Fields("cookie", strings.Repeat("x", 200*kib)), "431 head_too_large"},
		{"many fields beyond the limit", h2Fields(slices.Repeat([]string{"x-a", strings.Repeat("x", kib)}, 64)...), "431 head_too_large"},
		{"a head that the limit allows", h2Fields(slices.Repeat([]string{"x-a", strings.Repeat("x", kib)}, 62)...), "200"},

		{"Transfer-Encoding", h2Fields("transfer-encoding", "chunked"), "400"},
		{"Connection", h2Fields("connection", "close"), "400"},
		{"Upgrade", h2Fields("upgrade", "h2c"), "400"},
	}
	clear := plain(t)
	secure, roots := overTLS(t)
	for over, n := range map[string]*node{"by prior knowledge": clear, "over TLS": secure} {
		n.listener(&signalboxv1.Listener{ErrorDetails: true})
		n.route("/", web(t, func(w http.ResponseWriter, r *http.Request) {
			if proto := r.Header.Get("X-Forwarded-Proto"); (proto == "https") != (n == secure) {
				w.WriteHeader(http.StatusTeapot) // the client's :scheme was believed
			}
		}))
		for _, tt := range table {
			t.Run(tt.name+" "+over, func(t *testing.T) {
				c := n.dial()
				if n == secure {
					c = newClient(t, tls.Client(c, &tls.Config{RootCAs: roots, ServerName: "localhost", NextProtos: []string{"h2"}}))
				}
				if got := rawH2(t, c, tt.fields...); got != tt.want {
					t.Errorf("got %s, want %s", got, tt.want)
				}
			})
		}
		if got := n.counters("r").Counters; got.NodeFailures != 0 || got.Statuses[4] != 0 {
			t.Errorf("%s, %d are counted as the node's failures, %d answered with 5xx", over, got.NodeFailures, got.Statuses[4])
		}
		if strings.Contains(n.log.String(), "level=WARN") {
			t.Errorf("%s, a client's fault is a warning: %s", over, n.log)
		}
	}
}

func TestFailuresOfGRPCCallsAreInItsOwnTerms(t *testing.T) {
	n := plain(t)
	n.route("/down", "h2c://127.0.0.1:1")
	n.route("/half", strings.Replace(web(t, func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "application/grpc")
		_, _ = w.Write(make([]byte, 5))
		w.(http.Flusher).Flush()
		panic(http.ErrAbortHandler)
	}), "http:", "h2c:", 1))
	c := browser(t, nil, h2c)
	for path, want := range map[string]string{"/down/Call": "14", "/none/Call": "12", "/half/Call": "14"} {
		var msg [5]byte
		binary.BigEndian.PutUint32(msg[1:], 0)
		req, _ := http.NewRequestWithContext(t.Context(), "POST", "http://"+n.addr+path, bytes.NewReader(msg[:]))
		req.Header.Set("Content-Type", "application/grpc+proto")
		res, err := c.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		body, _ := io.ReadAll(res.Body)
		_ = res.Body.Close()
		said := res.Header
		if path == "/half/Call" { // its answer had begun
			said, body = res.Trailer, body[5:]
		}
		if res.StatusCode != 200 || said.Get("Grpc-Status") != want || said.Get("Grpc-Message") == "" || len(body) != 0 {
			t.Errorf("%s: %d %v %q", path, res.StatusCode, said, body)
		}
	}
}
