package main

import (
	"context"
	"encoding/pem"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"google.golang.org/grpc"
	grpchealth "google.golang.org/grpc/health"
	healthv1 "google.golang.org/grpc/health/grpc_health_v1"

	"signalbox/node/certfile"
)

func TestAPartSaysWhetherItIsWell(t *testing.T) {
	page := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path != "/readyz" {
			http.Error(w, "not ready: it has no table", http.StatusServiceUnavailable)
		}
	})
	plain, secure := httptest.NewServer(page), httptest.NewTLSServer(page)
	t.Cleanup(plain.Close)
	t.Cleanup(secure.Close)
	ca := file(t, string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: secure.Certificate().Raw})))

	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	states, server := grpchealth.NewServer(), grpc.NewServer()
	healthv1.RegisterHealthServer(server, states)
	go func() { _ = server.Serve(ln) }()
	t.Cleanup(server.Stop)

	for name, c := range map[string]struct {
		url, says string
		files     certfile.Client
		serves    bool
	}{
		"a page that is there":                    {url: plain.URL},
		"a page that says no":                     {url: plain.URL + "/table", says: "it has no table"},
		"a page over TLS":                         {url: secure.URL, files: certfile.Client{CA: ca}},
		"a page whose certificate nobody knows":   {url: secure.URL, says: "unknown authority"},
		"a page whose certificate is for another": {url: secure.URL, files: certfile.Client{CA: ca, ServerName: "elsewhere"}, says: "elsewhere"},
		"gRPC that serves":                        {url: "grpc://" + ln.Addr().String(), serves: true},
		"gRPC that does not":                      {url: "grpc://" + ln.Addr().String(), says: "NOT_SERVING"},
		"nobody":                                  {url: "http://127.0.0.1:1", says: "refused"},
		"nobody, over gRPC":                       {url: "grpc://127.0.0.1:1", says: "refused"},
		"a URL that is none":                      {url: "127.0.0.1:8001", says: "must be as"},
		"a URL for something else":                {url: "ftp://127.0.0.1", says: "must begin with"},
	} {
		t.Run(name, func(t *testing.T) {
			status := healthv1.HealthCheckResponse_NOT_SERVING
			if c.serves {
				status = healthv1.HealthCheckResponse_SERVING
			}
			states.SetServingStatus("", status)
			ctx, cancel := context.WithTimeout(t.Context(), 5*time.Second)
			defer cancel()
			_, err := askHealth(ctx, c.url, c.files)
			if c.says == "" && err != nil || c.says != "" && (err == nil || !strings.Contains(err.Error(), c.says)) {
				t.Errorf("it says %v, want %q", err, c.says)
			}
		})
	}
}

func TestAContainerKnowsWhereItsProcessCanBeAsked(t *testing.T) {
	for line, want := range map[string]string{
		"up":                                  "http://127.0.0.1:8001",
		"up --api-listen 0.0.0.0:81":          "http://127.0.0.1:81",
		"up --api-listen off":                 "",
		"controlplane --data-dir d":           "http://127.0.0.1:8001",
		"controlplane --api-tls-cert c":       "",
		"gateway --api-listen :9":             "http://127.0.0.1:9",
		"node":                                "",
		"node --admin-listen 127.0.0.1:8009":  "http://127.0.0.1:8009",
		"etcd --data-dir d":                   "http://127.0.0.1:2379",
		"etcd --listen-client https://[::]:1": "",
		"nodes list":                          "",
		"chp":                                 "http://127.0.0.1:8000/_chp_healthz",
		"chp --ip=::1 --port 9":               "http://[::1]:9/_chp_healthz",
		"chp --ssl-key k --ssl-cert c":        "",
		"chp --socket /s":                     "",
		"nonsense":                            "",
		"nodepass master://:9090?tls=0":       "http://127.0.0.1:9090",
		"nodepass master://:9090?tls=1":       "",
		"nodepass client://:9090/127.0.0.1:1": "",
		"up --no-such-flag":                   "",
	} {
		if got := ownURL(append([]string{"/signalbox"}, strings.Fields(line)...)); got != want {
			t.Errorf("%s is asked at %q, want %q", line, got, want)
		}
	}
	if got := ownURL([]string{"/signalbox"}); got != "" {
		t.Errorf("nothing is asked at %q", got)
	}
	if got := ownURL([]string{"/usr/bin/configurable-http-proxy", "--port=9"}); got != "http://127.0.0.1:9/_chp_healthz" {
		t.Errorf("a drop-in is asked at %q", got)
	}
	t.Setenv("SIGNALBOX_API_LISTEN", "127.0.0.1:7")
	if got := ownURL([]string{"/signalbox", "up"}); got != "http://127.0.0.1:7" {
		t.Errorf("the environment's address is asked at %q", got)
	}
}
