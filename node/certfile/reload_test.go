package certfile

import (
	"crypto/tls"
	"crypto/x509"
	"os"
	"testing"
	"time"

	"signalbox/node/certfile/certtest"
)

func TestCertificateIsReadAgainWhenItChanges(t *testing.T) {
	s := certtest.New(t)
	s.Make("server", 2)
	failures := 0
	c := &certificate{certFile: s.File("server.pem"), keyFile: s.File("server.key"), failed: func(error) { failures++ }}
	serial := func() int64 {
		t.Helper()
		c.looked = time.Time{} // as if a while had passed
		pair, err := c.get()
		if err != nil {
			t.Fatal(err)
		}
		return pair.Leaf.SerialNumber.Int64()
	}
	if got := serial(); got != 2 {
		t.Errorf("the serial is %d, want 2", got)
	}
	s.Make("server", 1_000_003)
	if got := serial(); got != 1_000_003 {
		t.Errorf("after a change the serial is %d, want 1000003", got)
	}
	s.Write("server.pem", []byte("nonsense"))
	if got := serial(); got != 1_000_003 || failures != 1 {
		t.Errorf("with nonsense in the file the serial is %d, and %d failures were told", got, failures)
	}
	if serial(); failures != 1 {
		t.Error("the same nonsense is told twice")
	}
	if _, err := (&certificate{certFile: s.File("server.pem"), keyFile: s.File("server.key")}).get(); err == nil {
		t.Error("nonsense is taken at the start")
	}
}

func TestTrustIsReadAgainWhenItChanges(t *testing.T) {
	s, other := certtest.New(t), certtest.New(t)
	failures := 0
	tr := &trust{caFiles: []string{s.File("ca.pem")}, base: &tls.Config{MinVersion: tls.VersionTLS13, ClientAuth: tls.RequireAndVerifyClientCert}, failed: func(error) { failures++ }}
	get := func() *tls.Config {
		t.Helper()
		tr.looked = time.Time{}
		conf, err := tr.get()
		if err != nil {
			t.Fatal(err)
		}
		return conf
	}
	if conf := get(); !conf.ClientCAs.Equal(s.Pool) || conf.ClientAuth != tls.RequireAndVerifyClientCert || conf != get() {
		t.Error("the first file is not what is trusted, or is read again")
	}
	s.Write("ca.pem", []byte("nonsense"))
	if conf := get(); !conf.ClientCAs.Equal(s.Pool) || failures != 1 {
		t.Errorf("nonsense took the place of what was trusted; %d failures were told", failures)
	}
	ca, err := os.ReadFile(other.File("ca.pem"))
	if err != nil {
		t.Fatal(err)
	}
	s.Write("ca.pem", ca)
	if !get().ClientCAs.Equal(other.Pool) {
		t.Error("the new file is not what is trusted")
	}
}

// Clients may have certificates of authorities in two files, each of which is
// read again.
func TestClientsMayBeOfAuthoritiesInTwoFiles(t *testing.T) {
	s, other, third := certtest.New(t), certtest.New(t), certtest.New(t)
	tr := &trust{caFiles: []string{s.File("ca.pem"), other.File("ca.pem")}, base: &tls.Config{MinVersion: tls.VersionTLS13}}
	trusts := func(want ...*certtest.Signer) {
		t.Helper()
		tr.looked = time.Time{}
		conf, err := tr.get()
		if err != nil {
			t.Fatal(err)
		}
		pool := x509.NewCertPool()
		for _, w := range want {
			ca, err := os.ReadFile(w.File("ca.pem"))
			if err != nil || !pool.AppendCertsFromPEM(ca) {
				t.Fatal(err)
			}
		}
		if !conf.ClientCAs.Equal(pool) {
			t.Error("others are trusted")
		}
	}
	trusts(s, other)
	ca, err := os.ReadFile(third.File("ca.pem"))
	if err != nil {
		t.Fatal(err)
	}
	other.Write("ca.pem", append(ca, '\n')) // its size is another, whatever the clock says
	trusts(s, third)
}

// Roots are replaced one after the other: meanwhile both are trusted.
func TestSeveralAuthoritiesInAFileAreAllTrusted(t *testing.T) {
	s, other := certtest.New(t), certtest.New(t)
	own, err := os.ReadFile(s.File("ca.pem"))
	if err != nil {
		t.Fatal(err)
	}
	theirs, err := os.ReadFile(other.File("ca.pem"))
	if err != nil {
		t.Fatal(err)
	}
	s.Write("both.pem", append(own, theirs...))
	conf, err := Client{CA: s.File("both.pem")}.Config()
	if err != nil {
		t.Fatal(err)
	}
	for name, site := range map[string]*certtest.Signer{"own": s, "other": other} {
		site.Make("server", 2)
		pair, err := tls.LoadX509KeyPair(site.File("server.pem"), site.File("server.key"))
		if err != nil {
			t.Fatal(err)
		}
		if _, err := pair.Leaf.Verify(x509.VerifyOptions{Roots: conf.RootCAs, KeyUsages: []x509.ExtKeyUsage{x509.ExtKeyUsageAny}}); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
}
