//go:build e2e

package faults

import (
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
)

// netnsPrefix begins the names of our namespaces, followed by the process id of
// the test that made them.
const netnsPrefix = "sbfaults"

// newNamespaces makes the bridge, with this test at one address of it.
func newNamespaces(dir string) (*namespaces, error) {
	sweep()
	program, err := binary()
	if err != nil {
		return nil, err
	}
	pid := os.Getpid()
	n := &namespaces{
		dir: dir, program: program, own: netnsPrefix + strconv.Itoa(pid), subnet: fmt.Sprintf("10.213.%d", pid%250), runs: map[*part]*process{},
	}
	hub, link := n.own+"-hub", "sbf"+strconv.Itoa(pid)
	err = all(
		"ip netns add "+hub,
		"ip -n "+hub+" link add name hub0 type bridge",
		"ip -n "+hub+" link set hub0 up",
		"ip link add "+link+" type veth peer name host netns "+hub,
		"ip -n "+hub+" link set host master hub0 up",
		"ip addr add "+n.host()+"/24 dev "+link,
		"ip link set "+link+" up",
	)
	if err != nil {
		n.close()
		return nil, err
	}
	return n, nil
}

// binary is the program to run, as `make build` leaves it unless SIGNALBOX_BIN
// names another.
func binary() (string, error) {
	name := os.Getenv("SIGNALBOX_BIN")
	if name == "" {
		name = "../../../bin/signalbox"
	}
	path, err := filepath.Abs(name)
	if err == nil {
		_, err = os.Stat(path)
	}
	if err != nil {
		return "", fmt.Errorf("no program to test; run `make build`: %w", err)
	}
	return path, nil
}

// sweep removes what tests left that were ended before they could clean up.
func sweep() {
	out, err := exec.Command("ip", "netns", "list").Output()
	if err != nil {
		return
	}
	for line := range strings.Lines(string(out)) {
		name, _, _ := strings.Cut(strings.TrimSpace(line), " ")
		owner, _, _ := strings.Cut(strings.TrimPrefix(name, netnsPrefix), "-")
		pid, err := strconv.Atoi(owner)
		if err != nil || !strings.HasPrefix(name, netnsPrefix) || syscall.Kill(pid, 0) == nil {
			continue
		}
		pids, _ := exec.Command("ip", "netns", "pids", name).Output()
		for left := range strings.FieldsSeq(string(pids)) {
			if pid, err := strconv.Atoi(left); err == nil {
				_ = syscall.Kill(pid, syscall.SIGKILL)
			}
		}
		_ = all("ip netns del " + name)
	}
}

// certificates makes the authorities, and one certificate for all who serve
// APIs. It returns how these are reached. Nodes get theirs by themselves; etcd
// has none here.
func (n *namespaces) certificates(dir string, parts []*part) (*tls.Config, error) {
	var hosts []string
	for _, p := range parts {
		if p.kind == plane || p.kind == gateway {
			hosts = append(hosts, p.name, p.addrs()[0])
		}
	}
	for _, args := range [][]string{{"init"}, {"issue", "server", "--host", strings.Join(hosts, ",")}} {
		cmd := exec.Command(n.program, append(append([]string{"pki"}, args...), "--dir", dir)...)
		cmd.Env = cleanEnv()
		if _, err := output(cmd); err != nil {
			return nil, err
		}
	}
	authority, err := os.ReadFile(filepath.Join(dir, "ca.pem"))
	if err != nil {
		return nil, err
	}
	trusted := x509.NewCertPool()
	trusted.AppendCertsFromPEM(authority)
	return &tls.Config{RootCAs: trusted}, nil
}

// newNamespacesLab lays out a cluster of processes, which are not started. Only
// etcd is reached without TLS.
func newNamespacesLab(dir string) (*lab, error) {
	n, err := newNamespaces(dir)
	if err != nil {
		return nil, err
	}
	l := &lab{driver: n, operator: n, host: n.host(), admin: rand.Text()}
	pki := filepath.Join(dir, "pki")
	add := func(k kind, name string) *part {
		p := &part{name: name, kind: k, id: name, at: []string{fmt.Sprintf("%s.%d", n.subnet, 10+len(l.parts))}}
		l.parts = append(l.parts, p)
		return p
	}
	var members, stores, planes []string
	for i := range 3 {
		p := add(member, fmt.Sprintf("etcd%d", i+1))
		members = append(members, p.name+"=http://"+p.addrs()[0]+":2380")
		stores = append(stores, "http://"+p.addrs()[0]+":2379")
	}
	for i := range 2 {
		planes = append(planes, add(plane, fmt.Sprintf("cp%d", i+1)).addrs()[0]+":8002")
	}
	add(gateway, "gateway")
	for i := range 3 {
		add(node, fmt.Sprintf("node%d", i+1))
	}
	l.members, l.state = strings.Join(members, ","), n.stateOf
	n.access = []string{
		"SIGNALBOX_ETCD=" + strings.Join(stores, ","), "SIGNALBOX_CONTROLPLANE=" + strings.Join(planes, ","),
		"SIGNALBOX_KEY=" + l.admin, "SIGNALBOX_ALLOW_PLAINTEXT=true", "SIGNALBOX_CONTROLPLANE_CA=" + filepath.Join(pki, "ca.pem"),
	}
	if l.tls, err = n.certificates(pki, l.parts); err != nil {
		n.close()
		return nil, err
	}
	server, private := filepath.Join(pki, "server.pem"), filepath.Join(pki, "server.key")
	for i, p := range l.parts {
		at := p.addrs()[0]
		env, args := []string(nil), []string(nil)
		switch p.kind {
		case member:
			env = []string{"SIGNALBOX_DATA_DIR=" + n.stateOf(p)}
			args = []string{"etcd", "--name", p.name, "--listen-client", stores[i],
				"--listen-peer", "http://" + at + ":2380", "--initial-cluster", strings.Join(members, ",")}
		case plane:
			env = []string{"SIGNALBOX_ADMIN_KEY=" + l.admin, "SIGNALBOX_CHP_TOKEN=" + rand.Text()}
			args = []string{"controlplane", "--controlplane-id", p.name, "--etcd", strings.Join(stores, ","),
				"--grpc-listen", at + ":8002", "--grpc-tls-cert", server, "--grpc-tls-key", private,
				"--api-listen", at + ":8001", "--api-tls-cert", server, "--api-tls-key", private,
				"--node-ca-cert", filepath.Join(pki, "nodes-ca.pem"), "--node-ca-key", filepath.Join(pki, "nodes-ca.key")}
		case gateway:
			args = []string{"gateway", "--controlplane", strings.Join(planes, ","), "--controlplane-ca", filepath.Join(pki, "ca.pem"),
				"--api-listen", at + ":8001", "--api-tls-cert", server, "--api-tls-key", private}
		case node:
			env = []string{"SIGNALBOX_KEY=" + l.admin, "SIGNALBOX_IDENTITY_DIR=" + n.stateOf(p)}
			args = []string{"node", "--id", p.id, "--controlplane", strings.Join(planes, ","), "--controlplane-ca", filepath.Join(pki, "ca.pem"),
				"--listen", at + ":8000", "--state-dir", n.stateOf(p), "--drain-timeout", "5s"}
		}
		if err := n.add(p, env, append(args, "--allow-plaintext")...); err != nil {
			n.close()
			return nil, err
		}
	}
	return l, nil
}
