package auth

import (
	"context"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"golang.org/x/time/rate"
	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"

	"signalbox/controlplane/replica"
)

// Views is where keys are looked up.
type Views interface {
	// Now returns the newest view, nil before the first, and a channel that
	// is closed when there is a newer one.
	Now() (*replica.View, <-chan struct{})
	// Current returns a view that holds every write answered before the call.
	Current(ctx context.Context) (*replica.View, error)
}

// Keys lets callers in. It is safe for concurrent use.
type Keys struct {
	views  Views
	certs  Certificates
	scopes map[string]string // of every method there is, by its full name
	fresh  *rate.Limiter     // of asking the store about keys that are not known

	refusals *prometheus.CounterVec // of calls, by reason

	mu    sync.Mutex
	calls map[*call]struct{} // the streams that are open
}

// New returns a Keys that looks keys up in views, and takes certificates so. Its interceptors work at
// once; streams are ended when their keys are, as long as Run runs.
func New(views Views, certs Certificates) *Keys {
	return &Keys{views: views, certs: certs, scopes: scopes(), fresh: rate.NewLimiter(freshRate, freshRate), refusals: newRefusals(), calls: map[*call]struct{}{}}
}

// errWho is the answer to everyone who is not let in. It does not tell apart
// a key that is missing, unknown or expired.
var errWho = status.Error(codes.Unauthenticated,
	`a valid API key is needed, sent as "authorization: Bearer KEY" or "x-api-key: KEY"`)

// errTooEarly is the answer while there is nothing to look keys up in.
var errTooEarly = TooEarly("this control plane has not read its keys yet")

// NothingWritten is the reason that an error of UNAVAILABLE or
// RESOURCE_EXHAUSTED gives, in google.rpc.ErrorInfo of domain "signalbox", when
// it is certain that nothing was written. gRPC's own errors of these codes, for
// a connection that broke, give none.
const NothingWritten = "NOTHING_WRITTEN"

// TooEarly is the status of calls that are refused because a control plane is
// starting.
func TooEarly(message string) error {
	st := status.New(codes.Unavailable, message)
	if with, err := st.WithDetails(&errdetails.ErrorInfo{Reason: NothingWritten, Domain: "signalbox"}); err == nil {
		st = with
	}
	return st.Err()
}

// admit returns who a call is from if they may use a method, no one if the
// method needs nobody, or the status to refuse the call with.
func (k *Keys) admit(ctx context.Context, method string) (caller, error) {
	who, why, err := k.judge(ctx, method)
	if err != nil {
		k.refusals.WithLabelValues(why).Inc()
	}
	return who, err
}

// judge is admit, with the reason of a refusal in a word.
func (k *Keys) judge(ctx context.Context, method string) (who caller, why string, err error) {
	if err := k.certs.show(ctx, method); err != nil {
		return caller{}, "no_certificate", err
	}
	if isOpen(method) {
		return caller{}, "", nil
	}
	scope, ok := k.scopes[method]
	if !ok {
		return caller{}, "scope", status.Errorf(codes.PermissionDenied, "%s is refused to everyone: it does not say what it needs", method)
	}
	who, why, err = k.find(ctx)
	if err != nil {
		return caller{}, why, err
	}
	if !Allows(who.key, scope) {
		return caller{}, "scope", denied(scope)
	}
	return who, "", nil
}

// A key that is not known may have been made a moment ago, by another control
// plane, and so may a node's certificate after a revocation. The store is asked
// before they are refused, but strangers cannot make that many questions.
const (
	freshRate    = 50 // a second
	freshTimeout = 2 * time.Second
)

// find returns who a call is from. A secret in its metadata wins over the
// certificate of its connection. why is the reason of a refusal in a word.
func (k *Keys) find(ctx context.Context) (who caller, why string, err error) {
	view, _ := k.views.Now()
	if view == nil {
		return caller{}, "starting", errTooEarly
	}
	md, _ := metadata.FromIncomingContext(ctx)
	secret := presented(md)
	shown, certified := credential{hash: Hash(secret)}, false
	if secret == "" {
		if shown, certified = k.certs.node(ctx); !certified {
			return caller{}, "no_key", errWho
		}
	}
	key, err := shown.in(view)
	if err == nil {
		return caller{key: key, by: shown}, "", nil
	}
	if view := k.current(ctx); view != nil {
		key, err = shown.in(view)
	} else if certified {
		err = errUnsure // a node that is refused would have to get another
	}
	switch {
	case err == nil:
		return caller{key: key, by: shown}, "", nil
	case certified:
		return caller{}, "certificate", err
	}
	return caller{}, "unknown_key", err
}

// errUnsure is the answer to a node's certificate that bears another mark than
// this control plane knows of, while the store cannot say which is newer.
var errUnsure = status.Error(codes.Unavailable, "whether this certificate was revoked cannot be found out now")

// current is a view that holds all that was written, nil if there is none to be
// had.
func (k *Keys) current(ctx context.Context) *replica.View {
	if !k.fresh.Allow() {
		return nil
	}
	ctx, cancel := context.WithTimeout(ctx, freshTimeout)
	defer cancel()
	view, err := k.views.Current(ctx)
	if err != nil {
		return nil
	}
	return view
}
