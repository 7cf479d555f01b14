package certfile

import (
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"os"
	"sync"
	"time"
)

// lookAgain is how long a certificate is used without looking whether its
// files have changed.
const lookAgain = time.Second

// A certificate is read from files, and again when they change. While what is
// there cannot be used, the last that could be is.
type certificate struct {
	certFile, keyFile string
	// passphrase is of the key; empty if it is not encrypted.
	passphrase string
	// failed, if set, is told of files that cannot be used.
	failed func(error)

	mu     sync.Mutex // guards what follows
	pair   *tls.Certificate
	stamp  string // of the files when they were read
	looked time.Time
}

// get returns the certificate; an error only if there never was one.
func (c *certificate) get() (*tls.Certificate, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.pair != nil && time.Since(c.looked) < lookAgain {
		return c.pair, nil
	}
	c.looked = time.Now()
	stamp := stampOf(c.certFile) + stampOf(c.keyFile)
	if c.pair != nil && stamp == c.stamp {
		return c.pair, nil
	}
	c.stamp = stamp
	pair, err := loadPair(c.certFile, c.keyFile, c.passphrase)
	if err != nil && c.pair == nil {
		return nil, err
	}
	if err != nil {
		if c.failed != nil {
			c.failed(err)
		}
		return c.pair, nil
	}
	c.pair = &pair
	return c.pair, nil
}

// A trust is a TLS configuration that asks clients for certificates signed by
// those in some files, which are read again when one changes.
type trust struct {
	caFiles []string
	base    *tls.Config
	failed  func(error)

	mu     sync.Mutex // guards what follows
	conf   *tls.Config
	stamp  string
	looked time.Time
}

// get returns the configuration; an error only if there never was one.
func (t *trust) get() (*tls.Config, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.conf != nil && time.Since(t.looked) < lookAgain {
		return t.conf, nil
	}
	t.looked = time.Now()
	var stamp string
	for _, file := range t.caFiles {
		stamp += stampOf(file)
	}
	if t.conf != nil && stamp == t.stamp {
		return t.conf, nil
	}
	t.stamp = stamp
	pool, err := readPool(t.caFiles...)
	if err != nil && t.conf == nil {
		return nil, err
	}
	if err != nil {
		if t.failed != nil {
			t.failed(err)
		}
		return t.conf, nil
	}
	t.conf = t.base.Clone()
	t.conf.ClientCAs = pool
	return t.conf, nil
}

// stampOf changes when a file does.
func stampOf(file string) string {
	info, err := os.Stat(file)
	if err != nil {
		return err.Error()
	}
	return fmt.Sprint(info.ModTime().UnixNano(), " ", info.Size(), ";")
}

// readPool reads certificates to trust: those of all files.
func readPool(files ...string) (*x509.CertPool, error) {
	pool := x509.NewCertPool()
	for _, file := range files {
		pem, err := os.ReadFile(file)
		if err != nil {
			return nil, err
		}
		if !pool.AppendCertsFromPEM(pem) {
			return nil, fmt.Errorf("%s: no certificate in PEM form is in it", file)
		}
	}
	return pool, nil
}
