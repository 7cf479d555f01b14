// Package meter reads what processes use: CPU time to the nanosecond, and
// memory. It needs Linux.
package meter

import "errors"

// ErrSystem says that this is not Linux.
var ErrSystem = errors.New("the use of CPU and memory by processes can be read on Linux only")
