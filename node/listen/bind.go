package listen

import (
	"errors"
	"fmt"
	"io/fs"
	"net"
	"os"
	"strings"
	"syscall"
	"time"
)

// UnixPrefix is how the address of a unix socket begins, before its path.
const UnixPrefix = "unix:"

// Bind listens at an address: HOST:PORT, or unix:PATH for a unix socket, whose
// file is removed when the listener is closed. A file that an ended process
// left there is replaced; a socket on which somebody listens is not.
func Bind(addr string) (net.Listener, error) {
	path, unix := strings.CutPrefix(addr, UnixPrefix)
	if !unix {
		return net.Listen("tcp", addr)
	}
	if path == "" {
		return nil, errors.New("unix: needs the path of a socket after it")
	}
	ln, err := net.Listen("unix", path)
	if !errors.Is(err, syscall.EADDRINUSE) {
		return ln, err
	}
	if err := removeStale(path); err != nil {
		return nil, err
	}
	return net.Listen("unix", path)
}

// removeStale removes the file of a socket on which nobody listens.
func removeStale(path string) error {
	info, err := os.Lstat(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	if info.Mode().Type() != fs.ModeSocket {
		return fmt.Errorf("listen unix %s: there is a file of this name, and it is no socket", path)
	}
	c, err := net.DialTimeout("unix", path, time.Second)
	if err == nil {
		_ = c.Close()
		return &net.OpError{Op: "listen", Net: "unix", Err: os.NewSyscallError("bind", syscall.EADDRINUSE)}
	}
	return os.Remove(path)
}
