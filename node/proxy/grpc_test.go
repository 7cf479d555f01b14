package proxy_test

import (
	"context"
	"crypto/tls"
	"errors"
	"io"
	"net"
	"sync"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/credentials/insecure"
	testpb "google.golang.org/grpc/interop/grpc_testing"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"

	"signalbox/node/listen"
	"signalbox/node/upstream"
)

// service is a gRPC upstream.
type service struct {
	testpb.UnimplementedTestServiceServer
	cancelled chan struct{} // gets one for every call that was cancelled
}

// UnaryCall answers with as many bytes as it got, or refuses.
func (s *service) UnaryCall(ctx context.Context, in *testpb.SimpleRequest) (*testpb.SimpleResponse, error) {
	if st := in.GetResponseStatus(); st.GetCode() != 0 {
		return nil, status.Error(codes.Code(st.GetCode()), st.GetMessage())
	}
	if in.GetFillUsername() { // which here means: never
		<-ctx.Done()
		s.cancelled <- struct{}{}
		return nil, ctx.Err()
	}
	_ = grpc.SetTrailer(ctx, metadata.Pairs("x-trailer", "1"))
	return &testpb.SimpleResponse{Payload: in.GetPayload()}, nil
}

// FullDuplexCall echoes.
func (s *service) FullDuplexCall(stream testpb.TestService_FullDuplexCallServer) error {
	for {
		in, err := stream.Recv()
		if errors.Is(err, io.EOF) {
			stream.SetTrailer(metadata.Pairs("x-trailer", "2"))
			return nil
		}
		if err != nil {
			return err
		}
		if err := stream.Send(&testpb.StreamingOutputCallResponse{Payload: in.GetPayload()}); err != nil {
			return err
		}
	}
}

// serve starts the service with or without TLS.
func (s *service) serve(t *testing.T, opts ...grpc.ServerOption) string {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	srv := grpc.NewServer(opts...)
	testpb.RegisterTestServiceServer(srv, s)
	var served sync.WaitGroup
	served.Go(func() { _ = srv.Serve(ln) }) // until it is stopped
	t.Cleanup(func() { srv.Stop(); served.Wait() })
	return ln.Addr().String()
}

// call returns a client of the service through the node.
func call(t *testing.T, n *node, creds credentials.TransportCredentials) testpb.TestServiceClient {
	t.Helper()
	conn, err := grpc.NewClient("passthrough:///"+n.addr, grpc.WithTransportCredentials(creds))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = conn.Close() })
	return testpb.NewTestServiceClient(conn)
}

func TestGRPCPassesBothWays(t *testing.T) {
	cert, roots := selfSigned(t)
	s := &service{cancelled: make(chan struct{}, 1)}
	upstreams := map[string]string{
		"h2c": "h2c://" + s.serve(t),
		"TLS": "https://" + s.serve(t, grpc.Creds(credentials.NewServerTLSFromCert(&cert))),
	}
	trusting := upstream.Config{TLS: &tls.Config{RootCAs: roots}}
	fronts := map[string]struct {
		cfg   listen.Config
		creds credentials.TransportCredentials
	}{
		"cleartext": {listen.Config{}, insecure.NewCredentials()},
		"TLS": {
			listen.Config{TLS: &tls.Config{Certificates: []tls.Certificate{cert}, NextProtos: []string{"h2", "http/1.1"}}},
			credentials.NewTLS(&tls.Config{RootCAs: roots, ServerName: "127.0.0.1"}),
		},
	}
	for up, url := range upstreams {
		for front, f := range fronts {
			t.Run(front+" to "+up, func(t *testing.T) {
				n := start(t, trusting, f.cfg)
				n.route("/", url)
				exercise(t, n, call(t, n, f.creds), s)
			})
		}
	}
}

// exercise makes calls of every kind.
func exercise(t *testing.T, n *node, c testpb.TestServiceClient, s *service) {
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	payload := &testpb.Payload{Body: make([]byte, 300<<10)}
	var trailer metadata.MD
	out, err := c.UnaryCall(ctx, &testpb.SimpleRequest{Payload: payload}, grpc.Trailer(&trailer))
	if err != nil || len(out.GetPayload().GetBody()) != 300<<10 || len(trailer["x-trailer"]) != 1 {
		t.Errorf("unary: %d bytes, trailer %v, %v", len(out.GetPayload().GetBody()), trailer, err)
	}
	_, err = c.UnaryCall(ctx, &testpb.SimpleRequest{ResponseStatus: &testpb.EchoStatus{Code: 7, Message: "nein, größer"}})
	if st := status.Convert(err); st.Code() != codes.PermissionDenied || st.Message() != "nein, größer" {
		t.Errorf("an error: %v", err)
	}
	soon, stop := context.WithTimeout(ctx, 50*time.Millisecond)
	defer stop()
	if _, err := c.UnaryCall(soon, &testpb.SimpleRequest{FillUsername: true}); status.Code(err) != codes.DeadlineExceeded {
		t.Errorf("a deadline: %v", err)
	}
	select {
	case <-s.cancelled:
	case <-ctx.Done():
		t.Error("the upstream does not hear of a call's end")
	}
	stream, err := c.FullDuplexCall(ctx)
	if err != nil {
		t.Fatal(err)
	}
	for i := range 20 {
		if i == 10 {
			n.route("/other", "http://127.0.0.1:1")
		}
		if err := stream.Send(&testpb.StreamingOutputCallRequest{Payload: &testpb.Payload{Body: []byte{byte(i)}}}); err != nil {
			t.Fatal(err)
		}
		back, err := stream.Recv()
		if err != nil || back.GetPayload().GetBody()[0] != byte(i) {
			t.Fatalf("message %d: %v, %v", i, back, err)
		}
	}
	if err := stream.CloseSend(); err != nil {
		t.Error(err)
	}
	if _, err := stream.Recv(); !errors.Is(err, io.EOF) || len(stream.Trailer()["x-trailer"]) != 1 {
		t.Errorf("at the end: %v, trailer %v", err, stream.Trailer())
	}
}

func TestGRPCLearnsThatTheUpstreamIsDown(t *testing.T) {
	n := plain(t)
	n.route("/", "h2c://127.0.0.1:1")
	_, err := call(t, n, insecure.NewCredentials()).UnaryCall(t.Context(), &testpb.SimpleRequest{})
	if st := status.Convert(err); st.Code() != codes.Unavailable || st.Message() != "the server behind this address did not answer as it should (dial_refused)" {
		t.Errorf("got %v", err)
	}
}
