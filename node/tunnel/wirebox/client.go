package wirebox

import (
	"context"

	"signalbox/node/tunnel/link"
	"signalbox/proto/tunnelurl"
)

// Dial makes a session with a server. It tries once, and returns ErrForeign,
// ErrKey or a *RefusedError, wrapped, where the server was reached.
func Dial(ctx context.Context, c link.Config) (link.Session, error) {
	conn, err := c.Dial(ctx)
	if err != nil {
		return nil, err
	}
	secure, welcome, err := asClient(ctx, conn, &c)
	if err != nil {
		_ = conn.Close()
		return nil, err
	}
	x, err := newSession(secure, tunnelurl.Client, roleOf(welcome.GetReceives()))
	if err != nil {
		_ = conn.Close()
		return nil, err
	}
	return x, nil
}
