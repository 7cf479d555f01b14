// Package rest is the JSON API under /v1: the handlers generated from the
// .proto files, made strict.
//
// Bodies and answers are the messages of the .proto files as proto3 JSON:
// field names in lowerCamelCase as in the OpenAPI description (the .proto's own
// names are understood too), 64-bit numbers as strings, times as RFC 3339,
// durations as "5s". In answers, lists are always there, and so are numbers,
// texts and switches that are zero: `jq '.routes[]'` and `.result.nodesServing`
// need no guard. Messages that are absent are absent.
//
// Beyond what is generated:
//
//   - every field of a request can be given in the query as well, so that
//     wait, wait_timeout, validate_only and expected_revision need no body;
//     names of values are understood in any case and without their prefix, as
//     in "wait=nodes", and so they are for what a body says of itself, as in
//     {"wait": "nodes"} and {"action": "restart"};
//   - what is not understood is refused and named: unknown fields and
//     parameters, fields given twice, text that is not UTF-8, too long bodies;
//   - a body that names another record than the path does is refused;
//   - a wrong method is 405 with Allow, and HEAD is understood where GET is;
//   - errors have the one shape of package apierror.
package rest

import (
	"context"
	"errors"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"unicode/utf8"

	"github.com/grpc-ecosystem/grpc-gateway/v2/runtime"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/encoding/protojson"

	"signalbox/gateway/apierror"
	"signalbox/gateway/credential"
	signalboxv1 "signalbox/proto/gen/signalbox/v1"
)

// Config is what an API can be told.
type Config struct {
	// MaxBody bounds a request's body, in bytes. Longer ones are refused with
	// 413. It must be given.
	MaxBody int64
	// Log hears of failures that are not the client's. It must be given.
	Log *slog.Logger
}

// API serves everything under /v1 but the events.
type API struct {
	mux       *runtime.ServeMux
	cfg       Config
	instances signalboxv1.InstanceServiceClient
	// open ends with Close.
	open  context.Context //nolint:containedctx // what responses without an end live by
	close context.CancelFunc
}

// New returns the API over the services that conn reaches.
func New(conn grpc.ClientConnInterface, cfg Config) (*API, error) {
	mux := runtime.NewServeMux(
		// The path is decoded exactly once, by net/http.
		runtime.WithUnescapingMode(runtime.UnescapingModeLegacy),
		// A form must not become another method.
		runtime.WithDisableHTTPMethodOverride(),
		runtime.WithDisablePathLengthFallback(),
		runtime.WithMarshalerOption(runtime.MIMEWildcard, newJSON()),
		runtime.WithIncomingHeaderMatcher(none),
		runtime.WithOutgoingHeaderMatcher(none),
		runtime.WithMetadata(caller),
		runtime.WithMiddlewares(answerProbes, noteName),
		runtime.WithErrorHandler(errorHandler(cfg.Log)),
		runtime.WithRoutingErrorHandler(writeRoutingError),
	)
	a := &API{mux: mux, cfg: cfg, instances: signalboxv1.NewInstanceServiceClient(conn)}
	a.open, a.close = context.WithCancel(context.Background())
	over := &strictConn{ClientConnInterface: conn}
	ctx := context.Background() // the generated functions do not use it
	err := errors.Join(
		signalboxv1.RegisterRouteServiceHandlerClient(ctx, mux, signalboxv1.NewRouteServiceClient(over)),
		signalboxv1.RegisterListenerServiceHandlerClient(ctx, mux, signalboxv1.NewListenerServiceClient(over)),
		signalboxv1.RegisterNodeServiceHandlerClient(ctx, mux, signalboxv1.NewNodeServiceClient(over)),
		signalboxv1.RegisterCertificateServiceHandlerClient(ctx, mux, signalboxv1.NewCertificateServiceClient(over)),
		signalboxv1.RegisterInstanceServiceHandlerClient(ctx, mux, signalboxv1.NewInstanceServiceClient(over)),
		signalboxv1.RegisterApiKeyServiceHandlerClient(ctx, mux, signalboxv1.NewApiKeyServiceClient(over)),
	)
	return a, errors.Join(err, mux.HandlePath(http.MethodGet, logsPath, a.logs)) // the newer handler of a path is taken
}

// Close ends the responses that would not end by themselves.
func (a *API) Close() { a.close() }

// ServeHTTP answers one request. Only the method, the path, the query, the
// body and the key of it reach the generated handlers.
func (a *API) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if !utf8.ValidString(r.URL.Path) {
		apierror.Write(w, status.Error(codes.InvalidArgument, "the path is not UTF-8 once its percent escapes are decoded"))
		return
	}
	// A request without a key is refused before anything of it is read.
	md, ok := credential.Metadata(r.Header, "")
	if !ok {
		apierror.Write(w, NoCredentials())
		return
	}
	in := &input{md: md, query: r.URL.RawQuery, head: r.Method == http.MethodHead}
	inner := r.WithContext(context.WithValue(r.Context(), inputKey{}, in))
	inner.Header, inner.Host, inner.RemoteAddr = http.Header{}, "", ""
	inner.URL.RawQuery = "" // strictConn reads it, for all calls alike
	inner.Body = &body{from: http.MaxBytesReader(w, r.Body, a.cfg.MaxBody), in: in}
	if r.Method == http.MethodHead {
		inner.Method = http.MethodGet // net/http leaves the body out
	}
	w.Header().Set("Cache-Control", "no-store")
	w.Header().Set("X-Content-Type-Options", "nosniff")
	a.mux.ServeHTTP(w, inner)
}

// NoCredentials is the error for a request without a key.
func NoCredentials() error {
	return status.Error(codes.Unauthenticated,
		`an API key is required, as "Authorization: Bearer KEY" or "X-API-Key: KEY"`)
}

// input is what one request brings beside its body.
type input struct {
	md    metadata.MD // of the calls made for it
	query string      // as it was sent
	head  bool        // whether it was a HEAD, which is handled as a GET
	name  string      // that the path has for what the body describes; empty if it has none
	fault error       // why the body was refused; the generated handlers only keep its text
}

type inputKey struct{}

// inputOf returns the input of the request that ctx belongs to, never nil.
func inputOf(ctx context.Context) *input {
	if in, ok := ctx.Value(inputKey{}).(*input); ok {
		return in
	}
	return &input{}
}

// caller says in whose name the generated handlers call.
func caller(ctx context.Context, _ *http.Request) metadata.MD { return inputOf(ctx).md }

// none forwards no header, in either direction.
func none(string) (string, bool) { return "", false }

func newJSON() runtime.Marshaler {
	return &strictJSON{JSONPb: runtime.JSONPb{
		MarshalOptions: protojson.MarshalOptions{EmitDefaultValues: true},
	}}
}

// errorHandler answers with the error of a call, or of reading its request.
func errorHandler(log *slog.Logger) runtime.ErrorHandlerFunc {
	return func(ctx context.Context, _ *runtime.ServeMux, _ runtime.Marshaler, w http.ResponseWriter, _ *http.Request, err error) {
		if fault := inputOf(ctx).fault; fault != nil {
			err = fault
		}
		if apierror.Ours(err) {
			log.Warn("request not served", "err", err)
		}
		apierror.Write(w, err)
	}
}

// writeRoutingError answers requests for which there is no handler.
func writeRoutingError(_ context.Context, mux *runtime.ServeMux, _ runtime.Marshaler, w http.ResponseWriter, r *http.Request, code int) {
	if _, ok := r.Context().Value(probeKey{}).(*bool); ok {
		return // the probe has its answer: no
	}
	if code != http.StatusMethodNotAllowed {
		apierror.Write(w, status.Error(codes.NotFound, "there is nothing at this path; /openapi.json says what there is"))
		return
	}
	allow := methods(mux, r)
	w.Header().Set("Allow", allow)
	apierror.Write(w, apierror.New(code, codes.Unimplemented, "the method must be one of "+allow))
}

type probeKey struct{}

// answerProbes keeps probes from the handlers; all else goes through.
func answerProbes(next runtime.HandlerFunc) runtime.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request, params map[string]string) {
		if hit, ok := r.Context().Value(probeKey{}).(*bool); ok {
			*hit = true
			return
		}
		next(w, r, params)
	}
}

// noteName keeps the name of a record that the path has and the body may
// repeat, as "route.name" of PUT /v1/routes/{route.name}, and "name" of
// PATCH /v1/instances/{name}.
func noteName(next runtime.HandlerFunc) runtime.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request, params map[string]string) {
		for param, value := range params {
			if param == "name" || strings.HasSuffix(param, ".name") {
				inputOf(r.Context()).name = value
			}
		}
		next(w, r, params)
	}
}

// methods lists what the path of r can be asked with, by asking the mux.
func methods(mux *runtime.ServeMux, r *http.Request) string {
	var found []string
	for _, m := range []string{http.MethodDelete, http.MethodGet, http.MethodPatch, http.MethodPost, http.MethodPut} {
		var hit bool
		probe := r.WithContext(context.WithValue(r.Context(), probeKey{}, &hit))
		probe.Method = m
		mux.ServeHTTP(httptest.NewRecorder(), probe)
		switch {
		case hit && m == http.MethodGet:
			found = append(found, m, http.MethodHead)
		case hit:
			found = append(found, m)
		}
	}
	return strings.Join(found, ", ")
}
