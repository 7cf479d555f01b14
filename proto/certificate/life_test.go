package certificate_test

import (
	"crypto/x509"
	"testing"
	"time"

	"signalbox/proto/certificate"
)

func TestTheLifeOfACertificateIsSeenWithoutAClock(t *testing.T) {
	for _, life := range []time.Duration{15 * time.Second, time.Minute, time.Hour, 100 * time.Minute, 24 * time.Hour, 365 * 24 * time.Hour} {
		made := time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
		c := &x509.Certificate{NotBefore: made.Add(-certificate.Early(life)), NotAfter: made.Add(life)}
		if got := certificate.Life(c); (got - life).Abs() > time.Microsecond {
			t.Errorf("one that lives for %s seems to live for %s", life, got)
		}
		if !c.NotBefore.Before(made) {
			t.Errorf("one that lives for %s begins at %s", life, c.NotBefore)
		}
	}
	if got := certificate.Life(&x509.Certificate{NotBefore: time.Now(), NotAfter: time.Now().Add(-time.Hour)}); got != 0 {
		t.Errorf("one that ends before it begins seems to live for %s", got)
	}
}
