package rest

import (
	"context"
	"fmt"
	"maps"
	"math"
	"net/url"
	"path"
	"slices"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/grpc-ecosystem/grpc-gateway/v2/runtime"
	"github.com/grpc-ecosystem/grpc-gateway/v2/utilities"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"

	"signalbox/gateway/apierror"
	signalboxv1 "signalbox/proto/gen/signalbox/v1"
)

// maxAnswer bounds a control plane's answer, in bytes. A page of routes that
// all carry as much data as they may comes near it.
const maxAnswer = 256 << 20

const (
	// longest bounds a call. A write waits for a minute at most.
	longest = 75 * time.Second
	// prompt bounds a call for one record that waits for no node: a control
	// plane waits for the store no longer than 4 s. One that takes more hangs,
	// and its connection would say so much later.
	prompt = 4500 * time.Millisecond
)

// patience is how long a call may take. Pages and batches may be long.
func patience(method string, msg proto.Message) time.Duration {
	_, batch := msg.(interface{ GetSplit() bool })
	write, writes := msg.(interface{ GetWait() signalboxv1.Wait })
	switch {
	case writes && !batch && write.GetWait() != signalboxv1.Wait_WAIT_NODES:
		return prompt
	case strings.HasPrefix(path.Base(method), "Get"):
		return prompt
	}
	return longest
}

// strictConn is the connection the generated handlers call through. It sees
// each request as a message, which is where the query can be checked.
type strictConn struct{ grpc.ClientConnInterface }

// Invoke completes the request from the query and makes the call.
func (c *strictConn) Invoke(ctx context.Context, method string, args, reply any, opts ...grpc.CallOption) error {
	msg, ok := args.(proto.Message)
	if !ok { // never: all generated requests are messages
		return c.ClientConnInterface.Invoke(ctx, method, args, reply, opts...)
	}
	if err := readQuery(msg, inputOf(ctx).query); err != nil {
		return err
	}
	limited, cancel := context.WithTimeout(ctx, patience(method, msg))
	defer cancel()
	opts = append(slices.Clip(opts), grpc.MaxCallRecvMsgSize(maxAnswer))
	err := c.ClientConnInterface.Invoke(limited, method, msg, reply, opts...)
	if status.Code(err) == codes.DeadlineExceeded && limited.Err() != nil && ctx.Err() == nil {
		return apierror.Late(err)
	}
	return err
}

// readQuery adds the fields given in a query to a request that already has
// those of path and body. What is unknown, given twice or malformed is
// refused by name.
func readQuery(msg proto.Message, raw string) error {
	query, err := url.ParseQuery(raw)
	if err != nil {
		return apierror.Invalid(apierror.Violation{Field: "query", Reason: err.Error()})
	}
	given := map[protoreflect.Name]bool{} // by path or body
	msg.ProtoReflect().Range(func(fd protoreflect.FieldDescriptor, _ protoreflect.Value) bool {
		given[fd.Name()] = true
		return true
	})
	var wrong []apierror.Violation
	seen := map[string]bool{}
	for _, key := range slices.Sorted(maps.Keys(query)) {
		path := fieldPath(msg.ProtoReflect().Descriptor(), key)
		reason := ""
		switch {
		case path == nil:
			reason = "is not a parameter of this call"
		case given[path[0].Name()]:
			reason = "is given in the path or the body already"
		case seen[names(path)]:
			reason = "is given twice"
		default:
			reason = set(msg, path, key, query[key])
		}
		if path != nil {
			seen[names(path)] = true
		}
		if reason != "" {
			wrong = append(wrong, apierror.Violation{Field: strings.ToValidUTF8(key, "\uFFFD"), Reason: reason})
		}
	}
	if wrong != nil {
		return apierror.Invalid(wrong...)
	}
	return nil
}

// fieldPath resolves a parameter such as "match.pathPrefix" or
// "match.path_prefix"; nil when there is no such field.
func fieldPath(md protoreflect.MessageDescriptor, key string) []protoreflect.FieldDescriptor {
	var path []protoreflect.FieldDescriptor
	for name := range strings.SplitSeq(key, ".") {
		if md == nil {
			return nil
		}
		fd := md.Fields().ByTextName(name)
		if fd == nil {
			fd = md.Fields().ByJSONName(name)
		}
		if fd == nil {
			return nil
		}
		path = append(path, fd)
		if md = fd.Message(); fd.IsList() || fd.IsMap() {
			md = nil
		}
	}
	return path
}

// names spells a path in the .proto's names.
func names(path []protoreflect.FieldDescriptor) string {
	all := make([]string, len(path))
	for i, fd := range path {
		all[i] = string(fd.Name())
	}
	return strings.Join(all, ".")
}

// set sets one field, or says what would be right.
func set(msg proto.Message, path []protoreflect.FieldDescriptor, key string, values []string) string {
	fd := path[len(path)-1]
	if len(values) > 1 && !fd.IsList() {
		return "is given twice"
	}
	for i, v := range values {
		if !utf8.ValidString(v) {
			return "must be UTF-8"
		}
		if ed := fd.Enum(); ed != nil {
			values[i] = enumValue(ed, v)
		}
	}
	if err := runtime.PopulateQueryParameters(msg, url.Values{key: values}, utilities.NewDoubleArray(nil)); err != nil {
		return "must be " + expected(fd)
	}
	return ""
}

// enumValue completes the short name of an enum's value: "nodes" of the enum
// Wait is WAIT_NODES. What is not such a name is returned as it is.
func enumValue(ed protoreflect.EnumDescriptor, short string) string {
	for _, full := range []string{strings.ToUpper(short), prefix(ed) + strings.ToUpper(short)} {
		if ed.Values().ByName(protoreflect.Name(full)) != nil {
			return full
		}
	}
	return short
}

// prefix is what all names of an enum's values begin with: its own name in
// upper case with underscores, as buf's lint demands. The value with number 0
// is always called UNSPECIFIED.
func prefix(ed protoreflect.EnumDescriptor) string {
	return strings.TrimSuffix(string(ed.Values().ByNumber(0).Name()), "UNSPECIFIED")
}

// expected describes the values of a field.
func expected(fd protoreflect.FieldDescriptor) string {
	switch fd.Kind() {
	case protoreflect.BoolKind:
		return "true or false"
	case protoreflect.EnumKind:
		var all []string
		for i := 1; i < fd.Enum().Values().Len(); i++ {
			name := strings.TrimPrefix(string(fd.Enum().Values().Get(i).Name()), prefix(fd.Enum()))
			all = append(all, strings.ToLower(name))
		}
		return "one of " + strings.Join(all, ", ")
	case protoreflect.MessageKind:
		switch fd.Message().FullName() {
		case "google.protobuf.Duration":
			return aDuration
		case "google.protobuf.Timestamp":
			return aTime
		}
		return "given in the body"
	case protoreflect.StringKind, protoreflect.BytesKind:
		return "a text"
	}
	return "a whole number " + bounds(fd.Kind())
}

// What fields of these types may hold, by query or body.
const (
	aDuration = `a duration in seconds, as "90s"`
	aTime     = `a time, as "2026-01-31T15:04:05Z"`
)

// bounds are those of a kind of numbers.
func bounds(kind protoreflect.Kind) string {
	switch kind {
	case protoreflect.Int32Kind, protoreflect.Sint32Kind, protoreflect.Sfixed32Kind:
		return fmt.Sprintf("from %d to %d", math.MinInt32, math.MaxInt32)
	case protoreflect.Uint32Kind, protoreflect.Fixed32Kind:
		return fmt.Sprintf("from 0 to %d", uint32(math.MaxUint32))
	case protoreflect.Uint64Kind, protoreflect.Fixed64Kind:
		return fmt.Sprintf("from 0 to %d", uint64(math.MaxUint64))
	}
	return fmt.Sprintf("from %d to %d", math.MinInt64, math.MaxInt64)
}
