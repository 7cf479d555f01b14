package main

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"encoding/pem"
	"fmt"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"regexp"
	"time"

	"signalbox/bench/program"
)

// A hop is one forwarding process of a peer: it listens at one address and
// connects to another.
type hop struct {
	from, to string
	// fromTLS and toTLS encrypt that side.
	fromTLS, toTLS bool
}

// A peer is a program to compare with.
type peer struct {
	name    string
	command string
	version *regexp.Regexp
	ask     string // flag for the version
	udp     bool   // whether it forwards datagrams
	forks   bool   // whether it has a process for every connection
	// args are the commands of a hop for TCP and, without TLS, for UDP if it
	// does that. cert is a file with a certificate and its key.
	args func(path, dir, cert string, number int, h hop, udp bool) ([]string, error)
}

// peers are all, in the order in which they are shown.
func peers() []peer {
	return []peer{
		{name: haproxyName, command: "haproxy", version: regexp.MustCompile(`version (\S+)`), ask: "-v", args: haproxy},
		{name: socatName, command: "socat", version: regexp.MustCompile(`socat version (\S+)`), ask: "-V", udp: true, forks: true, args: socat},
	}
}

// haproxy: one thread; the kernel copies, as it does for a node, since what
// splice-auto finds out costs half as much again.
func haproxy(path, dir, cert string, number int, h hop, _ bool) ([]string, error) {
	bind, server, splice := h.from, h.to, "option splice-request\n  option splice-response"
	if h.fromTLS || h.toTLS {
		splice = "" // nothing can be spliced, and with splice-auto 2.6 stalls while it tries
	}
	if h.fromTLS {
		bind += " ssl crt " + cert
	}
	if h.toTLS {
		server += " ssl verify none"
	}
	file := filepath.Join(dir, fmt.Sprintf("haproxy-%d.cfg", number))
	return []string{path, "-db", "-f", file}, os.WriteFile(file, []byte(fmt.Sprintf(`
global
  nbthread 1
  maxconn 6000
defaults
  mode tcp
  %s
  timeout connect 5s
  timeout client 1h
  timeout server 1h
frontend in
  bind %s backlog 4096
  default_backend target
backend target
  server target %s
`, splice, bind, server)), 0o600)
}

// socat: a process for every connection or sender of datagrams, with larger
// pieces than it takes by default; for UDP it ends after a second of silence.
func socat(path, _, cert string, _ int, h hop, udp bool) ([]string, error) {
	host, port, err := net.SplitHostPort(h.from)
	if err != nil {
		return nil, err
	}
	const more = ",fork,reuseaddr,backlog=4096"
	from, to := "TCP4-LISTEN:"+port+",bind="+host+more, "TCP4:"+h.to
	switch {
	case udp:
		return []string{path, "-b", "65536", "-lf", "/dev/null", "-T", "1", "UDP4-LISTEN:" + port + ",bind=" + host + ",fork", "UDP4:" + h.to}, nil
	case h.fromTLS:
		from = "OPENSSL-LISTEN:" + port + ",pf=ip4,bind=" + host + more + ",verify=0,cert=" + cert
	case h.toTLS:
		to = "OPENSSL:" + h.to + ",verify=0"
	}
	return []string{path, "-b", "65536", "-lf", "/dev/null", from, to}, nil
}

// startPeer starts a peer in every group, or says why there is none.
func (l *lab) startPeer(ctx context.Context, p peer) error {
	v, err := program.Version(ctx, p.version, p.command, p.ask)
	if err != nil {
		return err
	}
	l.versions += ", " + p.name + " " + v
	for _, group := range groups {
		w, err := l.newWay(ctx, p.name, group)
		if err != nil {
			return err
		}
		if !l.wanted(w) {
			continue
		}
		if err := l.startHops(ctx, w, p); err != nil {
			return err
		}
		l.ways = append(l.ways, w)
	}
	return nil
}

// startHops starts what a peer's way consists of.
func (l *lab) startHops(ctx context.Context, w *way, p peer) error {
	path, err := program.Find(p.command)
	if err != nil {
		return err
	}
	w.udp, w.forks = p.udp && w.group != sealed, p.forks
	hops := []hop{{from: w.addr, to: w.target}}
	if w.group != one {
		between, err := program.FreeAddr(ctx)
		if err != nil {
			return err
		}
		secured := w.group == sealed
		hops = []hop{{from: between, to: w.target, fromTLS: secured}, {from: w.addr, to: between, toTLS: secured}}
	}
	for _, h := range hops {
		if err := l.startHop(ctx, w, p, path, h); err != nil {
			return err
		}
	}
	return nil
}

// startHop starts the processes of a hop, which are part of a way then.
func (l *lab) startHop(ctx context.Context, w *way, p peer, path string, h hop) error {
	for _, udp := range []bool{false, true} {
		if udp && !w.udp {
			continue
		}
		l.programs++
		args, err := p.args(path, l.dir, l.cert, l.programs, h, udp)
		if err != nil {
			return err
		}
		started, err := l.run(ctx, p.name, nil, args...)
		if err != nil {
			return err
		}
		w.processes = append(w.processes, started)
	}
	return nil
}

// writeCertificate writes one that signs itself, and its key, into one file.
func writeCertificate(file string) error {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return err
	}
	now := time.Now()
	c := &x509.Certificate{SerialNumber: big.NewInt(1), NotBefore: now.Add(-time.Hour), NotAfter: now.Add(24 * time.Hour), IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)}}
	cert, err := x509.CreateCertificate(rand.Reader, c, c, key.Public(), key)
	if err != nil {
		return err
	}
	secret, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		return err
	}
	text := append(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: cert}), pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: secret})...)
	return os.WriteFile(file, text, 0o600)
}
