package wirebox

import (
	"context"
	"errors"
	"time"

	"github.com/hashicorp/yamux"

	"signalbox/node/tunnel/link"
	signalboxv1 "signalbox/proto/gen/signalbox/v1"
)

// beginnings bounds the streams that are being opened at a moment; more wait.
const beginnings = 64

// begin opens a stream and asks for it. The mux waits, for the peer to know
// streams that were opened before and for the connection to take bytes, and
// knows no context, so it waits on its own.
func (s *session) begin(ctx context.Context, ask *signalboxv1.TunnelOpen) (*yamux.Stream, error) {
	select {
	case s.begins <- struct{}{}:
	case <-s.ctx.Done():
		return nil, s.why(nil)
	case <-ctx.Done():
		return nil, context.Cause(ctx)
	}
	result := make(chan begun)
	s.run(func() {
		defer func() { <-s.begins }()
		raw, err := s.mux.OpenStream()
		if err == nil {
			err = writeMessage(raw, ask)
		}
		select {
		case result <- begun{raw, err}:
			return
		case <-ctx.Done():
		case <-s.ctx.Done():
		}
		s.abandon(raw)
	})
	select {
	case b := <-result:
		if b.err != nil {
			s.run(func() { s.abandon(b.raw) })
		}
		return b.raw, b.err
	case <-s.ctx.Done():
		return nil, s.why(nil)
	case <-ctx.Done():
		return nil, context.Cause(ctx)
	}
}

// A begun stream is one that was asked for, or nil where that failed early.
type begun struct {
	raw *yamux.Stream
	err error
}

// abandon closes a stream that nobody wants, if there is one.
func (s *session) abandon(raw *yamux.Stream) {
	if raw != nil {
		(&half{session: s, raw: raw}).close()
	}
}

// Open implements [link.Carrier].
func (s *session) Open(ctx context.Context, kind link.Kind, user string) (link.Stream, error) {
	raw, err := s.begin(ctx, &signalboxv1.TunnelOpen{Udp: kind == link.UDP, User: user})
	if err != nil {
		return nil, s.why(err)
	}
	stream := newStream(s, raw, kind)
	answer := new(signalboxv1.TunnelAnswer)
	stop := context.AfterFunc(ctx, func() { _ = raw.SetDeadline(time.Unix(1, 0)) })
	err = readMessage(raw, answer)
	switch {
	case !stop():
		err = context.Cause(ctx)
	case err != nil:
		err = s.why(err)
	case answer.GetError() != "":
		err = errors.New("the other end: " + answer.GetError())
	default:
		return stream, nil
	}
	s.run(func() { _ = stream.Close() }) // which can wait for the connection
	return nil, err
}
