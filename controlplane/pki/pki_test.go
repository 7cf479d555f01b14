package pki

import (
	"crypto"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"signalbox/proto/certificate"
)

var now = time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)

const (
	day  = 24 * time.Hour
	year = 365 * day
)

func root(t *testing.T) *Authority {
	t.Helper()
	a, err := NewRoot("root", now, 10*year)
	if err != nil {
		t.Fatal(err)
	}
	return a
}

func nodes(t *testing.T) *Authority {
	t.Helper()
	a, err := NewNodeAuthority("nodes", now, year)
	if err != nil {
		t.Fatal(err)
	}
	return a
}

// below is an authority for nodes below a root, as they were made once.
func below(t *testing.T, root *Authority) *Authority {
	t.Helper()
	k := key(t)
	c := authorityTemplate("nodes")
	c.MaxPathLenZero = true
	c.ExtKeyUsage = []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth}
	cert, err := sign(c, root.cert, k.Public(), root.key, now, year)
	if err != nil {
		t.Fatal(err)
	}
	return &Authority{cert: cert, key: k, chain: encode(cert)}
}

func key(t *testing.T) crypto.Signer {
	t.Helper()
	k, err := certificate.NewKey()
	if err != nil {
		t.Fatal(err)
	}
	return k
}

// first is the first certificate of a chain.
func first(chain []byte) (*x509.Certificate, error) {
	all, err := certificates(chain)
	if err != nil {
		return nil, err
	}
	return all[0], nil
}

// verify checks a chain as somebody does who trusts an authority.
func verify(t *testing.T, root *Authority, chain []byte, usage x509.ExtKeyUsage, at time.Time) (*x509.Certificate, error) {
	t.Helper()
	leaf, err := first(chain)
	if err != nil {
		t.Fatal(err)
	}
	opts := x509.VerifyOptions{Roots: x509.NewCertPool(), Intermediates: x509.NewCertPool(), KeyUsages: []x509.ExtKeyUsage{usage}, CurrentTime: at}
	opts.Roots.AppendCertsFromPEM(root.Certificate())
	opts.Intermediates.AppendCertsFromPEM(chain)
	_, err = leaf.Verify(opts)
	return leaf, err
}

func TestANodesCertificateMakesItsHolderThatNodeAndNothingElse(t *testing.T) {
	nodes := nodes(t)
	chain, _, err := nodes.IssueNode(certificate.Node{Name: "edge-1", Mark: "M"}, key(t).Public(), now, day)
	if err != nil {
		t.Fatal(err)
	}
	leaf, err := verify(t, nodes, chain, x509.ExtKeyUsageClientAuth, now)
	if err != nil {
		t.Error(err)
	}
	if n, ok := certificate.NodeOf(leaf); !ok || n != (certificate.Node{Name: "edge-1", Mark: "M"}) {
		t.Errorf("it is for %q, %t", n, ok)
	}
	if _, err := verify(t, nodes, chain, x509.ExtKeyUsageServerAuth, now); err == nil {
		t.Error("it is good for a server")
	}
	if _, err := verify(t, nodes, chain, x509.ExtKeyUsageClientAuth, now.Add(day+time.Second)); err == nil {
		t.Error("it does not end")
	}
	if _, err := verify(t, nodes, chain, x509.ExtKeyUsageClientAuth, now.Add(-time.Minute)); err != nil {
		t.Errorf("a clock that is a minute behind: %v", err)
	}
	if _, err := verify(t, root(t), chain, x509.ExtKeyUsageClientAuth, now); err == nil {
		t.Error("who trusts the authority of servers, or of etcd, takes it")
	}
}

func TestWhoeverHasTheNodeAuthoritysKeyCannotMakeAServer(t *testing.T) {
	root := root(t)
	for name, by := range map[string]*Authority{"an authority": nodes(t), "one below the root": below(t, root)} {
		if _, err := by.Issue(Party{Name: "cp1"}, key(t).Public(), now, day); err == nil || !strings.Contains(err.Error(), `"nodes" signs nodes only`) {
			t.Errorf("%s signs a party: %v", name, err)
		}
		server := &x509.Certificate{DNSNames: []string{"cp1"}, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth}}
		chain, err := by.issue(server, key(t).Public(), now, day)
		if err != nil {
			t.Fatal(err)
		}
		for _, trusted := range []*Authority{root, by} {
			if _, err := verify(t, trusted, chain, x509.ExtKeyUsageServerAuth, now); err == nil {
				t.Errorf("%s makes a server that is accepted", name)
			}
		}
	}
}

// Installations have authorities for nodes that were made below the root.
func TestAnAuthorityBelowTheRootIsGoodStillWhereItIsTrusted(t *testing.T) {
	by := below(t, root(t))
	cert, private := filepath.Join(t.TempDir(), "a.pem"), filepath.Join(t.TempDir(), "a.key")
	if err := by.Save(cert, private); err != nil {
		t.Fatal(err)
	}
	again, err := Load(cert, private)
	if err != nil {
		t.Fatal(err)
	}
	chain, _, err := again.IssueNode(certificate.Node{Name: "n"}, key(t).Public(), now, day)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := verify(t, by, chain, x509.ExtKeyUsageClientAuth, now); err != nil {
		t.Error(err)
	}
}

func TestAServersCertificateIsForItsHostsAndOfNoNode(t *testing.T) {
	root := root(t)
	chain, err := root.Issue(Party{Name: "cp1", Hosts: []string{"cp1.internal", "10.0.0.1", "::1"}}, key(t).Public(), now, day)
	if err != nil {
		t.Fatal(err)
	}
	for _, usage := range []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth} {
		leaf, err := verify(t, root, chain, usage, now)
		if err != nil {
			t.Fatal(err)
		}
		for _, host := range []string{"cp1.internal", "10.0.0.1", "::1"} {
			if err := leaf.VerifyHostname(host); err != nil {
				t.Error(err)
			}
		}
		if name, ok := certificate.NodeOf(leaf); ok {
			t.Errorf("it is the node %q", name)
		}
	}
}

func TestAPartyWithoutHostsIsAClientOnly(t *testing.T) {
	root := root(t)
	chain, err := root.Issue(Party{Name: "backup"}, key(t).Public(), now, day)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := verify(t, root, chain, x509.ExtKeyUsageClientAuth, now); err != nil {
		t.Error(err)
	}
	if _, err := verify(t, root, chain, x509.ExtKeyUsageServerAuth, now); err == nil {
		t.Error("it is good for a server")
	}
}

func TestACertificateBeginsForClocksThatAreBehind(t *testing.T) {
	for _, life := range []time.Duration{30 * time.Second, time.Minute, time.Hour, day, year / 2} {
		chain, _, err := nodes(t).IssueNode(certificate.Node{Name: "n"}, key(t).Public(), now, life)
		if err != nil {
			t.Fatal(err)
		}
		leaf, err := first(chain)
		if err != nil {
			t.Fatal(err)
		}
		if !leaf.NotBefore.Before(now) {
			t.Errorf("one that lives for %s begins at %s", life, leaf.NotBefore)
		}
	}
}

func TestNothingOutlivesItsAuthority(t *testing.T) {
	root := root(t)
	nodes := nodes(t)
	chain, end, err := nodes.IssueNode(certificate.Node{Name: "n"}, key(t).Public(), now.Add(year-day), 2*day)
	if err != nil || !end.Equal(now.Add(year)) {
		t.Errorf("a node's ends at %v, %v", end, err)
	}
	if leaf, err := first(chain); err != nil || !leaf.NotAfter.Equal(end) {
		t.Errorf("it says %v, %v", leaf.NotAfter, err)
	}
	if _, _, err := nodes.IssueNode(certificate.Node{Name: "n"}, key(t).Public(), now.Add(year), day); err == nil || !strings.Contains(err.Error(), `"nodes" itself ends at 2027-01-02`) {
		t.Errorf("a node's after that: %v", err)
	}
	if _, err := root.Issue(Party{Name: "cp1"}, key(t).Public(), now, 11*year); err == nil || !strings.Contains(err.Error(), `"root" itself ends at`) {
		t.Errorf("a server's: %v", err)
	}
}

func TestASavedAuthorityIsTheSameWhenItIsRead(t *testing.T) {
	for name, a := range map[string]*Authority{"root": root(t), "nodes": nodes(t)} {
		t.Run(name, func(t *testing.T) {
			cert, private := filepath.Join(t.TempDir(), "a.pem"), filepath.Join(t.TempDir(), "a.key")
			if err := a.Save(cert, private); err != nil {
				t.Fatal(err)
			}
			if info, err := os.Stat(private); err != nil || info.Mode().Perm() != 0o600 {
				t.Errorf("the key is %v, %v", info.Mode(), err)
			}
			again, err := Load(cert, private)
			if err != nil {
				t.Fatal(err)
			}
			chain, _, err := again.IssueNode(certificate.Node{Name: "n"}, key(t).Public(), now, day)
			if err != nil {
				t.Fatal(err)
			}
			if _, err := verify(t, a, chain, x509.ExtKeyUsageClientAuth, now); err != nil {
				t.Error(err)
			}
			if err := a.Save(cert, private); !os.IsExist(err) {
				t.Errorf("saving over it: %v", err)
			}
		})
	}
}

// A new authority stands beside the old one in the file: it signs, and the old
// is trusted still. Its files may change while they are used.
func TestAnAuthorityIsReplacedInItsFiles(t *testing.T) {
	dir := t.TempDir()
	file := func(name string) string { return filepath.Join(dir, name) }
	old, young := nodes(t), nodes(t)
	if err := errors.Join(old.Save(file("a.pem"), file("a.key")), young.Save(file("b.pem"), file("b.key"))); err != nil {
		t.Fatal(err)
	}
	var failures []error
	kept, err := Keep(file("a.pem"), file("a.key"), func(err error) { failures = append(failures, err) })
	if err != nil {
		t.Fatal(err)
	}
	signedBy := func(want *Authority) {
		t.Helper()
		chain, _, err := kept.IssueNode(certificate.Node{Name: "n"}, key(t).Public(), now, day)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := verify(t, want, chain, x509.ExtKeyUsageClientAuth, now); err != nil {
			t.Error(err)
		}
	}
	write := func(name string, text []byte) {
		t.Helper()
		if err := os.WriteFile(file(name), text, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	// The same file says whose certificates are known as nodes'.
	known := func(want ...*Authority) {
		t.Helper()
		for _, by := range []*Authority{old, young, root(t)} {
			chains := chainsOf(t, by)
			if got := kept.Signed(chains); got != slices.Contains(want, by) {
				t.Errorf("%s known: %t", by.cert.Subject.CommonName, got)
			}
		}
	}
	signedBy(old)
	known(old)
	write("a.pem", append(old.Certificate(), young.Certificate()...))
	signedBy(old)
	known(old, young)
	write("a.pem", append(young.Certificate(), old.Certificate()...))
	signedBy(old) // whose key is there still
	if len(failures) != 1 || !strings.Contains(failures[0].Error(), "is not the key of") {
		t.Errorf("told were %v", failures)
	}
	private, err := os.ReadFile(file("b.key"))
	if err != nil {
		t.Fatal(err)
	}
	write("a.key", private)
	signedBy(young)
	known(old, young)
	write("a.pem", young.Certificate())
	signedBy(young)
	known(young)
}

// chainsOf are those of a node's certificate, as TLS verifies it where all of them
// are trusted that stand above.
func chainsOf(t *testing.T, by *Authority) [][]*x509.Certificate {
	t.Helper()
	chain, _, err := by.IssueNode(certificate.Node{Name: "n"}, key(t).Public(), now, day)
	if err != nil {
		t.Fatal(err)
	}
	leaf, err := verify(t, by, chain, x509.ExtKeyUsageClientAuth, now)
	if err != nil {
		t.Fatal(err)
	}
	return [][]*x509.Certificate{{leaf, by.cert}}
}

// Where servers' certificates are taken too, one of a node below them is a
// node's still, and a server's is not.
func TestANodesAuthorityBelowARootKnowsItsOwn(t *testing.T) {
	above := root(t)
	by := below(t, above)
	if chain := chainsOf(t, by)[0]; !by.Signed([][]*x509.Certificate{append(chain, above.cert)}) {
		t.Error("what it signed is not known")
	}
	if by.Signed(chainsOf(t, above)) {
		t.Error("what the root signed is taken for its own")
	}
}

func TestFilesThatAreNoAuthorityAreSaidToBe(t *testing.T) {
	dir := t.TempDir()
	file := func(name string) string { return filepath.Join(dir, name) }
	a, b := root(t), root(t)
	k := key(t)
	leaf, err := a.Issue(Party{Name: "cp1"}, k.Public(), now, day)
	if err != nil {
		t.Fatal(err)
	}
	private, err := certificate.EncodeKey(k)
	if err != nil {
		t.Fatal(err)
	}
	for _, err := range []error{
		a.Save(file("a.pem"), file("a.key")), b.Save(file("b.pem"), file("b.key")),
		WritePair(file("leaf.pem"), leaf, file("leaf.key"), private),
		os.WriteFile(file("text"), []byte("secret words"), 0o600),
		os.WriteFile(file("bad.key"), pem.EncodeToMemory(&pem.Block{Type: certificate.KeyBlock, Bytes: []byte("secret words")}), 0o600),
	} {
		if err != nil {
			t.Fatal(err)
		}
	}
	for _, c := range []struct{ cert, key, want string }{
		{"none", "a.key", "no such file"},
		{"text", "a.key", "no certificate in PEM form"},
		{"leaf.pem", "leaf.key", `"cp1" is not an authority's`},
		{"a.pem", "b.key", "is not the key of"},
		{"a.pem", "text", "no private key in PEM form"},
		{"a.pem", "bad.key", "the private key cannot be read"},
	} {
		_, err := Load(file(c.cert), file(c.key))
		if err == nil || !strings.Contains(err.Error(), c.want) || strings.Contains(err.Error(), "secret") {
			t.Errorf("%s with %s: %v", c.cert, c.key, err)
		}
	}
}

func FuzzRequest(f *testing.F) {
	k, err := certificate.NewKey()
	if err != nil {
		f.Fatal(err)
	}
	der, err := certificate.NewRequest(k)
	if err != nil {
		f.Fatal(err)
	}
	f.Add(der)
	f.Add([]byte{})
	f.Fuzz(func(t *testing.T, der []byte) {
		public, err := certificate.ParseRequest(der)
		if err != nil {
			return
		}
		// Whatever is accepted can be certified.
		a, err := NewRoot("root", now, year)
		if err != nil {
			t.Fatal(err)
		}
		if _, _, err := a.IssueNode(certificate.Node{Name: "n"}, public, now, day); err != nil {
			t.Error(err)
		}
	})
}
