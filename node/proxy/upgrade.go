package proxy

import (
	"bytes"
	"context"
	"fmt"
	"net"
	"net/http"
	"strings"

	"signalbox/node/listen"
	"signalbox/node/upstream"
)

// switchProtocols joins the client's connection with the upstream's, which has
// answered 101, until both have ended.
func (x *exchange) switchProtocols(res *http.Response) {
	up, ok := res.Body.(*upstream.Upgraded)
	if !ok || x.asked == "" || !strings.EqualFold(res.Header.Get("Upgrade"), x.asked) {
		_ = res.Body.Close() // it may go on saying what nobody listens to
		x.fail(&failure{status: http.StatusBadGateway, reason: ReasonBadUpgrade, side: SideUpstream,
			err: fmt.Errorf("asked for %q, got %q", x.asked, res.Header.Get("Upgrade"))})
		return
	}
	defer func() { _ = up.Close() }()
	s := &stream{x: x}
	if bad := s.open(up); bad != nil {
		x.fail(bad)
		return
	}
	if !x.front.handler.streams.add(s) {
		x.fail(&failure{status: http.StatusServiceUnavailable, reason: ReasonShutdown, side: SideNode})
		return
	}
	defer x.front.handler.streams.remove(s)
	early, err := s.takeOver(res)
	if err != nil {
		x.fail(&failure{status: statusClientGone, reason: ReasonClientGone, side: SideClient, err: err})
		return
	}
	defer func() { _ = s.client.Close() }()
	x.stream.Store(s)
	if cause := context.Cause(x.ctx); cause != nil {
		s.stop(cause) // by somebody who did not see the stream yet
	}
	s.run(early)
	if f, ok := ended(s.cause()); ok {
		x.failed = &f
		x.front.handler.failures.count(&f)
	}
}

// open gets hold of the upstream's connection.
func (s *stream) open(up *upstream.Upgraded) *failure {
	var err error
	if s.upstream, s.upstreamEarly, err = up.Detach(); err != nil {
		return &failure{status: http.StatusBadGateway, reason: Reason(upstream.ReasonReset), side: SideUpstream, err: err}
	}
	return nil
}

// takeOver gets hold of the client's connection, tells the client that the
// protocol is switched, and returns what it has said in the new one already.
func (s *stream) takeOver(res *http.Response) (early []byte, err error) {
	x := s.x
	conn, buffered, err := http.NewResponseController(x.w).Hijack()
	if err != nil {
		return nil, err
	}
	x.started = true
	seen, _ := buffered.Reader.Peek(buffered.Reader.Buffered()) // no more than there is
	inner, more := listen.Unwrap(conn)
	s.join(inner)
	early = append(bytes.Clone(seen), more...)

	protocol := res.Header.Get("Upgrade")
	cleanResponse(res.Header)
	res.Header["Connection"] = []string{"Upgrade"}
	res.Header["Upgrade"] = []string{protocol}
	var head bytes.Buffer
	head.WriteString("HTTP/1.1 101 Switching Protocols\r\n")
	_ = res.Header.Write(&head) // a buffer takes everything
	head.WriteString("\r\n")
	if _, err := s.client.Write(head.Bytes()); err != nil {
		_ = s.client.Close()
		return nil, err
	}
	x.answered(http.StatusSwitchingProtocols)
	x.touch(true)
	if strings.EqualFold(protocol, webSocket) {
		s.fromClient, s.fromUpstream = &frames{}, &frames{}
	}
	return early, nil
}

// closeWrite ends one direction of a connection, where it can be told apart.
func closeWrite(c net.Conn) {
	if h, ok := c.(interface{ CloseWrite() error }); ok {
		_ = h.CloseWrite() // where it fails the other side knows already
	}
}
