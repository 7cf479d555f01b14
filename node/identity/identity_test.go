package identity

import (
	"bytes"
	"crypto"
	"crypto/tls"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"signalbox/proto/certificate"
)

func keyPEM(t *testing.T, key any) []byte {
	t.Helper()
	b, err := certificate.EncodeKey(key.(crypto.Signer))
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// config is how to ask some control planes, with the key they know.
func (a *authorities) config(addrs ...string) Config {
	return Config{
		ControlPlanes: addrs, TLS: &tls.Config{RootCAs: a.trusted, MinVersion: tls.VersionTLS12},
		Key: func() string { return "sekrit" },
	}
}

// made puts a certificate into a folder, as if it had been kept.
func (a *authorities) made(t *testing.T, node string, made time.Time, life time.Duration) (dir string) {
	t.Helper()
	key, err := certificate.NewKey()
	if err != nil {
		t.Fatal(err)
	}
	chain, _, err := a.nodes.IssueNode(certificate.Node{Name: node, Mark: "1"}, key.Public(), made, life)
	if err != nil {
		t.Fatal(err)
	}
	dir = t.TempDir()
	if err := write(filepath.Join(dir, fileName), append(chain, keyPEM(t, key)...)); err != nil {
		t.Fatal(err)
	}
	return dir
}

func TestTheFirstCertificateIsGotWithTheKeyAndKept(t *testing.T) {
	a := newAuthorities(t)
	p := newPlane(t, a)
	c := a.config(nobody(t), p.addr) // the first is down
	c.Dir = filepath.Join(t.TempDir(), "new", "folder")
	r := run(t, c)
	pair := r.next()
	<-r.Tried()
	file := filepath.Join(c.Dir, fileName)
	info, err := os.Stat(file)
	if err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("the file is %v, %v", info.Mode(), err)
	}
	if kept, err := read(file); err != nil || !bytes.Equal(kept.Certificate[0], pair.Certificate[0]) {
		t.Errorf("kept is %v, %v", kept, err)
	}
	if got := p.asked(); got != "key" {
		t.Errorf("it was asked for by %q", got)
	}
	if told := r.Certificate(); !told.Equal(pair.Leaf) {
		t.Errorf("it tells of %v", told)
	}

	// The next process has it, and asks nobody.
	again, err := Open(Config{Node: "n", Dir: c.Dir, ControlPlanes: c.ControlPlanes, TLS: c.TLS})
	if err != nil {
		t.Fatal(err)
	}
	<-again.Tried()
	if shown, refused := again.standing(); refused || !bytes.Equal(shown.Certificate[0], pair.Certificate[0]) {
		t.Errorf("the next process shows %v, %t", shown, refused)
	}
}

func TestACertificateIsRenewedWithItself(t *testing.T) {
	a := newAuthorities(t)
	p := newPlane(t, a)
	p.life = 3 * time.Second
	r := run(t, a.config(p.addr))
	first := r.next()
	p.set(func() { p.key = "" }) // it is not needed any more
	second := r.next()
	if bytes.Equal(first.Certificate[0], second.Certificate[0]) {
		t.Error("it is the same")
	}
	if !time.Now().Before(first.Leaf.NotAfter) {
		t.Error("it was renewed when it had ended")
	}
	if first.PrivateKey.(interface{ Equal(crypto.PrivateKey) bool }).Equal(second.PrivateKey) {
		t.Error("the key is the same")
	}
	if got := p.asked(); got != "key 1" {
		t.Errorf("they were asked for by %q", got)
	}
}

func TestRenewalIsDueWhenTwoThirdsAreOver(t *testing.T) {
	a := newAuthorities(t)
	now := time.Now()
	c := a.config("127.0.0.1:1")
	c.Node, c.Dir = "n", a.made(t, "n", now, 30*time.Minute)
	i, err := Open(c)
	if err != nil {
		t.Fatal(err)
	}
	due := now.Add(20 * time.Minute)
	for range 100 {
		if early := due.Sub(now.Add(i.untilRenewal(now))); early < -time.Second || early > 2*time.Minute {
			t.Fatalf("it is renewed %s before that", early)
		}
	}
	if wait := i.untilRenewal(now.Add(-time.Hour)); wait > 0 {
		t.Errorf("by a clock that is an hour behind, it is renewed in %s", wait)
	}
}

func TestARefusedCertificateIsReplacedWithTheKey(t *testing.T) {
	unknown := status.Error(codes.Unauthenticated, "this certificate was revoked")
	a := newAuthorities(t)
	p := newPlane(t, a)
	r := run(t, a.config(p.addr))
	first := r.next()
	_, old := r.Connect("127.0.0.1")
	_, more := r.Connect("127.0.0.1")

	old(status.Error(codes.Unavailable, "gone")) // which says nothing of the certificate
	p.set(func() { p.mark = "2" })
	old(unknown)
	second := r.next()
	if bytes.Equal(first.Certificate[0], second.Certificate[0]) {
		t.Error("it is the same")
	}
	more(unknown) // late, of the first
	if _, refused := r.standing(); refused {
		t.Error("the second pays for the first")
	}
	// TLS ends where nobody knows who signed it.
	_, ended := r.Connect("127.0.0.1")
	ended(status.Error(codes.Unavailable, `connection error: desc = "error reading server preface: remote error: tls: unknown certificate authority"`))
	r.next()
	if got := p.asked(); got != "key key key" {
		t.Errorf("they were asked for by %q", got)
	}
	if n := r.log.count("certificate is refused"); n != 2 {
		t.Errorf("%d refusals are logged", n)
	}
}

func TestARefusedCertificateIsShownOnWhereThereIsNoKey(t *testing.T) {
	a := newAuthorities(t)
	p := newPlane(t, a)
	c := a.config(p.addr)
	c.Key, c.Dir = nil, a.made(t, "n", time.Now(), time.Hour)
	r := run(t, c)
	_, ended := r.Connect("127.0.0.1")
	ended(status.Error(codes.Unauthenticated, "by a control plane that is mistaken"))
	r.next()
	if got := p.asked(); got != "1" {
		t.Errorf("it was asked for by %q", got)
	}
}

func TestACertificateOfAnAuthorityThatIsGoneIsReplacedWithTheKey(t *testing.T) {
	a, gone := newAuthorities(t), newAuthorities(t)
	p := newPlane(t, a)
	c := a.config(p.addr)
	c.Dir = gone.made(t, "n", time.Now().Add(-50*time.Minute), 59*time.Minute) // due, and TLS refuses it
	r := run(t, c)
	r.next()
	if got := p.asked(); got != "key" {
		t.Errorf("it was asked for by %q", got)
	}
}

func TestWhatCannotBeUsedOnDiskIsReplaced(t *testing.T) {
	a := newAuthorities(t)
	garbage := t.TempDir()
	if err := os.WriteFile(filepath.Join(garbage, fileName), randomBytes(), 0o600); err != nil {
		t.Fatal(err)
	}
	half := a.made(t, "n", time.Now(), time.Hour)
	if err := os.Truncate(filepath.Join(half, fileName), 700); err != nil {
		t.Fatal(err)
	}
	for name, c := range map[string]struct{ dir, why string }{
		"garbage":                  {garbage, "identity.pem"},
		"half of it":               {half, "identity.pem"},
		"one that is of another's": {a.made(t, "other", time.Now(), time.Hour), `is for the node \"other\"`},
	} {
		t.Run(name, func(t *testing.T) {
			p := newPlane(t, a)
			conf := a.config(p.addr)
			conf.Dir = c.dir
			r := run(t, conf)
			pair := r.next()
			if n := r.log.count(c.why); n != 1 {
				t.Errorf("why is logged %d times", n)
			}
			if kept, err := read(filepath.Join(c.dir, fileName)); err != nil || !bytes.Equal(kept.Certificate[0], pair.Certificate[0]) {
				t.Errorf("kept is %v, %v", kept, err)
			}
		})
	}
}

func TestACertificateThatCannotBeWrittenIsUsedAndWrittenLater(t *testing.T) {
	a := newAuthorities(t)
	p := newPlane(t, a)
	c := a.config(p.addr)
	c.Dir = filepath.Join(t.TempDir(), "state")
	if err := os.WriteFile(c.Dir, nil, 0o600); err != nil { // where the folder should be
		t.Fatal(err)
	}
	r := run(t, c)
	pair := r.next()
	if pair == nil {
		t.Fatal("it is not used")
	}
	if err := os.Remove(c.Dir); err != nil {
		t.Fatal(err)
	}
	eventually(t, "it is kept", func() bool {
		kept, err := read(filepath.Join(c.Dir, fileName))
		return err == nil && kept != nil && bytes.Equal(kept.Certificate[0], pair.Certificate[0])
	})
	if failed := r.log.count("certificate cannot be kept"); failed != 1 {
		t.Errorf("the fault is logged %d times", failed)
	}
	if got := p.asked(); got != "key" {
		t.Errorf("it was asked for by %q", got)
	}
}

// Certificates that live for seconds, and clocks that are minutes off, or hours:
// what this machine's clock says of a certificate does not matter.
func TestCertificatesAreGotShownAndRenewedWhateverTheClockSays(t *testing.T) {
	a := newAuthorities(t)
	for _, ahead := range []time.Duration{10 * time.Minute, -10 * time.Minute, 90 * time.Minute, -90 * time.Minute} {
		t.Run(ahead.String(), func(t *testing.T) {
			t.Parallel()
			p := newPlane(t, a)
			p.ahead, p.life = ahead, 3*time.Second
			c := a.config(p.addr)
			c.Dir = t.TempDir()
			r := run(t, c)
			r.next()
			p.set(func() { p.key = "" })
			r.next()
			p.set(func() { p.life = time.Hour })
			r.next()
			if got := p.asked(); got != "key 1 1" {
				t.Errorf("they were asked for by %q", got)
			}
			eventually(t, "the last is kept", func() bool { return r.log.count("certificate kept") == 3 })

			// The next process has no key, and shows what was kept.
			c.Key = nil
			again := run(t, c)
			<-again.Tried()
			if pair, refused := again.standing(); pair == nil || refused {
				t.Errorf("the next process shows %v, %t", pair, refused)
			}
			if n := again.log.count("no new certificate yet"); n > 0 {
				t.Errorf("%d failures are logged", n)
			}
		})
	}
}

func TestAKeptCertificateThatHasEndedIsReplacedWithTheKey(t *testing.T) {
	a := newAuthorities(t)
	p := newPlane(t, a)
	c := a.config(p.addr)
	c.Dir = a.made(t, "n", time.Now().Add(-time.Hour), time.Minute)
	r := run(t, c)
	<-r.Tried() // nobody is shown what must be refused
	if got := p.asked(); got != "key" {
		t.Errorf("it was asked for by %q", got)
	}
	r.next()

	c.Dir = a.made(t, "n", time.Now().Add(-time.Hour), time.Minute)
	c.Key = nil
	poor := run(t, c)
	<-poor.Tried()
	if n := poor.log.count("tls: expired certificate"); n != 1 || poor.log.count("there is no API key to join with") != 1 {
		t.Error("why there is no new one is not logged")
	}
}

func TestWhoRefusesIsAskedAgain(t *testing.T) {
	a := newAuthorities(t)
	p := newPlane(t, a)
	p.refuses = status.Error(codes.Unavailable, "starting")
	r := run(t, a.config(p.addr))
	<-r.Tried()
	if shown, err := r.showing(nil, "").GetClientCertificate(nil); err != nil || len(shown.Certificate) != 0 {
		t.Errorf("shown is %v, %v", shown, err)
	}
	p.set(func() { p.refuses = nil })
	r.next()
	if _, err := Open(Config{Node: "n", Dir: "d", ControlPlanes: []string{"x:1"}}); err == nil || !strings.Contains(err.Error(), "TLS") {
		t.Errorf("without TLS: %v", err)
	}
}
