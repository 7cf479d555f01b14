package main

import (
	"errors"
	"fmt"
	"net"
	"os"
	"strings"
	"syscall"

	"signalbox/node/listen"
)

// checkAddress refuses what is no address to listen at.
func checkAddress(flag, addr string) error {
	if strings.HasPrefix(addr, listen.UnixPrefix) {
		return nil
	}
	_, port, err := net.SplitHostPort(addr)
	if err == nil {
		_, err = net.LookupPort("tcp", port)
	}
	if err != nil {
		return &usageError{fmt.Errorf("--%s %q must be HOST:PORT, or :PORT for every address of this machine, or unix:PATH", flag, addr)}
	}
	return nil
}

// listenTCP is listenAt for addresses that must have a port.
func listenTCP(flag, addr string) (net.Listener, error) {
	if strings.HasPrefix(addr, listen.UnixPrefix) {
		return nil, &usageError{fmt.Errorf("--%s %q must be HOST:PORT, or :PORT for every address of this machine", flag, addr)}
	}
	return listenAt(flag, addr)
}

// listenAt binds an address, and names the flag it came from if it cannot.
func listenAt(flag, addr string) (net.Listener, error) {
	if err := checkAddress(flag, addr); err != nil {
		return nil, err
	}
	ln, err := listen.Bind(addr)
	if err != nil {
		var deepest *os.SyscallError
		if errors.As(err, &deepest) {
			err = deepest.Err
		}
		return nil, fmt.Errorf("--%s %s: %w", flag, addr, bindHint(err))
	}
	return ln, nil
}

// bindHint adds what to do about an address that cannot be bound.
func bindHint(err error) error {
	for errno, hint := range map[syscall.Errno]string{
		syscall.EADDRINUSE:    "end the process that listens there, or choose another address",
		syscall.EACCES:        "ports below 1024 need the capability CAP_NET_BIND_SERVICE",
		syscall.EADDRNOTAVAIL: "choose an address of this machine",
	} {
		if errors.Is(err, errno) {
			return fmt.Errorf("%w: %s", err, hint)
		}
	}
	return err
}
