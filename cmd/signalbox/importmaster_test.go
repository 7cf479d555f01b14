package main

import (
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"signalbox/node/certfile"
)

// A proxy before the master may ask for a user and a password, in the URL.
func TestThePasswordInAMastersURLIsNotShown(t *testing.T) {
	const password = "hush-hush"
	for answer, c := range map[string]struct {
		code int
		body string
	}{
		"something else":  {http.StatusNotFound, ""},
		"no instances":    {http.StatusOK, "<html>"},
		"no body at all":  {http.StatusOK, ""},
		"another address": {http.StatusFound, ""},
	} {
		t.Run("when the master answers "+answer, func(t *testing.T) {
			server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
				w.Header().Set("Location", "/elsewhere")
				w.WriteHeader(c.code)
				_, _ = w.Write([]byte(c.body))
			}))
			defer server.Close()
			old, err := newOldMaster(strings.Replace(server.URL, "://", "://user:"+password+"@", 1), "key", certfile.Client{})
			if err != nil {
				t.Fatal(err)
			}
			if _, err := old.instances(t.Context()); err == nil || strings.Contains(err.Error(), password) {
				t.Errorf("%v", err)
			}
		})
	}
}
