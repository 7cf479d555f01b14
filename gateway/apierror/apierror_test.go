package apierror

import (
	"errors"
	"net/http"
	"net/http/httptest"
	"testing"
	"time"

	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/types/known/durationpb"
)

func TestEveryCodeHasItsStatus(t *testing.T) {
	for c, want := range map[codes.Code]int{
		codes.Canceled: 499, codes.Unknown: 500, codes.InvalidArgument: 400, codes.DeadlineExceeded: 504,
		codes.NotFound: 404, codes.AlreadyExists: 409, codes.PermissionDenied: 403, codes.ResourceExhausted: 429,
		codes.FailedPrecondition: 400, codes.Aborted: 409, codes.OutOfRange: 400, codes.Unimplemented: 501,
		codes.Internal: 500, codes.Unavailable: 503, codes.DataLoss: 500, codes.Unauthenticated: 401, codes.Code(99): 500,
	} {
		if got := HTTPStatus(status.Error(c, "")); got != want {
			t.Errorf("%v: got %d, want %d", c, got, want)
		}
	}
}

func TestAnswersAreWhole(t *testing.T) {
	later, err := status.New(codes.ResourceExhausted, "slow down").WithDetails(
		&errdetails.RetryInfo{RetryDelay: durationpb.New(2500 * time.Millisecond)})
	if err != nil {
		t.Fatal(err)
	}
	certain, err := status.New(codes.Unavailable, "no quorum").WithDetails(&errdetails.ErrorInfo{Reason: "NOTHING_WRITTEN", Domain: "signalbox"})
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		name   string
		err    error
		code   int
		header map[string]string
		body   string
	}{
		{"an error without fields", status.Error(codes.NotFound, `route "a" does not exist`), 404, nil,
			`{"error":{"code":404,"status":"NOT_FOUND","message":"route \"a\" does not exist"}}`},
		{"an error that blames fields", Invalid(Violation{"route.name", "is empty"}, Violation{"wait", "is odd"}), 400, nil,
			`{"error":{"code":400,"status":"INVALID_ARGUMENT","message":"route.name: is empty; wait: is odd",` +
				`"details":[{"field":"route.name","reason":"is empty"},{"field":"wait","reason":"is odd"}]}}`},
		{"an error with a status of its own", New(http.StatusRequestEntityTooLarge, codes.InvalidArgument, "too long"), 413, nil,
			`{"error":{"code":413,"status":"INVALID_ARGUMENT","message":"too long"}}`},
		{"no credentials", status.Error(codes.Unauthenticated, "who?"), 401, map[string]string{"Www-Authenticate": `Bearer realm="signalbox"`},
			`{"error":{"code":401,"status":"UNAUTHENTICATED","message":"who?"}}`},
		{"nobody there", status.Error(codes.Unavailable, "no quorum"), 503, map[string]string{"Retry-After": "1"},
			`{"error":{"code":503,"status":"UNAVAILABLE","message":"no quorum"}}`},
		{"too many", later.Err(), 429, map[string]string{"Retry-After": "3"},
			`{"error":{"code":429,"status":"RESOURCE_EXHAUSTED","message":"slow down"}}`},
		{"what a connection's failure says of us", status.Error(codes.Unavailable, `connection error: desc = "transport: Error while dialing: dial tcp 10.0.0.1:1: connect: connection refused"`), 503,
			map[string]string{"Retry-After": "1"}, `{"error":{"code":503,"status":"UNAVAILABLE","message":"no control plane was reached; try again","reason":"NOTHING_WRITTEN"}}`},
		{"a control plane that has lost its store", status.Error(codes.Unavailable, "pickfirst: health check failure: connection active but health check failed. status=NOT_SERVING"), 503,
			map[string]string{"Retry-After": "1"}, `{"error":{"code":503,"status":"UNAVAILABLE","message":"no control plane that was reached has touch with its store; try again","reason":"NOTHING_WRITTEN"}}`},
		{"a connection that broke on the way", status.Error(codes.Unavailable, "error reading from server: read tcp 10.0.0.1:2->10.0.0.1:1: connection reset by peer"), 503,
			map[string]string{"Retry-After": "1"}, `{"error":{"code":503,"status":"UNAVAILABLE","message":"the connection to the control plane broke, and it is not known whether this was done; try again","reason":"MAYBE_WRITTEN"}}`},
		{"a write that certainly was not made", certain.Err(), 503, map[string]string{"Retry-After": "1"},
			`{"error":{"code":503,"status":"UNAVAILABLE","message":"no quorum","reason":"NOTHING_WRITTEN"}}`},
		{"no connection in time", status.Error(codes.DeadlineExceeded, "context deadline exceeded while waiting for connections to become ready"), 504,
			nil, `{"error":{"code":504,"status":"DEADLINE_EXCEEDED","message":"no control plane was reached; try again","reason":"NOTHING_WRITTEN"}}`},
		{"a control plane that does not answer", Late(status.Error(codes.DeadlineExceeded, "context deadline exceeded")), 503, map[string]string{"Retry-After": "1"},
			`{"error":{"code":503,"status":"UNAVAILABLE","message":"the control plane does not answer, and it is not known whether this was done; try again","reason":"MAYBE_WRITTEN"}}`},
		{"a message that gRPC finds too large", status.Error(codes.ResourceExhausted, "grpc: received message larger than max (9 vs. 4)"), 413, map[string]string{"Retry-After": "1"},
			`{"error":{"code":413,"status":"RESOURCE_EXHAUSTED","message":"grpc: received message larger than max (9 vs. 4)"}}`},
		{"an error that is no status", errors.New("odd"), 500, nil,
			`{"error":{"code":500,"status":"UNKNOWN","message":"odd"}}`},
	} {
		t.Run(c.name, func(t *testing.T) {
			w := httptest.NewRecorder()
			Write(w, c.err)
			if w.Code != c.code || w.Body.String() != c.body+"\n" || w.Header().Get("Content-Type") != "application/json" {
				t.Errorf("got %d %v %s", w.Code, w.Header(), w.Body)
			}
			for _, k := range []string{"Www-Authenticate", "Retry-After"} {
				if got := w.Header().Get(k); got != c.header[k] {
					t.Errorf("%s: got %q, want %q", k, got, c.header[k])
				}
			}
		})
	}
}
