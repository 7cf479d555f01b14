package listen

import (
	"context"
	"crypto/tls"
	"errors"
	"io"
	"net"
	"strings"
	"time"
)

// pressedHandshake is how long a handshake may take when few more are allowed,
// so that clients who never finish theirs cannot keep the others out.
const pressedHandshake = time.Second

// start starts the accept loop, once. It reports whether l is open.
func (l *Listener) start() bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.cancel == nil && !l.closed {
		ctx, cancel := context.WithCancel(context.Background())
		l.cancel = cancel
		l.work.Go(func() { l.acceptTLS(ctx) })
	}
	return !l.closed
}

// acceptTLS accepts connections and starts their handshakes until ctx ends.
func (l *Listener) acceptTLS(ctx context.Context) {
	slots := make(chan struct{}, l.cfg.MaxHandshakes)
	for {
		select {
		case slots <- struct{}{}:
		case <-ctx.Done():
			return
		}
		c, err := l.inner.Accept()
		if err != nil {
			<-slots
			l.hand(ctx, accepted{err: err})
			continue
		}
		timeout := l.cfg.HandshakeTimeout
		if len(slots) > l.cfg.MaxHandshakes*3/4 {
			timeout = min(timeout, pressedHandshake)
		}
		l.work.Go(func() {
			defer func() { <-slots }()
			l.handshake(ctx, c, timeout)
		})
	}
}

// handshake does c's handshake and hands c to Accept, or closes it.
func (l *Listener) handshake(ctx context.Context, c net.Conn, timeout time.Duration) {
	tc := tls.Server(c, l.cfg.TLS)
	hctx, cancel := context.WithTimeout(ctx, timeout)
	err := tc.HandshakeContext(hctx)
	cancel()
	if err != nil {
		l.failed.Add(1)
		l.cfg.Log.Debug("TLS handshake failed", "addr", c.RemoteAddr().String(), "err", err)
		answerCleartext(err)
		_ = c.Close()
		return
	}
	if !l.hand(ctx, accepted{conn: l.checkTLS(tc)}) {
		_ = c.Close()
	}
}

// hand gives a to Accept. It reports false if ctx ended first.
func (l *Listener) hand(ctx context.Context, a accepted) bool {
	select {
	case l.ready <- a:
		return true
	case <-ctx.Done():
		return false
	}
}

// answerCleartext tells a client that speaks HTTP where TLS is spoken so, as
// net/http does. err is that of the handshake.
func answerCleartext(err error) {
	var re tls.RecordHeaderError
	if !errors.As(err, &re) || re.Conn == nil {
		return
	}
	switch start := string(re.RecordHeader[:]); {
	case strings.HasPrefix(start, "GET /"), strings.HasPrefix(start, "HEAD "),
		strings.HasPrefix(start, "POST "), strings.HasPrefix(start, "PUT /"), strings.HasPrefix(start, "OPTIO"):
		_ = re.Conn.SetWriteDeadline(time.Now().Add(lingerTime))
		_, _ = io.WriteString(re.Conn, "HTTP/1.0 400 Bad Request\r\nConnection: close\r\n\r\nClient sent an HTTP request to an HTTPS server.\n")
		linger(re.Conn)
	}
}
