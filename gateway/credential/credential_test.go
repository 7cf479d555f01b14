package credential

import (
	"net/http"
	"strings"
	"testing"
)

func TestASecretIsFoundWhereClientsPutIt(t *testing.T) {
	for _, c := range []struct {
		name, header, value string
		want                string
	}{
		{"bearer", "Authorization", "Bearer secret", "secret"},
		{"the scheme's case means nothing", "Authorization", "bEaReR  secret ", "secret"},
		{"CHP token", "Authorization", "token secret", "secret"},
		{"CHP token after more white space", "Authorization", "token \t secret", "secret"},
		{"CHP token anywhere", "Authorization", "foo token secret bar", "secret"},
		{"CHP token after another scheme", "Authorization", "Bearer x token secret", "secret"},
		{"X-API-Key", "X-API-Key", " secret ", "secret"},
		{"upper case Token is not CHP's", "Authorization", "Token secret", ""},
		{"token without white space", "Authorization", "tokensecret", ""},
		{"a scheme alone", "Authorization", "Bearer", ""},
		{"another scheme", "Authorization", "Basic c2VjcmV0", ""},
		{"what gRPC cannot carry", "Authorization", "Bearer s\xe9cret", ""},
		{"an empty key", "X-API-Key", "", ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			got, ok := Secret(http.Header{http.CanonicalHeaderKey(c.header): {c.value}})
			if got != c.want && ok || ok != (c.want != "") {
				t.Errorf("got %q, %v, want %q", got, ok, c.want)
			}
		})
	}
}

func TestAnotherSchemeDoesNotHideTheKey(t *testing.T) {
	h := http.Header{"Authorization": {"Basic x"}, "X-Api-Key": {"secret"}}
	if got, _ := Secret(h); got != "secret" {
		t.Errorf("got %q, want the key of X-API-Key", got)
	}
	h.Set("Authorization", "Bearer first")
	if got, _ := Secret(h); got != "first" {
		t.Errorf("got %q, want the one of Authorization", got)
	}
}

func TestOnlyTheSecretAndARequestIDAreSent(t *testing.T) {
	h := http.Header{
		"Authorization": {"token secret"}, "X-Request-Id": {"r1"},
		"Grpc-Metadata-Admin": {"yes"}, "Cookie": {"a=b"}, "X-Forwarded-For": {"1.2.3.4"},
	}
	md, ok := Metadata(h, "")
	if !ok || len(md) != 2 || md["authorization"][0] != "Bearer secret" || md["x-request-id"][0] != "r1" {
		t.Errorf("got %v, %v", md, ok)
	}
	for _, id := range []string{"", "a\nb", "ü", strings.Repeat("x", maxRequestID+1)} {
		h["X-Request-Id"] = []string{id}
		if md, _ := Metadata(h, ""); len(md) != 1 {
			t.Errorf("request id %q was sent", id)
		}
	}
}

func TestTheFallbackIsUsedOnlyWithoutASecret(t *testing.T) {
	if md, ok := Metadata(http.Header{}, "open"); !ok || md["authorization"][0] != "Bearer open" {
		t.Errorf("got %v, %v", md, ok)
	}
	if md, _ := Metadata(http.Header{"X-Api-Key": {"own"}}, "open"); md["authorization"][0] != "Bearer own" {
		t.Errorf("got %v", md)
	}
	if _, ok := Metadata(http.Header{}, ""); ok {
		t.Error("an empty fallback was taken for a secret")
	}
}
