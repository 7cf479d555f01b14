package tunnel

import (
	"signalbox/node/tunnel/link"
	"signalbox/node/tunnel/wire14"
	"signalbox/node/tunnel/wire4"
	"signalbox/node/tunnel/wirebox"
	"signalbox/proto/tunnelurl"
)

// Wires are the generations that this node speaks.
func Wires() map[tunnelurl.Wire]Wire {
	return map[tunnelurl.Wire]Wire{
		tunnelurl.Signalbox: {Serve: func(c link.Config) Server { return wirebox.NewServer(c) }, Dial: wirebox.Dial},
		tunnelurl.V1_14:     {Serve: func(c link.Config) Server { return wire14.NewServer(c) }, Dial: wire14.Dial},
		tunnelurl.V1_4:      {Serve: func(c link.Config) Server { return wire4.NewServer(c) }, Dial: wire4.Dial},
	}
}
