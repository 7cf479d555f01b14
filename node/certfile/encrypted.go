package certfile

import (
	"crypto/aes"
	"crypto/cipher"
	"crypto/des"
	"crypto/pbkdf2"
	"crypto/sha1"
	"crypto/sha256"
	"crypto/sha512"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/asn1"
	"encoding/pem"
	"errors"
	"fmt"
	"hash"
	"os"
)

// loadPair reads a certificate and its key, which may be encrypted: as PKCS#8
// (RFC 5958, section 3) with PBES2, as openssl does it, or in the older form
// of PEM (RFC 1421).
func loadPair(certFile, keyFile, passphrase string) (tls.Certificate, error) {
	cert, err := os.ReadFile(certFile) //nolint:gosec // the operator's own files
	if err != nil {
		return tls.Certificate{}, err
	}
	key, err := os.ReadFile(keyFile) //nolint:gosec // the same
	if err != nil {
		return tls.Certificate{}, err
	}
	if key, err = decrypted(key, passphrase); err != nil {
		return tls.Certificate{}, fmt.Errorf("%s: %w", keyFile, err)
	}
	return tls.X509KeyPair(cert, key)
}

var (
	errNoPassphrase    = errors.New("the key is encrypted, and no passphrase is given")
	errWrongPassphrase = errors.New("the key cannot be decrypted: the passphrase is wrong, or the file is damaged")
)

// decrypted returns the blocks of a PEM file with their keys in the clear.
func decrypted(text []byte, passphrase string) ([]byte, error) {
	var out []byte
	for rest := text; ; {
		var block *pem.Block
		if block, rest = pem.Decode(rest); block == nil {
			break
		}
		legacy := x509.IsEncryptedPEMBlock(block) //nolint:staticcheck // such keys exist
		switch {
		case !legacy && block.Type != "ENCRYPTED PRIVATE KEY":
		case passphrase == "":
			return nil, errNoPassphrase
		case legacy:
			der, err := x509.DecryptPEMBlock(block, []byte(passphrase)) //nolint:staticcheck // the same
			if err != nil {
				return nil, errWrongPassphrase
			}
			block = &pem.Block{Type: block.Type, Bytes: der}
		default:
			der, err := decryptPKCS8(block.Bytes, passphrase)
			if err != nil {
				return nil, err
			}
			block = &pem.Block{Type: "PRIVATE KEY", Bytes: der}
		}
		out = append(out, pem.EncodeToMemory(block)...)
	}
	if out == nil {
		return text, nil // not PEM: tls says so better
	}
	return out, nil
}

// The parts of an encrypted key (RFC 5958, section 3; RFC 8018, appendix A).
type (
	encryptedKey struct {
		Algorithm pkix.AlgorithmIdentifier
		Data      []byte
	}
	pbes2 struct {
		Derivation, Encryption pkix.AlgorithmIdentifier
	}
	pbkdf2Params struct {
		Salt       []byte
		Iterations int
		KeyLength  int                      `asn1:"optional"`
		PRF        pkix.AlgorithmIdentifier `asn1:"optional"`
	}
)

const (
	oidPBES2  = "1.2.840.113549.1.5.13"
	oidPBKDF2 = "1.2.840.113549.1.5.12"
	// maxIterations bounds the work that a file can ask for.
	maxIterations = 10_000_000
)

// prfs are the hashes a key can be derived with; the first is what is meant
// where none is named.
var prfs = map[string]func() hash.Hash{
	"":                    sha1.New,
	"1.2.840.113549.2.7":  sha1.New,
	"1.2.840.113549.2.9":  sha256.New,
	"1.2.840.113549.2.10": sha512.New384,
	"1.2.840.113549.2.11": sha512.New,
}

// blockCipher is one a key can be encrypted with, in CBC mode.
type blockCipher struct {
	size int // of its key, in bytes
	make func([]byte) (cipher.Block, error)
}

var blockCiphers = map[string]blockCipher{
	"2.16.840.1.101.3.4.1.2":  {16, aes.NewCipher},
	"2.16.840.1.101.3.4.1.22": {24, aes.NewCipher},
	"2.16.840.1.101.3.4.1.42": {32, aes.NewCipher},
	"1.2.840.113549.3.7":      {24, des.NewTripleDESCipher},
}

// decryptPKCS8 returns the key in an encrypted one.
func decryptPKCS8(der []byte, passphrase string) ([]byte, error) {
	var key encryptedKey
	var scheme pbes2
	var params pbkdf2Params
	var iv []byte
	if _, err := asn1.Unmarshal(der, &key); err != nil {
		return nil, fmt.Errorf("an encrypted key that cannot be read: %w", err)
	}
	if key.Algorithm.Algorithm.String() != oidPBES2 {
		return nil, errors.New("a key encrypted in a way other than PBES2: convert it with openssl pkcs8 -topk8 -v2 aes256")
	}
	if _, err := asn1.Unmarshal(key.Algorithm.Parameters.FullBytes, &scheme); err != nil {
		return nil, fmt.Errorf("an encrypted key that cannot be read: %w", err)
	}
	kind, known := blockCiphers[scheme.Encryption.Algorithm.String()]
	if scheme.Derivation.Algorithm.String() != oidPBKDF2 || !known {
		return nil, errors.New("a key encrypted in a way other than PBKDF2 with AES or 3DES: convert it with openssl pkcs8 -topk8 -v2 aes256")
	}
	if _, err := asn1.Unmarshal(scheme.Derivation.Parameters.FullBytes, &params); err != nil {
		return nil, fmt.Errorf("an encrypted key that cannot be read: %w", err)
	}
	if _, err := asn1.Unmarshal(scheme.Encryption.Parameters.FullBytes, &iv); err != nil {
		return nil, fmt.Errorf("an encrypted key that cannot be read: %w", err)
	}
	prf, known := prfs[params.PRF.Algorithm.String()]
	if !known || params.Iterations < 1 || params.Iterations > maxIterations {
		return nil, errors.New("an encrypted key whose derivation is not supported")
	}
	secret, err := pbkdf2.Key(prf, passphrase, params.Salt, params.Iterations, kind.size)
	if err != nil {
		return nil, err
	}
	block, err := kind.make(secret)
	if err != nil {
		return nil, err
	}
	n := block.BlockSize()
	if len(iv) != n || len(key.Data) == 0 || len(key.Data)%n != 0 {
		return nil, errWrongPassphrase
	}
	plain := make([]byte, len(key.Data))
	cipher.NewCBCDecrypter(block, iv).CryptBlocks(plain, key.Data)
	pad := int(plain[len(plain)-1])
	if pad < 1 || pad > n {
		return nil, errWrongPassphrase
	}
	plain = plain[:len(plain)-pad]
	if _, err := x509.ParsePKCS8PrivateKey(plain); err != nil {
		return nil, errWrongPassphrase
	}
	return plain, nil
}
