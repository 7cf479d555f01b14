package carry_test

import (
	"bytes"
	"errors"
	"io"
	"net"
	"testing"

	"signalbox/node/tunnel/carry"
)

// sockets returns two UDP sockets that are connected to each other.
func sockets(t *testing.T) (a, b *net.UDPConn) {
	t.Helper()
	hold, err := net.ListenUDP("udp", &net.UDPAddr{IP: net.IPv4(127, 0, 0, 1)})
	if err != nil {
		t.Fatal(err)
	}
	first := hold.LocalAddr().(*net.UDPAddr)
	b, err = net.DialUDP("udp", nil, first)
	if err != nil {
		t.Fatal(err)
	}
	_ = hold.Close()
	a, err = net.DialUDP("udp", first, b.LocalAddr().(*net.UDPAddr))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = a.Close()
		_ = b.Close()
	})
	return a, b
}

// A queue is a side in memory that ends when it is closed.
type queue struct {
	in, out chan []byte
	closed  chan struct{}
}

func (q *queue) Read(p []byte) (int, error) {
	select {
	case d := <-q.in:
		return copy(p, d), nil
	case <-q.closed:
		return 0, io.EOF
	}
}

func (q *queue) Write(p []byte) (int, error) {
	q.out <- bytes.Clone(p)
	return len(p), nil
}

func (q *queue) Close() error {
	select {
	case <-q.closed:
	default:
		close(q.closed)
	}
	return nil
}

func TestDatagramsKeepTheirBoundsAndRepliesTheirNumber(t *testing.T) {
	user := &queue{make(chan []byte), make(chan []byte, 10), make(chan struct{})}
	near, target := sockets(t)
	done := make(chan error)
	counted := make(chan int, 100)
	go func() {
		done <- (&carry.Carrier{}).UDP(bounded(t), near, user, func(n int) { counted <- n }, func(n int) { counted <- n },
			func(err error) { t.Error(err) })
	}()
	long := bytes.Repeat([]byte("x"), 60_000)
	for _, d := range [][]byte{[]byte("a1"), {}, long} {
		user.in <- d
		buf := make([]byte, 70_000)
		n, err := target.Read(buf)
		if err != nil || !bytes.Equal(buf[:n], d) {
			t.Fatalf("%d bytes of %d, %v", n, len(d), err)
		}
		if n := <-counted; n != len(d) {
			t.Errorf("counted %d of %d", n, len(d))
		}
	}
	for _, d := range []string{"b22", "c333", string(long)} {
		if _, err := target.Write([]byte(d)); err != nil {
			t.Fatal(err)
		}
		if got := <-user.out; string(got) != d {
			t.Errorf("%d bytes of %d", len(got), len(d))
		}
	}
	_ = user.Close()
	if err := <-done; err != nil {
		t.Errorf("ended with %v", err)
	}
}

func TestATargetThatIsDownLosesDatagramsAndNotTheSession(t *testing.T) {
	user := &queue{make(chan []byte), make(chan []byte, 10), make(chan struct{})}
	near, target := sockets(t)
	address := target.LocalAddr().(*net.UDPAddr)
	_ = target.Close()
	done, dropped := make(chan error), make(chan error, 10)
	go func() {
		done <- (&carry.Carrier{}).UDP(bounded(t), near, user, func(int) {}, func(int) {}, func(err error) { dropped <- err })
	}()
	user.in <- []byte("lost")
	if err := <-dropped; err == nil {
		t.Error("no reason")
	}
	again, err := net.DialUDP("udp", address, near.LocalAddr().(*net.UDPAddr))
	if err != nil {
		t.Fatal(err)
	}
	defer again.Close()
	user.in <- []byte("found")
	if n, err := again.Read(make([]byte, 10)); n != 5 || err != nil {
		t.Errorf("%d bytes, %v", n, err)
	}
	_ = near.Close()
	if err := <-done; !errors.Is(err, net.ErrClosed) {
		t.Errorf("ended with %v", err)
	}
}
