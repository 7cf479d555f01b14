package feed

import (
	"errors"
	"fmt"
)

// Why a stream is ended by the node.
var (
	errProtocol   = errors.New("the control plane broke the protocol: one Welcome comes first, and names its sender")
	errNotAsked   = errors.New("the control plane feeds without having been asked")
	errCannotFeed = errors.New("the control plane cannot feed, and another can")
	errFrozen     = errors.New("the control plane does not answer")
	errBlocked    = errors.New("the control plane takes nothing more")
	errRenewed    = errors.New("it was opened with what the node was known by before")
)

// A ReplacedError says that a process with the same node name and a higher
// epoch is known to a control plane: this one is not the node any more.
type ReplacedError struct {
	// Node is the name both have.
	Node string
	// Reason is what the control plane said.
	Reason string
}

func (e *ReplacedError) Error() string {
	return fmt.Sprintf("another process joined as node %q after this one was started; "+
		"give one of them another id, or set this machine's clock: %s", e.Node, e.Reason)
}

// A duplicateError says that another stream ends at the same replica.
type duplicateError struct{ Replica string }

func (e *duplicateError) Error() string {
	return fmt.Sprintf("another stream ends at control plane %q already", e.Replica)
}

// A faultError says that a control plane's updates cannot be used.
type faultError struct{ err error }

func (e *faultError) Error() string {
	return "the control plane sends what cannot be used: " + e.err.Error()
}
func (e *faultError) Unwrap() error { return e.err }
