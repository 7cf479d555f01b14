package tunnel

import (
	"signalbox/node/tunnel/link"
	"signalbox/node/tunnel/wire4"
	"signalbox/proto/tunnelurl"
)

// Wires are the generations that this node speaks.
func Wires() map[tunnelurl.Wire]Wire {
	return map[tunnelurl.Wire]Wire{
		tunnelurl.V1_4: {Serve: func(c link.Config) Server { return wire4.NewServer(c) }, Dial: wire4.Dial},
	}
}
