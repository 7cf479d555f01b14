package listen_test

import (
	"errors"
	"io"
	"net"
	"os"
	"testing"
	"testing/synctest"
	"time"

	"signalbox/node/listen"
)

// one is a listener of one connection.
type one struct {
	net.Listener
	conn net.Conn
}

func (o one) Accept() (net.Conn, error) { return o.conn, nil }

// checkedPipe is a checked connection in memory, and its client.
func checkedPipe(t *testing.T, cfg listen.Config) (server, client net.Conn) {
	a, b := net.Pipe()
	c, err := listen.New(one{conn: a}, cfg).Accept()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _, _ = c.Close(), b.Close() })
	return c, b
}

func TestDeadlines(t *testing.T) {
	const half = "GET / HTTP/1.1\r\nHo"
	buf := make([]byte, 4096)
	cfg := listen.Config{HeadTimeout: 5 * time.Second}
	read := func(t *testing.T, c net.Conn, size int, want time.Duration) {
		t.Helper()
		start := time.Now()
		n, err := c.Read(buf[:size])
		if n != 0 || !errors.Is(err, os.ErrDeadlineExceeded) || time.Since(start) != want {
			t.Errorf("Read: %d, %v after %v; want a timeout after %v", n, err, time.Since(start), want)
		}
	}
	t.Run("a head that has begun must end in time", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			for _, size := range []int{4096, 14} {
				c, peer := checkedPipe(t, cfg)
				go func() { _, _ = io.WriteString(peer, half) }()
				read(t, c, size, 5*time.Second)
			}
		})
	})
	t.Run("an earlier deadline of the user holds", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			c, peer := checkedPipe(t, cfg)
			go func() { _, _ = io.WriteString(peer, half) }()
			if err := c.SetReadDeadline(time.Now().Add(time.Second)); err != nil {
				t.Fatal(err)
			}
			read(t, c, 4096, time.Second)
			if err := c.SetDeadline(time.Time{}); err != nil {
				t.Fatal(err)
			}
			read(t, c, 4096, 4*time.Second)
		})
	})
	t.Run("a pipelined head may wait while a handler runs, then must end in time", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			c, peer := checkedPipe(t, cfg)
			go func() { _, _ = io.WriteString(peer, half) }()
			_ = c.SetReadDeadline(time.Now().Add(time.Minute))
			read(t, c, 1, time.Minute)
			_ = c.SetReadDeadline(time.Time{})
			read(t, c, 4096, 5*time.Second)
		})
	})
	t.Run("the next head and a slow body have their own time", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			c, peer := checkedPipe(t, cfg)
			head := lines("POST / HTTP/1.1", "Host: a", "Transfer-Encoding: chunked")
			written := make(chan struct{})
			defer func() { <-written }()
			go func() {
				defer close(written)
				for _, part := range []struct {
					text  string
					pause time.Duration
				}{
					{head[:9], 4}, {head[9:], 60}, {"5", 60}, {"\r\nhello\r\n", 60}, {"0\r", 60}, {"\n\r\n" + half[:1], 4}, {half[1:], 4},
				} {
					_, _ = io.WriteString(peer, part.text)
					time.Sleep(part.pause * time.Second) //nolint:forbidigo // simulated
				}
			}()
			want := head + "5\r\nhello\r\n0\r\n\r\n"
			var got []byte
			for len(got) < len(want) {
				n, err := c.Read(buf)
				if err != nil {
					t.Fatalf("after %q: %v", got, err)
				}
				got = append(got, buf[:n]...)
			}
			if string(got) != want {
				t.Errorf("got %q, want %q", got, want)
			}
			read(t, c, 4096, 5*time.Second)
		})
	})
	t.Run("bytes held back outlive a timeout", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			c, peer := checkedPipe(t, cfg)
			go func() { _, _ = io.WriteString(peer, get("/")[:20]) }()
			_ = c.SetReadDeadline(time.Now().Add(time.Second))
			read(t, c, 4096, time.Second)
			_ = c.SetReadDeadline(time.Time{})
			go func() { _, _ = io.WriteString(peer, get("/")[20:]) }()
			if n, err := c.Read(buf); err != nil || string(buf[:n]) != get("/") {
				t.Errorf("got %q, %v; want the whole head", buf[:n], err)
			}
		})
	})
}

// counted counts how often it is told of a deadline.
type counted struct {
	net.Conn
	told int
}

func (c *counted) SetReadDeadline(t time.Time) error {
	c.told++
	return c.Conn.SetReadDeadline(t)
}

func TestADeadlineIsSetForReadsOnly(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a, peer := net.Pipe()
		inner := &counted{Conn: a}
		c, err := listen.New(one{conn: inner}, listen.Config{}).Accept()
		if err != nil {
			t.Fatal(err)
		}
		defer func() { _, _ = c.Close(), peer.Close() }()
		soon := time.Now().Add(time.Second)
		for range 3 { // as net/http does between two requests
			_ = c.SetReadDeadline(time.Now().Add(time.Hour))
			_ = c.SetReadDeadline(time.Time{})
			_ = c.SetReadDeadline(soon)
		}
		if inner.told != 0 {
			t.Errorf("while nothing was read it was told %d times", inner.told)
		}
		buf := make([]byte, 4096)
		if _, err := c.Read(buf); !errors.Is(err, os.ErrDeadlineExceeded) || time.Now() != soon {
			t.Errorf("the Read ended after the wrong time: %v", err)
		}
		_ = c.SetReadDeadline(time.Time{})
		ended := make(chan error)
		go func() {
			_, err := c.Read(buf[:1])
			ended <- err
		}()
		synctest.Wait()
		_ = c.SetReadDeadline(time.Unix(1, 0)) // which ends a Read that is going on
		if err := <-ended; !errors.Is(err, os.ErrDeadlineExceeded) {
			t.Errorf("the Read ended with %v", err)
		}
		if inner.told != 3 {
			t.Errorf("it was told %d times, want 3", inner.told)
		}
		_ = c.SetReadDeadline(time.Time{})
		raw, _ := listen.Unwrap(c)
		go func() { _, _ = io.WriteString(peer, "x") }()
		if n, err := raw.Read(buf); n != 1 || err != nil {
			t.Errorf("what was unwrapped has the old deadline: %v", err)
		}
	})
}
