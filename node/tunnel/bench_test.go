package tunnel_test

import (
	"fmt"
	"io"
	"net"
	"testing"
	"time"

	"signalbox/node/tunnel"
)

// sink is a target that throws away what comes, and tells when it ended.
func sink(b *testing.B) (address string, read chan int64) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		b.Fatal(err)
	}
	read = make(chan int64)
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			go func() {
				n, _ := io.CopyBuffer(struct{ io.Writer }{io.Discard}, struct{ io.Reader }{c}, make([]byte, 256<<10))
				_ = c.Close()
				read <- n
			}()
		}
	}()
	b.Cleanup(func() { _ = l.Close() })
	return l.Addr().String(), read
}

// BenchmarkSingleEnd is one user's upload over a client without a server.
func BenchmarkSingleEnd(b *testing.B) {
	for _, parameters := range []string{"", "rate=1000000"} {
		b.Run(fmt.Sprintf("parameters=%q", parameters), func(b *testing.B) {
			to, read := sink(b)
			l, err := net.Listen("tcp", "127.0.0.1:0")
			if err != nil {
				b.Fatal(err)
			}
			users := l.Addr().String()
			_ = l.Close()
			s := tunnel.New(tunnel.Config{})
			go func() { _ = s.Run(b.Context()) }()
			s.Apply([]tunnel.Wanted{{Name: "one", URL: "client://" + users + "/" + to + "?noudp=1&mode=1&" + parameters}})
			var c net.Conn
			for range 1000 {
				if c, err = net.Dial("tcp", users); err == nil {
					break
				}
				<-time.After(time.Millisecond)
			}
			chunk := make([]byte, 256<<10)
			b.SetBytes(int64(len(chunk)))
			for b.Loop() {
				if _, err := c.Write(chunk); err != nil {
					b.Fatal(err)
				}
			}
			_ = c.Close()
			<-read
		})
	}
}
