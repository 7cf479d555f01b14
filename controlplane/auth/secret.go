package auth

import (
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"strings"

	"google.golang.org/grpc/metadata"

	signalboxv1 "signalbox/proto/gen/signalbox/v1"
	"signalbox/store"
)

// prefix begins every secret made here, so that one that leaked into a log or
// a repository can be found.
const prefix = "sbx_"

// NewSecret returns a secret of 256 random bits, in characters that need no
// quoting anywhere.
func NewSecret() string {
	var b [32]byte
	_, _ = rand.Read(b[:]) // never fails
	return prefix + base64.RawURLEncoding.EncodeToString(b[:])
}

// Hash is what is stored of a secret: its SHA-256. A secret has so many bits
// that nothing slower is needed.
func Hash(secret string) []byte {
	sum := sha256.Sum256([]byte(secret))
	return sum[:]
}

// Record returns the record of a key, and the claim that keeps its secret
// from being another key's too.
func Record(key *signalboxv1.ApiKey, hash []byte) (store.Record, store.Claim) {
	at := store.Key{Kind: store.KindAPIKey, Name: key.GetName()}
	return store.Record{Key: at, Message: &signalboxv1.ApiKeyRecord{Key: key, Hash: hash}},
		store.Claim{Name: ClaimName(hash), Holder: at}
}

// ClaimName is the name that the key with this hash claims.
func ClaimName(hash []byte) string { return "secret/" + hex.EncodeToString(hash) }

// presented returns the secret a call was made with, empty for none. The
// scheme "token" is what clients of configurable-http-proxy send.
func presented(md metadata.MD) string {
	for _, value := range md.Get("authorization") {
		scheme, secret, _ := strings.Cut(strings.TrimSpace(value), " ")
		if strings.EqualFold(scheme, "bearer") || strings.EqualFold(scheme, "token") {
			return strings.TrimSpace(secret)
		}
	}
	for _, value := range md.Get("x-api-key") {
		return strings.TrimSpace(value)
	}
	return ""
}
