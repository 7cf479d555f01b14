package e2e

import (
	"fmt"
	"math/rand/v2"
	"net"
	"sync"
	"testing"
)

// handedOut are the addresses that tests of this process have been given.
var handedOut sync.Map

// freeAddr is a loopback address that nobody listens on, for a part that keeps
// it when it is started again. Its port is below those that systems give to
// outgoing connections, so that none of them takes it meanwhile.
func freeAddr(t testing.TB) string {
	t.Helper()
	for range 1000 {
		addr := fmt.Sprintf("127.0.0.1:%d", 12_000+rand.IntN(20_000))
		if _, taken := handedOut.LoadOrStore(addr, true); taken {
			continue
		}
		ln, err := net.Listen("tcp", addr)
		if err != nil {
			continue
		}
		_ = ln.Close()
		return addr
	}
	t.Fatal("there is no free port")
	return ""
}
