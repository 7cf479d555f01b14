package wire14

import (
	"bufio"
	"bytes"
	"crypto/sha256"
	"crypto/tls"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"signalbox/proto/tunnelurl"
)

// bearer is the token of the key "secret", as it was captured.
const bearer = "f9e66e179b6747ae54108f82f8ade8b3c25d76fd30afde6c395822c530196169"

// A foreign is NodePass 1.14.0 as it was observed, at either end, and knows
// nothing of this package: the key is "secret".
type foreign struct {
	t       *testing.T
	code    tunnelurl.TLS
	own     tls.Certificate // of a server
	control net.Conn
	pongs   chan struct{} // one for each pong
	proven  chan struct{} // closed when our end has compared certificates
	running sync.WaitGroup
	writing sync.Mutex

	mu    sync.Mutex
	byID  map[string]net.Conn
	added chan struct{} // closed, and replaced, when there are more
	all   []net.Conn
	idle  chan string // ids in the order in which they came
}

func newForeign(t *testing.T, code tunnelurl.TLS) *foreign {
	f := &foreign{
		t: t, code: code, pongs: make(chan struct{}, 100), proven: make(chan struct{}),
		byID: map[string]net.Conn{}, added: make(chan struct{}), idle: make(chan string, 1000),
	}
	t.Cleanup(f.close)
	return f
}

func (f *foreign) close() {
	f.mu.Lock()
	for _, c := range f.all {
		_ = c.Close()
	}
	f.mu.Unlock()
	f.running.Wait()
}

// keep remembers a connection, to close it.
func (f *foreign) keep(c net.Conn) net.Conn {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.all = append(f.all, c)
	return c
}

// await takes a connection out by its id, and waits for one that has it: this
// end may hear of a connection's use before it has read its id.
func (f *foreign) await(id string) net.Conn {
	ended := time.After(5 * time.Second)
	for {
		f.mu.Lock()
		c, added := f.byID[id], f.added
		delete(f.byID, id)
		f.mu.Unlock()
		if c != nil {
			return c
		}
		select {
		case <-added:
		case <-ended:
			return nil
		}
	}
}

// take takes a connection out by its id, nil if it is not there.
func (f *foreign) take(id string) net.Conn {
	f.mu.Lock()
	defer f.mu.Unlock()
	c := f.byID[id]
	delete(f.byID, id)
	return c
}

// secret combines bytes with the key.
func secret(b []byte) []byte {
	for i := range b {
		b[i] ^= "secret"[i%6]
	}
	return b
}

// say sends a signal.
func (f *foreign) say(text string) {
	f.writing.Lock()
	defer f.writing.Unlock()
	if _, err := io.WriteString(f.control, base64Of(text)+"\n"); err != nil {
		f.t.Log("say:", err)
	}
}

// add takes a connection that has an id. The first one is the control connection.
func (f *foreign) add(c net.Conn, id []byte) {
	if text := hex.EncodeToString(id); text != "00000000" {
		f.mu.Lock()
		f.byID[text] = c
		close(f.added)
		f.added = make(chan struct{})
		f.mu.Unlock()
		f.idle <- text
		return
	}
	if f.control != nil {
		f.t.Error("a second control connection")
		return
	}
	f.control = c
	f.running.Go(f.hear)
	f.say(`{"action":"ping"}`)
}

// hear does what our signals ask for.
func (f *foreign) hear() {
	lines := bufio.NewReader(f.control)
	for {
		line, err := lines.ReadString('\n')
		if err != nil {
			return
		}
		text, err := base64.StdEncoding.DecodeString(strings.TrimSuffix(line, "\n"))
		if err != nil {
			f.t.Errorf("a line %q", line)
			return
		}
		var s struct{ Action, Remote, ID, FP string }
		if err := json.Unmarshal(secret(text), &s); err != nil {
			f.t.Errorf("a signal %q", text)
			return
		}
		switch s.Action {
		case "ping":
			f.say(`{"action":"pong"}`)
		case "pong":
			f.pongs <- struct{}{}
		case "verify":
			f.compare(s.ID, s.FP)
		case "tcp", "udp":
			c := f.await(s.ID)
			if c == nil || s.Remote != user {
				f.t.Errorf("a signal %s", text)
				continue
			}
			f.running.Go(func() { target(c, s.Action) })
		}
	}
}

// compare checks the certificate that our end says a connection has.
func (f *foreign) compare(id, print string) {
	c := f.await(id)
	if c == nil {
		f.t.Errorf("verify: stream not found: %s", id)
		return
	}
	if want := f.print(c); print != want {
		f.t.Errorf("fingerprint %s, want %s", print, want)
	}
	_ = c.Close()
	close(f.proven)
}

// print is the certificate that this end knows of a connection.
func (f *foreign) print(c net.Conn) string {
	der := f.own.Certificate
	if der == nil {
		der = [][]byte{c.(*tls.Conn).ConnectionState().PeerCertificates[0].Raw}
	}
	var text []string
	for _, b := range sha256.Sum256(der[0]) {
		text = append(text, fmt.Sprintf("%02X", b))
	}
	return "sha256:" + strings.Join(text, ":")
}

// prove says which certificate a connection has, and closes that. It does so
// only some seconds after the beginning, so our end has done it before.
func (f *foreign) prove() {
	if f.code == tunnelurl.Plain {
		return
	}
	<-f.proven
	id, c := f.free()
	f.say(`{"action":"verify","id":"` + id + `","fp":"` + f.print(c) + `"}`)
	_ = c.Close()
}

// free takes out the oldest connection that waits.
func (f *foreign) free() (string, net.Conn) {
	for {
		id := <-f.idle
		if c := f.take(id); c != nil {
			return id, c
		}
	}
}

// target serves one connection, as exit does.
func target(c net.Conn, kind string) {
	defer func() { _ = c.Close() }()
	if kind == "tcp" {
		_, _ = io.Copy(c, c)
		_ = c.(interface{ CloseWrite() error }).CloseWrite()
		_, _ = io.Copy(io.Discard, c)
		return
	}
	buf := make([]byte, 16384)
	for {
		n, err := c.Read(buf)
		if err != nil {
			return
		}
		_, _ = c.Write(bytes.ToUpper(buf[:n]))
	}
}

// entry asks the other end's target, once our end has compared certificates.
func (f *foreign) entry() {
	f.t.Helper()
	if f.code != tunnelurl.Plain {
		<-f.proven
	}
	for _, size := range []int{0, 1, 9, 200_000} {
		askTCP(f.t, f.use("tcp").(conn), size)
	}
	udp := f.use("udp")
	for _, size := range sizes {
		askUDP(f.t, udp, size)
	}
}

// use takes a pool connection and says what for.
func (f *foreign) use(action string) net.Conn {
	id, c := f.free()
	f.say(`{"action":"` + action + `","remote":"` + user + `","id":"` + id + `"}`)
	return c
}

// flow is how an end that receives users is said.
func flow(receives tunnelurl.Role) string {
	if receives == tunnelurl.Client {
		return "+"
	}
	return "-"
}

// foreignServer is one whose first client is us.
func foreignServer(t *testing.T, ln net.Listener, receives tunnelurl.Role, code tunnelurl.TLS) *foreign {
	t.Helper()
	asked, err := ln.Accept()
	if err != nil {
		t.Error(err)
		return nil
	}
	f := newForeign(t, code)
	f.own, _ = certificate(t)
	want := "GET / HTTP/1.1\r\nHost: none\r\nUser-Agent: Go-http-client/1.1\r\nAuthorization: Bearer " + bearer + "\r\nAccept-Encoding: gzip\r\n\r\n"
	got := make([]byte, len(want))
	if _, err := io.ReadFull(asked, got); err != nil || string(got) != want {
		t.Errorf("asked %q, %v", got, err)
	}
	body := fmt.Sprintf(`{"flow":"%s","max":8,"tls":"%d","type":"0"}`+"\n", flow(receives), code)
	_, _ = fmt.Fprintf(asked, "HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Type: application/json\r\nContent-Length: 42\r\n\r\n%s", body)
	_ = asked.Close()
	t.Cleanup(func() { _ = ln.Close() })
	started := make(chan struct{})
	f.running.Go(func() { f.accept(ln, started) })
	<-started
	return f
}

// accept takes pool connections, one after the other. started is closed with the
// first.
func (f *foreign) accept(ln net.Listener, started chan struct{}) {
	for i := 0; ; i++ {
		c, err := ln.Accept()
		if err != nil {
			return
		}
		f.keep(c)
		if f.code != tunnelurl.Plain {
			c = tls.Server(c, &tls.Config{Certificates: []tls.Certificate{f.own}, MinVersion: tls.VersionTLS13})
		}
		id := []byte{0, 0, byte(i >> 8), byte(i)}
		if _, err := c.Write(id); err != nil {
			return
		}
		f.add(c, id)
		if i == 0 {
			close(started)
		}
	}
}

// foreignClient is one of ours that keeps n pool connections at the beginning.
func foreignClient(t *testing.T, addr string, receives tunnelurl.Role, code tunnelurl.TLS, n int) *foreign {
	t.Helper()
	f := foreignHandshake(t, addr, receives, code)
	for range n + 1 {
		f.open(addr)
	}
	return f
}

// foreignHandshake is a client without connections.
func foreignHandshake(t *testing.T, addr string, receives tunnelurl.Role, code tunnelurl.TLS) *foreign {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, "http://"+addr+"/", nil)
	if err != nil {
		t.Fatal(err)
	}
	req.Host = "none"
	req.Header.Set("Authorization", "Bearer "+bearer)
	transport := &http.Transport{}
	defer transport.CloseIdleConnections()
	res, err := transport.RoundTrip(req)
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	body, err := io.ReadAll(res.Body)
	want := fmt.Sprintf(`{"flow":"%s","max":16,"tls":"%d","type":"0"}`+"\n", flow(receives), code)
	if err != nil || res.StatusCode != 200 || string(body) != want || res.Header.Get("Content-Type") != "application/json" {
		t.Fatalf("the server answered %s %q, %v", res.Status, body, err)
	}
	return newForeign(t, code)
}

// open makes one connection, and returns its id.
func (f *foreign) open(addr string) string {
	f.t.Helper()
	c, err := net.Dial("tcp", addr)
	if err != nil {
		f.t.Fatal(err)
	}
	f.keep(c)
	if f.code != tunnelurl.Plain {
		c = tls.Client(c, &tls.Config{InsecureSkipVerify: true, MinVersion: tls.VersionTLS13})
	}
	id := make([]byte, 4)
	if n, err := c.Read(id); err != nil || n != 4 { // a single read has to do
		f.t.Fatalf("an id % x, %v", id[:n], err)
	}
	f.add(c, id)
	return hex.EncodeToString(id)
}

// base64Of is a signal's text as a line, without its end.
func base64Of(text string) string { return base64.StdEncoding.EncodeToString(secret([]byte(text))) }
