package listen

import (
	"errors"
	"net"
	"os"
	"path/filepath"
	"syscall"
	"testing"
)

func TestAUnixSocketIsBound(t *testing.T) {
	path := filepath.Join(t.TempDir(), "s")
	ln, err := Bind(UnixPrefix + path)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := Bind(UnixPrefix + path); !errors.Is(err, syscall.EADDRINUSE) {
		t.Errorf("somebody listens there: %v", err)
	}
	_ = ln.Close()
	if _, err := os.Lstat(path); err == nil {
		t.Error("its file is left behind")
	}
}

func TestAFileThatIsLeftBehindIsReplaced(t *testing.T) {
	path := filepath.Join(t.TempDir(), "s")
	old, err := net.Listen("unix", path)
	if err != nil {
		t.Fatal(err)
	}
	old.(*net.UnixListener).SetUnlinkOnClose(false)
	_ = old.Close()
	ln, err := Bind(UnixPrefix + path)
	if err != nil {
		t.Fatal(err)
	}
	_ = ln.Close()
}

func TestAnythingElseIsNotReplaced(t *testing.T) {
	path := filepath.Join(t.TempDir(), "s")
	if err := os.WriteFile(path, []byte("mine"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := Bind(UnixPrefix + path); err == nil {
		t.Error("a file is replaced by a socket")
	}
	if text, _ := os.ReadFile(path); string(text) != "mine" {
		t.Error("the file is gone")
	}
}
