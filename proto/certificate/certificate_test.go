package certificate_test

import (
	"crypto"
	"crypto/tls"
	"strings"
	"testing"

	"signalbox/proto/certificate"
)

func TestARequestIsTakenFromWhoHoldsTheKey(t *testing.T) {
	k, err := certificate.NewKey()
	if err != nil {
		t.Fatal(err)
	}
	der, err := certificate.NewRequest(k)
	if err != nil {
		t.Fatal(err)
	}
	public, err := certificate.ParseRequest(der)
	if err != nil {
		t.Fatal(err)
	}
	if !k.Public().(interface{ Equal(crypto.PublicKey) bool }).Equal(public) {
		t.Error("it is for another key")
	}
	der[len(der)-1] ^= 1
	if _, err := certificate.ParseRequest(der); err == nil {
		t.Error("a forged signature is accepted")
	}
	if _, err := certificate.ParseRequest(make([]byte, 16<<10+1)); err == nil || !strings.Contains(err.Error(), "larger than 16384 bytes") {
		t.Errorf("got %v", err)
	}
}

func TestAKeyIsNoCertificate(t *testing.T) {
	k, err := certificate.NewKey()
	if err != nil {
		t.Fatal(err)
	}
	b, err := certificate.EncodeKey(k)
	if err != nil || !strings.HasPrefix(string(b), "-----BEGIN PRIVATE KEY-----\n") {
		t.Errorf("got %.40q, %v", b, err)
	}
	if _, err := tls.X509KeyPair(b, b); err == nil {
		t.Error("a key alone is taken for a pair")
	}
}
