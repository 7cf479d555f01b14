package main

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"strings"

	"github.com/spf13/pflag"

	keeping "signalbox/store"
	"signalbox/store/etcd"
	"signalbox/store/etcd/embedded"
	"signalbox/store/mem"
)

// A store is what a control plane keeps things in.
type store struct {
	keeper interface {
		keeping.Records
		keeping.Notes
	}
	backups keeping.Backups // nil where there is nothing to copy
	// failed says, once, that an etcd in this process has ended by itself. It
	// is nil for an etcd elsewhere, which may come back, and for memory.
	failed <-chan error
	// secure is how an etcd elsewhere is reached; nil in the clear.
	secure *tls.Config
	close  func()
}

// etcdFlags are how an etcd elsewhere is reached.
type etcdFlags struct {
	endpoints              []string
	tls                    clientTLS
	user, password, prefix string
}

func (e *etcdFlags) add(f *pflag.FlagSet) {
	e.addWay(f, "client URL of an etcd member; several may be given. Without it, an etcd is run in this process, with --data-dir")
	f.StringVar(&e.prefix, "etcd-prefix", "", "put before every key, so that several clusters can share an etcd")
}

// addWay is add for those who do not ask for what is kept there.
func (e *etcdFlags) addWay(f *pflag.FlagSet, usage string, endpoints ...string) {
	f.StringSliceVar(&e.endpoints, "etcd", endpoints, usage)
	e.tls.add(f, "etcd-", "etcd")
	f.StringVar(&e.user, "etcd-user", "", "user to log in to etcd as")
	f.StringVar(&e.password, "etcd-password", "", "its password; better given as SIGNALBOX_ETCD_PASSWORD")
}

// checkEndpoints refuses what is no URL of an etcd member: it would be tried
// for ever.
func checkEndpoints(endpoints []string) error {
	for _, e := range endpoints {
		at := e
		for _, scheme := range []string{"http://", "https://"} {
			at = strings.TrimSuffix(strings.TrimPrefix(at, scheme), "/")
		}
		host, port, err := net.SplitHostPort(at)
		if err == nil {
			_, err = net.LookupPort("tcp", port)
		}
		if err != nil || host == "" || strings.ContainsAny(host, "/@?# ") {
			return &usageError{fmt.Errorf("--etcd %q must be http://HOST:PORT, https://HOST:PORT or HOST:PORT, as http://127.0.0.1:2379", e)}
		}
	}
	return nil
}

func (e *etcdFlags) open(log *slog.Logger) (*store, error) {
	if err := checkEndpoints(e.endpoints); err != nil {
		return nil, err
	}
	secure, err := e.tls.config()
	if err != nil {
		return nil, err
	}
	keeper, err := etcd.Open(etcd.Config{Endpoints: e.endpoints, TLS: secure, Username: e.user, Password: e.password, Prefix: e.prefix, Logger: log})
	if err != nil {
		return nil, err
	}
	return &store{keeper: keeper, backups: keeper, secure: secure, close: func() { _ = keeper.Close() }}, nil
}

// memoryHistory is how many changes are remembered for followers, which are all
// in this process: each may be of a route with much data.
const memoryHistory = 500

// openMemory keeps everything in this process's memory, and so nothing.
func openMemory() *store {
	return &store{keeper: mem.Config{History: memoryHistory}.New(), close: func() {}}
}

// openEmbedded starts an etcd member in this process, alone.
func openEmbedded(ctx context.Context, dir string, log *slog.Logger) (*store, error) {
	member, err := embedded.Start(ctx, embedded.Config{DataDir: dir, Logger: log})
	if err != nil {
		return nil, err
	}
	keeper, err := member.Keeper(etcd.Config{Logger: log})
	if err != nil {
		member.Close()
		return nil, err
	}
	return &store{keeper: keeper, backups: keeper, failed: member.Failed(), close: func() {
		_ = keeper.Close()
		member.Close()
	}}, nil
}

// openStore opens the store that the flags name.
func openStore(ctx context.Context, e *etcdFlags, data string, log *slog.Logger) (*store, error) {
	switch {
	case len(e.endpoints) > 0 && data != "":
		return nil, &usageError{errors.New("--etcd and --data-dir are alternatives")}
	case len(e.endpoints) > 0:
		return e.open(log)
	case data == "":
		return nil, &usageError{errors.New("give an etcd by --etcd, or a directory for one in this process by --data-dir")}
	}
	return openEmbedded(ctx, data, log)
}
