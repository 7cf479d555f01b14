package tunnelurl

import (
	"fmt"
	"hash/fnv"
	"strconv"
)

// Secret is the key that both ends must have: the one given, or what the wire's
// generation makes of the tunnel's port. That one is no secret at all: it
// protects from accidents only.
func (u URL) Secret(w Wire) string {
	if u.Key != "" {
		return u.Key
	}
	if w == V1_14 {
		sum := fnv.New32a()
		_, _ = sum.Write([]byte(u.Port())) // never fails
		return fmt.Sprintf("%08x", sum.Sum32())
	}
	n, _ := strconv.ParseUint(u.Port(), 10, 16) // Parse has seen that it is one
	return strconv.FormatUint(n, 16)
}
