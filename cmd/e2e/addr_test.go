package e2e

import (
	"fmt"
	"net"
	"syscall"
	"testing"
)

// freeAddr is a loopback address that nobody listens on, for a part that keeps
// it when it is started again. The system gives its port to nobody else until
// the test ends: a socket is bound to it that does not listen, which forbids only
// those without SO_REUSEADDR to; listeners of Go have it.
func freeAddr(t testing.TB) string {
	t.Helper()
	for range 100 {
		addr, hold, err := bound()
		if err != nil {
			t.Fatalf("reserve a port: %v", err)
		}
		// Where a bound port cannot be listened on, it is at least one that was
		// free a moment ago.
		ln, err := net.Listen("tcp", addr)
		if err != nil {
			hold()
			continue
		}
		_ = ln.Close()
		t.Cleanup(hold)
		return addr
	}
	t.Fatal("there is no free port")
	return ""
}

// bound is an address that a socket is bound to until it is let go.
func bound() (addr string, letGo func(), err error) {
	syscall.ForkLock.RLock()
	fd, err := syscall.Socket(syscall.AF_INET, syscall.SOCK_STREAM, 0)
	if err == nil {
		syscall.CloseOnExec(fd)
	}
	syscall.ForkLock.RUnlock()
	if err != nil {
		return "", nil, err
	}
	letGo = func() { _ = syscall.Close(fd) }
	err = syscall.SetsockoptInt(fd, syscall.SOL_SOCKET, syscall.SO_REUSEADDR, 1)
	if err == nil {
		err = syscall.Bind(fd, &syscall.SockaddrInet4{Addr: [4]byte{127, 0, 0, 1}})
	}
	if err == nil {
		addr, err = boundTo(fd)
	}
	if err != nil {
		letGo()
	}
	return addr, letGo, err
}

// boundTo is the address that a socket is bound to.
func boundTo(fd int) (string, error) {
	name, err := syscall.Getsockname(fd)
	if err != nil {
		return "", err
	}
	at, ok := name.(*syscall.SockaddrInet4)
	if !ok {
		return "", fmt.Errorf("bound to %T", name)
	}
	return fmt.Sprintf("127.0.0.1:%d", at.Port), nil
}
