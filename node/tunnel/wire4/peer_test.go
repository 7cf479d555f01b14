package wire4

import (
	"bufio"
	"bytes"
	"crypto/tls"
	"io"
	"net"
	"sync"
	"testing"

	"signalbox/proto/tunnelurl"
)

// A foreign is NodePass 1.4.4 as it was observed, at either end, and knows
// nothing of this package: the key is "secret", every byte is combined with 6.
type foreign struct {
	t       *testing.T
	control net.Conn
	lines   *bufio.Reader
	running sync.WaitGroup

	mu   sync.Mutex
	byID map[string]net.Conn
	all  []net.Conn
	idle chan string // ids in the order in which they came
}

// six combines every byte with the key's length.
func six(s string) []byte {
	b := []byte(s)
	for i := range b {
		b[i] ^= 6
	}
	return b
}

func newForeign(t *testing.T, control net.Conn) *foreign {
	f := &foreign{
		t: t, control: control, lines: bufio.NewReader(control),
		byID: map[string]net.Conn{}, idle: make(chan string, 1000),
	}
	t.Cleanup(f.close)
	return f
}

func (f *foreign) close() {
	_ = f.control.Close()
	f.mu.Lock()
	for _, c := range f.all {
		_ = c.Close()
	}
	f.mu.Unlock()
	f.running.Wait()
}

// say sends bytes on the control connection.
func (f *foreign) say(b ...byte) {
	if _, err := f.control.Write(b); err != nil {
		f.t.Error(err)
	}
}

// hear reads bytes from the control connection and says what differs.
func (f *foreign) hear(want ...byte) {
	f.t.Helper()
	got := make([]byte, len(want))
	if _, err := io.ReadFull(f.lines, got); err != nil || !bytes.Equal(got, want) {
		f.t.Errorf("on the control connection came % x, %v; want % x", got, err, want)
	}
}

// add remembers a pool connection.
func (f *foreign) add(id string, c net.Conn) {
	f.mu.Lock()
	f.byID[id] = c
	f.all = append(f.all, c)
	f.mu.Unlock()
	f.idle <- id
}

// keep remembers a connection, to close it.
func (f *foreign) keep(c net.Conn) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.all = append(f.all, c)
}

func (f *foreign) get(id string) net.Conn {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.byID[id]
}

// exit does what signals ask for: an echo of TCP, and of UDP, with one read and
// one answer, in capital letters. That end reads the control connection.
func (f *foreign) exit() {
	f.running.Go(func() {
		for {
			line, err := f.lines.ReadBytes('\n')
			if err != nil {
				return
			}
			text := string(six(string(line[:len(line)-1])))
			if text == "" {
				continue
			}
			if len(text) != 12 || text[:2] != "//" {
				f.t.Errorf("a signal %q", text)
				return
			}
			c := f.get(text[2:10])
			if c == nil {
				f.t.Errorf("Get failed: %s", text[2:10])
				continue
			}
			f.running.Go(func() { target(c, text[10:]) })
		}
	})
}

// target serves one connection.
func target(c net.Conn, code string) {
	defer func() { _ = c.Close() }()
	if code == "#1" {
		_, _ = io.Copy(c, c)
		_ = c.(interface{ CloseWrite() error }).CloseWrite()
		_, _ = io.Copy(io.Discard, c)
		return
	}
	buf := make([]byte, 8192)
	n, err := c.Read(buf)
	if err == nil {
		_, _ = c.Write(bytes.ToUpper(buf[:n]))
	}
}

// entry asks the other end's target. That end does not read the control
// connection.
func (f *foreign) entry() {
	f.t.Helper()
	for _, size := range []int{1, 9, 200_000} {
		askTCP(f.t, f.use("#1").(conn), size)
	}
	for _, size := range []int{1, 9, 1023, 1024, 1200, 4096, 8000, 8192} {
		askUDP(f.t, f.use("#2"), size)
	}
}

// use takes the oldest pool connection and says what for.
func (f *foreign) use(code string) net.Conn {
	id := <-f.idle
	f.say(append(six("//"+id+code), '\n')...)
	return f.get(id)
}

// foreignServer is one whose first client is us.
func foreignServer(t *testing.T, ln net.Listener, receives tunnelurl.Role, code tunnelurl.TLS) *foreign {
	t.Helper()
	control, err := ln.Accept()
	if err != nil {
		t.Fatal(err)
	}
	f := newForeign(t, control)
	f.hear(0x75, 0x63, 0x65, 0x74, 0x63, 0x72, 0x0a)
	flow := byte(0x2b)
	if receives == tunnelurl.Client {
		flow = 0x2d
	}
	f.say(0x29, 0x29, flow, 0x25, 0x36^byte(code), 0x0a)
	f.say(0x0a)
	f.hear(0x0a)
	cert, _ := certificate(t)
	f.accept(ln, code, cert)
	return f
}

// accept takes pool connections, one after the other.
func (f *foreign) accept(ln net.Listener, code tunnelurl.TLS, cert tls.Certificate) {
	ids := []string{"21d105dd", "480079d0", "c92af676", "00000000", "ffffffff", "01234567", "89abcdef", "deadbeef", "cafebabe"}
	f.t.Cleanup(func() { _ = ln.Close() })
	f.running.Go(func() {
		for i := 0; ; i++ {
			c, err := ln.Accept()
			if err != nil {
				return
			}
			f.keep(c)
			if code != tunnelurl.Plain {
				c = tls.Server(c, &tls.Config{Certificates: []tls.Certificate{cert}, MinVersion: tls.VersionTLS13})
			}
			// Later ids are the first ones in another order.
			id := []byte(ids[i%len(ids)])
			for range i / len(ids) {
				id = append(id[1:], id[0])
			}
			if _, err := c.Write(id); err != nil {
				return
			}
			f.add(string(id), c)
		}
	})
}

// foreignClient is one of ours that keeps n pool connections at the beginning,
// and opens another for each that is used.
func foreignClient(t *testing.T, addr string, receives tunnelurl.Role, code tunnelurl.TLS, n int) *foreign {
	t.Helper()
	f := foreignHandshake(t, addr, receives, code)
	for range n {
		f.open(addr, code)
	}
	return f
}

// foreignHandshake is a client without pool connections.
func foreignHandshake(t *testing.T, addr string, receives tunnelurl.Role, code tunnelurl.TLS) *foreign {
	t.Helper()
	control, err := net.Dial("tcp", addr)
	if err != nil {
		t.Fatal(err)
	}
	f := newForeign(t, control)
	f.say(0x75, 0x63, 0x65, 0x74, 0x63, 0x72, 0x0a)
	flow := byte(0x2b)
	if receives == tunnelurl.Client {
		flow = 0x2d
	}
	f.hear(0x29, 0x29, flow, 0x25, 0x36^byte(code), 0x0a)
	f.hear(0x0a)
	f.say(0x0a)
	return f
}

// open makes one pool connection.
func (f *foreign) open(addr string, code tunnelurl.TLS) string {
	f.t.Helper()
	c, err := net.Dial("tcp", addr)
	if err != nil {
		f.t.Fatal(err)
	}
	f.keep(c)
	if code != tunnelurl.Plain {
		c = tls.Client(c, &tls.Config{InsecureSkipVerify: true, MinVersion: tls.VersionTLS13})
	}
	id := make([]byte, 8)
	n, err := c.Read(id) // a single read has to do
	if err != nil || n != 8 || len(bytes.Trim(id, "0123456789abcdef")) != 0 {
		f.t.Fatalf("an id %q, %v", id[:n], err)
	}
	f.add(string(id), c)
	return string(id)
}
