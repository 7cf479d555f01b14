package feed

import (
	"context"
	"errors"
	"sync"
	"sync/atomic"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/backoff"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials"
	healthv1 "google.golang.org/grpc/health/grpc_health_v1"
	"google.golang.org/grpc/status"

	signalboxv1 "signalbox/proto/gen/signalbox/v1"
)

// maxReceive bounds one message of a control plane, in bytes.
const maxReceive = 8 << 20

// window is how much may be under way to us. gRPC would find a size by itself,
// but pings for that with every message, and an update is one.
const window = 4 << 20

// An event is what happened on a stream. Exactly one of the fields beside
// stream is set, or none: then the stream is open and waits for Hello.
type event struct {
	stream  int
	message *signalboxv1.ConnectResponse
	ended   error
}

// An attempt is one try at one stream, from dialing to its end.
type attempt struct {
	number int
	// addr is what is dialed, and host what a certificate must be for.
	addr, host string
	out        *outbox
	cancel     context.CancelCauseFunc
	// heard says that something came since the last probe was due.
	heard atomic.Bool
	// feeds says that the stream was asked to feed, and does. fed is told when
	// the last probe was sent that it answered meanwhile.
	feeds atomic.Bool
	fed   func(time.Time)
	// told is told why the attempt ended, nil if nobody is. Set before it ends.
	told func(error)
	// welcomed says that the control plane answered. The loop's.
	welcomed bool
}

// run dials, and passes on what comes until the stream ends. It returns why.
// Once it has posted that the stream is open, something must be put in the
// outbox: Hello first.
func (a *attempt) run(ctx context.Context, c *Config, ready func() bool, post func(event)) error {
	conn, err := a.dial(c)
	if err != nil {
		return err
	}
	defer func() { _ = conn.Close() }() // there is nothing left to lose
	stream, err := signalboxv1.NewFeedServiceClient(conn).Connect(ctx)
	if err != nil {
		return why(ctx, err)
	}
	post(event{stream: a.number})
	s := &sender{stream: stream, out: a.out, reports: c.Reports(), ready: ready, open: c.Open, heartbeat: c.timing.heartbeat}
	var running sync.WaitGroup
	running.Go(func() { s.run(ctx) })
	running.Go(func() { a.watch(ctx, c.timing, healthv1.NewHealthClient(conn), s) })
	defer running.Wait()
	for {
		m, err := stream.Recv()
		if err != nil {
			err = why(ctx, err)
			a.cancel(err)
			return err
		}
		a.heard.Store(true)
		post(event{stream: a.number, message: m})
	}
}

// dial prepares a connection; the first call on it connects.
func (a *attempt) dial(c *Config) (*grpc.ClientConn, error) {
	var creds credentials.TransportCredentials
	var err error
	if c.Identify != nil {
		creds, a.told = c.Identify(a.host)
	} else if creds, err = transport(c.TLS, c.AllowPlaintext, a.addr, a.host); err != nil {
		return nil, err
	}
	return grpc.NewClient("passthrough:///"+a.addr,
		grpc.WithTransportCredentials(creds),
		grpc.WithPerRPCCredentials(bearer{key: c.Key, plaintext: c.TLS == nil && c.Identify == nil}),
		grpc.WithDefaultCallOptions(grpc.MaxCallRecvMsgSize(maxReceive)),
		grpc.WithStaticStreamWindowSize(window), grpc.WithStaticConnWindowSize(window),
		grpc.WithConnectParams(grpc.ConnectParams{Backoff: backoff.DefaultConfig, MinConnectTimeout: c.timing.connect}),
		grpc.WithNoProxy(), // a control plane is reached directly, whatever the environment says of HTTP
	)
}

// watch ends the stream when the control plane shows no sign of life, or
// takes nothing more of what it is sent.
func (a *attempt) watch(ctx context.Context, t timing, peer healthv1.HealthClient, s *sender) {
	ticker := time.NewTicker(t.probeEvery)
	defer ticker.Stop()
	for {
		select {
		case now := <-ticker.C:
			if s.stuck(now) > t.blocked {
				a.cancel(errBlocked)
				return
			}
		case <-ctx.Done():
			return
		}
		feeds, sent := a.feeds.Load(), time.Now()
		if a.heard.Swap(false) && !feeds {
			continue
		}
		switch answered, alive := ask(ctx, t.probeTimeout, peer); {
		case !alive:
			a.cancel(errFrozen)
			return
		case answered && feeds:
			a.fed(sent)
		}
	}
}

// ask reports whether a peer answers a probe, and whether it is taken for alive:
// any answer will do for that, an error too.
func ask(ctx context.Context, timeout time.Duration, peer healthv1.HealthClient) (answered, alive bool) {
	probe, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	_, err := peer.Check(probe, &healthv1.HealthCheckRequest{})
	return err == nil, err == nil || status.Code(err) != codes.DeadlineExceeded || ctx.Err() != nil
}

// why is the reason why a call ended: ours, if we ended it.
func why(ctx context.Context, err error) error {
	if cause := context.Cause(ctx); cause != nil && !errors.Is(cause, context.Canceled) {
		return cause
	}
	return err
}
