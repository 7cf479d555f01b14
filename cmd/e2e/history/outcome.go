package history

import (
	"strings"

	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
)

// Of returns how a call ended by the error it ended with, as the API of
// RouteService promises it:
//
//   - NOT_FOUND, ALREADY_EXISTS and ABORTED are said on a state that holds
//     every write answered before, and then nothing is written. ABORTED of a
//     call that asked for no revision, or for none to be there, says only that
//     others kept writing.
//   - INVALID_ARGUMENT, UNAUTHENTICATED, PERMISSION_DENIED, UNIMPLEMENTED and
//     FAILED_PRECONDITION are said before anything is sent to the store.
//   - Of UNAVAILABLE and RESOURCE_EXHAUSTED the control plane says with
//     google.rpc.ErrorInfo whether it is certain: NOTHING_WRITTEN. Without it
//     the answer may be gRPC's own, for a connection that broke on the way
//     back; only that there was none to send by is certain too.
//   - DEADLINE_EXCEEDED and CANCELED are the client's own clock and will: the
//     call may still be under way.
//   - INTERNAL and the rest: nobody knows.
func Of(call Call, err error) Outcome {
	switch status.Code(err) {
	case codes.OK:
		return Done
	case codes.NotFound:
		return Absent
	case codes.AlreadyExists:
		if call.Expected != 0 {
			return Refused // another route has the match
		}
		return Exists
	case codes.Aborted:
		if call.Expected <= 0 {
			return Refused
		}
		return Moved
	case codes.InvalidArgument, codes.Unauthenticated, codes.PermissionDenied, codes.Unimplemented, codes.FailedPrecondition:
		return Refused
	case codes.Unavailable, codes.ResourceExhausted:
		if reason(err) == "NOTHING_WRITTEN" || strings.Contains(status.Convert(err).Message(), "transport: Error while dialing") {
			return Refused
		}
	}
	return Unknown
}

// reason is the one a control plane gives with an error, empty for none.
func reason(err error) string {
	for _, d := range status.Convert(err).Details() {
		if info, ok := d.(*errdetails.ErrorInfo); ok && info.GetDomain() == "signalbox" {
			return info.GetReason()
		}
	}
	return ""
}
