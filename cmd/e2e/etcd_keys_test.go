//go:build e2e

// Etcd asks nobody for an API key: whoever has a certificate that it trusts can
// read and write everything. So it trusts none but those of its own authority.

package e2e

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"signalbox/controlplane/pki"
	"signalbox/proto/certificate"
)

// issued is a certificate in a folder of `signalbox pki`.
func issued(t *testing.T, dir, name string) tls.Certificate {
	t.Helper()
	pair, err := tls.LoadX509KeyPair(filepath.Join(dir, name+".pem"), filepath.Join(dir, name+".key"))
	if err != nil {
		t.Fatal(err)
	}
	return pair
}

// nodesOwn is a certificate such as a control plane with the folder's authority
// makes for a node.
func nodesOwn(t *testing.T, dir string) tls.Certificate {
	t.Helper()
	by, err := pki.Load(filepath.Join(dir, "nodes-ca.pem"), filepath.Join(dir, "nodes-ca.key"))
	if err != nil {
		t.Fatal(err)
	}
	key, err := certificate.NewKey()
	if err != nil {
		t.Fatal(err)
	}
	private, err := certificate.EncodeKey(key)
	if err != nil {
		t.Fatal(err)
	}
	chain, _, err := by.IssueNode(certificate.Node{Name: "n1"}, key.Public(), time.Now(), time.Hour)
	if err != nil {
		t.Fatal(err)
	}
	pair, err := tls.X509KeyPair(chain, private)
	if err != nil {
		t.Fatal(err)
	}
	return pair
}

func TestOnlyEtcdsOwnCertificatesAreAKeyToEtcd(t *testing.T) {
	l := newLab(t)
	dir := filepath.Join(l.dir, "pki")
	for _, args := range [][]string{
		{"init"},
		{"issue", "cp1", "--host", "127.0.0.1"},
		{"issue", "client"},
		{"issue", "etcd", "--authority", "etcd-ca", "--host", "127.0.0.1"},
		{"issue", "etcd-client", "--authority", "etcd-ca"},
	} {
		if out, err := exec.CommandContext(t.Context(), program(t), slices.Concat([]string{"pki"}, args, []string{"--dir", dir})...).CombinedOutput(); err != nil {
			t.Fatalf("pki %v: %v %s", args, err, out)
		}
	}
	file := func(name string) string { return filepath.Join(dir, name) }
	clients, peers := "https://"+freeAddr(t), "https://"+freeAddr(t)
	l.process("etcd", nil, "etcd", "--name", "a", "--data-dir", filepath.Join(l.dir, "data"),
		"--listen-client", clients, "--listen-peer", peers, "--initial-cluster", "a="+peers,
		"--client-tls-cert", file("etcd.pem"), "--client-tls-key", file("etcd.key"), "--client-tls-client-ca", file("etcd-ca.pem"),
		"--peer-tls-cert", file("etcd.pem"), "--peer-tls-key", file("etcd.key"), "--peer-tls-ca", file("etcd-ca.pem")).start()

	authority, err := os.ReadFile(file("etcd-ca.pem"))
	if err != nil {
		t.Fatal(err)
	}
	trusted := x509.NewCertPool()
	trusted.AppendCertsFromPEM(authority)
	asks := func(ctx context.Context, as tls.Certificate, url string) error {
		c := &tls.Config{RootCAs: trusted, MinVersion: tls.VersionTLS12, GetClientCertificate: func(*tls.CertificateRequestInfo) (*tls.Certificate, error) {
			return &as, nil // even where the server does not ask for one of its kind
		}}
		client := overTLS(t, c)
		transport, _ := client.Transport.(*http.Transport)
		transport.ForceAttemptHTTP2 = false // which members do not speak among each other
		a, err := send(ctx, client, "GET", url, "")
		if err == nil && a.status != http.StatusOK {
			err = fmt.Errorf("%d %s", a.status, a.body)
		}
		return err
	}
	ends := map[string]string{"a client": clients + "/version", "a peer": peers + "/members"}
	for _, name := range []string{"etcd", "etcd-client"} {
		for role, url := range ends {
			eventually(t, name+" is answered as "+role, func(ctx context.Context) error { return asks(ctx, issued(t, dir, name), url) })
		}
	}
	for name, pair := range map[string]tls.Certificate{
		"a server's": issued(t, dir, "cp1"), "a client's": issued(t, dir, "client"), "a node's": nodesOwn(t, dir), "none": {},
	} {
		for role, url := range ends {
			if err := asks(t.Context(), pair, url); err == nil {
				t.Errorf("with %s certificate it is answered as %s", name, role)
			}
		}
	}
}
