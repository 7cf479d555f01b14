package node

import (
	"crypto/tls"
	"net"
	"testing"

	"signalbox/node/certfile"
	"signalbox/node/certfile/certtest"
)

func TestListenerSpeaksTLSToClientsItKnows(t *testing.T) {
	s := certtest.New(t)
	s.Make("server", 2)
	s.Make("client", 3)
	p := newPlane(t, "cp1")
	n := start(t, Config{ControlPlanes: []string{p.addr}, Listeners: map[string]Listener{"public": {
		Addr: "127.0.0.1:0", TLS: certfile.Server{Cert: s.File("server.pem"), Key: s.File("server.key"), ClientCA: s.File("ca.pem")},
	}}})
	shake := func(conf *tls.Config) (tls.ConnectionState, error) {
		conf.RootCAs, conf.ServerName = s.Pool, "localhost"
		c, err := net.Dial("tcp", n.Addr("public"))
		if err != nil {
			t.Fatal(err)
		}
		defer func() { _ = c.Close() }()
		conn := tls.Client(c, conf)
		if err := conn.HandshakeContext(t.Context()); err != nil {
			return tls.ConnectionState{}, err
		}
		// A refused certificate is only told with the first byte read.
		if conn.ConnectionState().NegotiatedProtocol != "h2" { // there the server speaks first
			if _, err := conn.Write([]byte("GET / HTTP/1.1\r\nHost: a\r\n\r\n")); err != nil {
				return tls.ConnectionState{}, err
			}
		}
		_, err = conn.Read(make([]byte, 1))
		return conn.ConnectionState(), err
	}
	if _, err := shake(&tls.Config{}); err == nil {
		t.Error("a client without a certificate is let in")
	}
	state, err := shake(&tls.Config{Certificates: []tls.Certificate{s.Pair("client")}})
	if err != nil || state.PeerCertificates[0].SerialNumber.Int64() != 2 {
		t.Errorf("a client with a certificate gets %v", err)
	}
	state, err = shake(&tls.Config{Certificates: []tls.Certificate{s.Pair("client")}, NextProtos: []string{"h2"}})
	if err != nil || state.NegotiatedProtocol != "h2" {
		t.Errorf("negotiated is %q, %v; want h2", state.NegotiatedProtocol, err)
	}
}
