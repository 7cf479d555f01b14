package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"os"
	"strconv"
	"time"
)

// lookUpTime bounds how long a start waits for DNS.
const lookUpTime = 2 * time.Second

// checkAdvertise refuses an address at which nobody could be reached.
func checkAdvertise(addr string) error {
	if addr == "" {
		return nil
	}
	host, port, err := net.SplitHostPort(addr)
	if n, perr := strconv.ParseUint(port, 10, 16); err != nil || perr != nil || n == 0 || host == "" || net.ParseIP(host).IsUnspecified() {
		return &usageError{fmt.Errorf("--advertise %q must be HOST:PORT at which nodes reach this control plane, as cp1.example.org:8002", addr)}
	}
	return nil
}

// advertised is where nodes are told to find this control plane: where
// --advertise says, or else at the address that is listened at. One that
// stands for all addresses of the machine is no place to go to; then it is
// the machine's name, if that is known to the resolver. It is empty when
// there is no such place.
func (p *planeFlags) advertised(ctx context.Context, port int, log *slog.Logger) string {
	addr := p.advertise
	if host, _, _ := net.SplitHostPort(p.grpc); addr == "" && host != "" && !net.ParseIP(host).IsUnspecified() {
		addr = net.JoinHostPort(host, strconv.Itoa(port))
	}
	if addr == "" {
		name, err := knownName(ctx, os.Hostname, net.DefaultResolver.LookupHost)
		if err != nil {
			log.Warn("nodes are not told where this control plane is: give --advertise HOST:PORT", "addr", p.grpc, "err", err)
			return ""
		}
		addr = net.JoinHostPort(name, strconv.Itoa(port))
	}
	log.Info("nodes are told to find this control plane at this address; --advertise names another", "addr", addr)
	return addr
}

// knownName is the machine's name if lookUp finds it.
func knownName(ctx context.Context, hostname func() (string, error), lookUp func(context.Context, string) ([]string, error)) (string, error) {
	name, err := hostname()
	if err != nil {
		return "", err
	}
	if name == "" || name == "localhost" || name == "(none)" {
		return "", errors.New("the machine has no name of its own")
	}
	ctx, cancel := context.WithTimeout(ctx, lookUpTime)
	defer cancel()
	if _, err := lookUp(ctx, name); err != nil {
		return "", fmt.Errorf("the machine's own name: %w", err)
	}
	return name, nil
}
