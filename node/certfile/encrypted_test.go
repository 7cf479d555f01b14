package certfile

import (
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"signalbox/node/certfile/certtest"
)

func TestEncryptedKeysAreRead(t *testing.T) {
	openssl, err := exec.LookPath("openssl")
	if err != nil {
		t.Skip("there is no openssl to encrypt keys with")
	}
	s := certtest.New(t)
	s.Make("server", 2)
	for name, args := range map[string][]string{
		"PKCS#8 as openssl makes it":  {"pkcs8", "-topk8"},
		"PKCS#8 with AES-128":         {"pkcs8", "-topk8", "-v2", "aes-128-cbc"},
		"PKCS#8 with 3DES":            {"pkcs8", "-topk8", "-v2", "des3"},
		"PKCS#8 with SHA-512":         {"pkcs8", "-topk8", "-v2", "aes-256-cbc", "-v2prf", "hmacWithSHA512"},
		"PKCS#8 with SHA-1":           {"pkcs8", "-topk8", "-v2", "aes-192-cbc", "-v2prf", "hmacWithSHA1"},
		"the older form, with AES":    {"ec", "-aes256"},
		"the older form, with 3DES":   {"ec", "-des3"},
		"not encrypted, all the same": {"pkcs8", "-topk8", "-nocrypt"},
	} {
		t.Run(name, func(t *testing.T) {
			to := filepath.Join(t.TempDir(), "key.pem")
			args := append(args, "-in", s.File("server.key"), "-out", to, "-passout", "pass:correct horse")
			if out, err := exec.Command(openssl, args...).CombinedOutput(); err != nil {
				t.Fatalf("openssl: %v %s", err, out)
			}
			if _, err := loadPair(s.File("server.pem"), to, "correct horse"); err != nil {
				t.Error(err)
			}
			if strings.HasPrefix(name, "not") {
				return
			}
			if _, err := loadPair(s.File("server.pem"), to, "battery staple"); err == nil || strings.Contains(err.Error(), "battery") {
				t.Errorf("a wrong passphrase: %v", err)
			}
			if _, err := loadPair(s.File("server.pem"), to, ""); err == nil {
				t.Error("no passphrase was enough")
			}
		})
	}
}

func FuzzDecryptingKeysDoesNotPanic(f *testing.F) {
	f.Add([]byte{0x30, 0x00})
	f.Fuzz(func(_ *testing.T, der []byte) { _, _ = decryptPKCS8(der, "x") })
}
