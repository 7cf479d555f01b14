package tunnel

import "signalbox/proto/tunnelurl"

// Wires are the generations that this node speaks.
func Wires() map[tunnelurl.Wire]Wire {
	return map[tunnelurl.Wire]Wire{}
}
