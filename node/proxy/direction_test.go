package proxy

import (
	"net"
	"testing"
)

// pair returns both ends of a TCP connection.
func pair(t *testing.T) (one, other net.Conn) {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = ln.Close() }()
	if one, err = net.Dial("tcp", ln.Addr().String()); err != nil {
		t.Fatal(err)
	}
	if other, err = ln.Accept(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _, _ = one.Close(), other.Close() })
	return one, other
}

func TestWhatTheKernelHadNothingToMoveDidNotMove(t *testing.T) {
	t.Parallel()
	client, _ := pair(t)
	up, _ := pair(t)
	s := &stream{client: client, upstream: up}
	d := direction{stream: s, src: client, dst: up, count: func(n int) { t.Errorf("%d bytes are counted", n) }}
	if err := d.splice(); err != nil {
		t.Error(err)
	}
}
