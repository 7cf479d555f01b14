package proxy_test

import (
	"encoding/pem"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	signalboxv1 "signalbox/proto/gen/signalbox/v1"
)

// Whose certificate is taken is said of each upstream by itself, also of two
// that are the same server.
func TestHowACertificateIsCheckedIsTheUpstreamsOwn(t *testing.T) {
	server := httptest.NewTLSServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { _, _ = fmt.Fprint(w, r.TLS.ServerName) }))
	t.Cleanup(server.Close)
	ca := string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: server.Certificate().Raw}))
	n := plain(t)
	for path, c := range map[string]struct {
		tls    *signalboxv1.UpstreamTls
		status int
		body   string
	}{
		"/default":  {nil, 502, "tls_handshake"},
		"/insecure": {&signalboxv1.UpstreamTls{Insecure: true}, 200, ""},
		"/ca":       {&signalboxv1.UpstreamTls{Ca: ca}, 200, ""},
		"/name":     {&signalboxv1.UpstreamTls{Ca: ca, ServerName: "example.com"}, 200, "example.com"},
		"/other":    {&signalboxv1.UpstreamTls{Ca: ca, ServerName: "example.org"}, 502, "tls_handshake"},
	} {
		rec := n.record(path, server.URL)
		rec.Upstreams[0].Tls = c.tls
		n.put(rec)
		if a, body := n.get(path); a.StatusCode != c.status || !strings.Contains(body, c.body) {
			t.Errorf("%s: got %v %q", path, a, body)
		}
	}
	// A route written anew goes by what it says now.
	rec := n.record("/insecure", server.URL)
	n.put(rec)
	if a, _ := n.get("/insecure"); a.StatusCode != 502 {
		t.Errorf("once it is not insecure any more: got %v", a)
	}
}
