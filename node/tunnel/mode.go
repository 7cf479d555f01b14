package tunnel

import (
	"context"
	"fmt"
	"log/slog"

	signalboxv1 "signalbox/proto/gen/signalbox/v1"
	"signalbox/proto/tunnelurl"
)

// The modes, in short.
const (
	unknownMode    = signalboxv1.InstanceMode_INSTANCE_MODE_UNSPECIFIED
	singleEnd      = signalboxv1.InstanceMode_INSTANCE_MODE_SINGLE
	serverReceives = signalboxv1.InstanceMode_INSTANCE_MODE_SERVER_RECEIVES
	clientReceives = signalboxv1.InstanceMode_INSTANCE_MODE_CLIENT_RECEIVES
)

// serverMode finds a server's mode: it receives users if it can listen at the
// target, and that is where users come in then; the sockets are nil otherwise.
// What was found before, or given, is not asked again.
func (r *run) serverMode(ctx context.Context) (signalboxv1.InstanceMode, *sockets, error) {
	mode := r.mode
	switch r.url.Mode {
	case 1:
		mode = serverReceives
	case 2:
		mode = clientReceives
	}
	if mode == clientReceives {
		return mode, nil, nil
	}
	at, err := r.bind(ctx, r.url.Targets[0])
	if err == nil {
		return serverReceives, at, nil
	}
	if mode == serverReceives || unresolved(err) || ctx.Err() != nil {
		return mode, nil, err
	}
	r.log.say(slog.LevelInfo, fmt.Sprintf("Users come in at the client, since the target is not free here: %s", reasonOf(err)))
	return clientReceives, nil, nil
}

// clientMode finds a client's mode: it forwards by itself if it can listen at
// the tunnel's address, whose sockets are returned then. Where the address is
// not this machine's, or a server of this node wants it, it has a server; who
// receives users that one says.
func (r *run) clientMode(ctx context.Context) (single bool, at *sockets, err error) {
	if r.url.Mode == 2 || r.mode == serverReceives || r.mode == clientReceives {
		return false, nil, nil
	}
	if r.url.Mode != 1 && r.mode != singleEnd {
		here, err := local(ctx, r.url.Tunnel)
		if err != nil || !here || r.served(r.url.Port()) {
			return false, nil, err
		}
	}
	at, err = r.bind(ctx, r.url.Tunnel)
	if err != nil && r.url.Mode != 1 && r.mode != singleEnd && !unresolved(err) {
		r.log.detail("The tunnel's address is not free here, so there is a server: %s", reasonOf(err))
		return false, nil, nil
	}
	return err == nil, at, err
}

// modeOf is the mode in which an end receives users.
func modeOf(receives tunnelurl.Role) signalboxv1.InstanceMode {
	if receives == tunnelurl.Server {
		return serverReceives
	}
	return clientReceives
}
