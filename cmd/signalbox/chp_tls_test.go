package main

import (
	"crypto/tls"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"signalbox/node/certfile/certtest"
)

// pair is a signer with a certificate for servers and one for clients.
func pair(t *testing.T) *certtest.Signer {
	s := certtest.New(t)
	s.Make("server", 2)
	s.Make("client", 3)
	return s
}

// trusting is a client's side of TLS, with a certificate if one is named.
func trusting(t *testing.T, s *certtest.Signer, name string) *tls.Config {
	conf := &tls.Config{RootCAs: s.Pool, ServerName: "localhost", MinVersion: tls.VersionTLS12}
	if name != "" {
		own, err := tls.LoadX509KeyPair(s.File(name+".pem"), s.File(name+".key"))
		if err != nil {
			t.Fatal(err)
		}
		conf.Certificates = []tls.Certificate{own}
	}
	return conf
}

// overTLS asks once over TLS, and returns the status, or what went wrong.
func overTLS(conf *tls.Config, addr, path string) (int, error) {
	client := &http.Client{Transport: &http.Transport{TLSClientConfig: conf, DisableKeepAlives: true}, Timeout: 5 * time.Second}
	req, err := http.NewRequest(http.MethodGet, "https://"+addr+path, nil) //nolint:noctx // it has a timeout
	if err != nil {
		return 0, err
	}
	req.Header.Set("Authorization", "token "+chpToken)
	res, err := client.Do(req)
	if err != nil {
		return 0, err
	}
	defer func() { _ = res.Body.Close() }()
	_, _ = io.Copy(io.Discard, res.Body)
	return res.StatusCode, nil
}

func TestCHPOverTLS(t *testing.T) {
	sign := pair(t)
	files := []string{"--ssl-key", sign.File("server.key"), "--ssl-cert", sign.File("server.pem")}
	t.Run("https, and plain HTTP that is led there", func(t *testing.T) {
		plain := freeAddr(t)
		_, port, _ := net.SplitHostPort(plain)
		s := startCHP(t, asDropIn, append(files, "--redirect-port", port)...)
		if status, err := overTLS(trusting(t, sign, ""), s.public, "/none"); status != http.StatusNotFound {
			t.Error(status, err)
		}
		a := s.send(t, plain, "GET /x?y HTTP/1.1\r\nHost: me.example:80\r\n\r\n", time.Second)
		_, to, _ := net.SplitHostPort(s.public)
		if want := "https://me.example:" + to + "/x?y"; a.status != http.StatusMovedPermanently || a.header.Get("Location") != want {
			t.Errorf("got %d %q, want %q", a.status, a.header.Get("Location"), want)
		}
		s.says(t, "Added HTTP to HTTPS redirection from "+port+" to "+to+"\n")
	})
	t.Run("clients that must have a certificate", func(t *testing.T) {
		s := startCHP(t, asDropIn, append(files, "--ssl-request-cert", "--ssl-ca", sign.File("ca.pem"),
			"--api-ssl-key", sign.File("server.key"), "--api-ssl-cert", sign.File("server.pem"), "--api-ssl-ca", sign.File("ca.pem"), "--api-ssl-request-cert", "--api-ssl-reject-unauthorized")...)
		for addr, path := range map[string]string{s.public: "/none", s.api: "/api/routes"} {
			if status, err := overTLS(trusting(t, sign, ""), addr, path); err == nil {
				t.Errorf("%s without a certificate: %d", path, status)
			}
			if status, err := overTLS(trusting(t, sign, "client"), addr, path); err != nil {
				t.Errorf("%s with one: %d %v", path, status, err)
			}
		}
	})
	t.Run("an encrypted key, and one version", func(t *testing.T) {
		openssl, err := exec.LookPath("openssl")
		if err != nil {
			t.Skip("there is no openssl")
		}
		key := filepath.Join(t.TempDir(), "key")
		if out, err := exec.Command(openssl, "pkcs8", "-topk8", "-in", sign.File("server.key"), "-out", key, "-passout", "pass:sesame").CombinedOutput(); err != nil { //nolint:gosec // in a test
			t.Fatal(err, string(out))
		}
		t.Setenv("CONFIGPROXY_SSL_KEY_PASSPHRASE", "sesame")
		s := startCHP(t, asDropIn, "--ssl-key", key, "--ssl-cert", sign.File("server.pem"), "--ssl-protocol", "TLSv1_2", "--ssl-ciphers", "ECDHE-ECDSA-AES256-GCM-SHA384")
		conn, err := tls.Dial("tcp", s.public, trusting(t, sign, ""))
		if err != nil {
			t.Fatal(err)
		}
		defer func() { _ = conn.Close() }()
		if st := conn.ConnectionState(); st.Version != tls.VersionTLS12 || st.CipherSuite != tls.TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384 {
			t.Errorf("it speaks %x with %x", st.Version, st.CipherSuite)
		}
	})
}

func TestCHPsTargetsOverTLS(t *testing.T) {
	sign := pair(t)
	target := httptest.NewUnstartedServer(chpEcho("T"))
	target.TLS = trusting(t, sign, "server")
	target.TLS.ClientAuth, target.TLS.ClientCAs = tls.VerifyClientCertIfGiven, sign.Pool
	inner := target.Config.Handler
	target.Config.Handler = http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("X-Client", fmt.Sprint(len(r.TLS.PeerCertificates)))
		inner.ServeHTTP(w, r)
	})
	target.StartTLS()
	t.Cleanup(target.Close)
	for _, c := range []struct {
		name   string
		args   []string
		status int
		client string
	}{
		{"nobody is trusted", nil, 503, ""},
		{"anybody is", []string{"--insecure"}, 200, "0"},
		{"the authority is", []string{"--client-ssl-ca", sign.File("ca.pem")}, 200, "0"},
		{"a certificate is shown", []string{"--client-ssl-ca", sign.File("ca.pem"), "--client-ssl-key", sign.File("client.key"), "--client-ssl-cert", sign.File("client.pem"), "--client-ssl-request-cert"}, 200, "1"},
	} {
		t.Run(c.name, func(t *testing.T) {
			s := startCHP(t, asDropIn, append(c.args, "--error-target", target.URL)...)
			s.post(t, "/x", target.URL)
			if a := s.ask(t, "GET /x|Host: pub.example"); a.status != c.status || a.header.Get("X-Client") != c.client {
				t.Errorf("got %d, %q client certificates", a.status, a.header.Get("X-Client"))
			}
			page := "T GET /404"
			if c.status == 503 {
				page = "Not Found"
			}
			if a := s.ask(t, "GET /none"); !strings.HasPrefix(a.body, page) {
				t.Errorf("the error page is %q", a.body)
			}
		})
	}
	t.Run("NODE_EXTRA_CA_CERTS", func(t *testing.T) {
		t.Setenv("NODE_EXTRA_CA_CERTS", sign.File("ca.pem"))
		s := startCHP(t, asDropIn)
		s.post(t, "/x", target.URL)
		if a := s.ask(t, "GET /x"); a.status != 200 {
			t.Errorf("got %d %s", a.status, a.body)
		}
	})
	t.Run("authorities of one's own take the place of NODE_EXTRA_CA_CERTS", func(t *testing.T) {
		t.Setenv("NODE_EXTRA_CA_CERTS", sign.File("ca.pem"))
		s := startCHP(t, asDropIn, "--client-ssl-ca", certtest.New(t).File("ca.pem"))
		s.post(t, "/x", target.URL)
		if a := s.ask(t, "GET /x"); a.status != 503 {
			t.Errorf("got %d %s", a.status, a.body)
		}
	})
}
