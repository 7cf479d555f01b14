package identity

import (
	"context"
	"crypto/tls"
	"net"
	"time"

	"google.golang.org/grpc/credentials"
)

// revealing is TLS whose errors say why the other side ended it. In TLS 1.3 a
// client's certificate is refused only after its handshake is over (RFC 8446,
// section 4.4.2.4), when a write may fail before the alert is read.
type revealing struct {
	credentials.TransportCredentials
}

func newRevealing(conf *tls.Config) credentials.TransportCredentials {
	return revealing{credentials.NewTLS(conf)}
}

// ClientHandshake implements credentials.TransportCredentials.
func (r revealing) ClientHandshake(ctx context.Context, authority string, raw net.Conn) (net.Conn, credentials.AuthInfo, error) {
	conn, info, err := r.TransportCredentials.ClientHandshake(ctx, authority, raw)
	if err != nil {
		return nil, nil, err
	}
	return &revealed{conn}, info, nil
}

// Clone implements credentials.TransportCredentials.
func (r revealing) Clone() credentials.TransportCredentials {
	return revealing{r.TransportCredentials.Clone()}
}

// A revealed connection looks for an alert when it cannot be written to.
type revealed struct{ net.Conn }

// alertTimeout bounds the wait for an alert, which has come if it ever will.
const alertTimeout = 100 * time.Millisecond

func (c *revealed) Write(b []byte) (int, error) {
	n, err := c.Conn.Write(b)
	if err == nil {
		return n, nil
	}
	_ = c.SetReadDeadline(time.Now().Add(alertTimeout)) // nothing follows a failed write
	if _, why := c.Read(make([]byte, 1)); refuses(why) {
		return n, why
	}
	return n, err
}
