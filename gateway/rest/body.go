package rest

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"reflect"
	"regexp"
	"strconv"
	"strings"
	"unicode/utf8"

	"github.com/grpc-ecosystem/grpc-gateway/v2/runtime"
	"google.golang.org/grpc/codes"
	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"

	"signalbox/gateway/apierror"
)

// body is a request's body, and where to leave the reason for refusing it.
type body struct {
	from io.ReadCloser
	in   *input
}

func (b *body) Read(p []byte) (int, error) { return b.from.Read(p) }
func (b *body) Close() error               { return b.from.Close() }

// strictJSON reads and writes messages as JSON.
type strictJSON struct{ runtime.JSONPb }

// Marshal ends answers with a line break, as terminals like it.
func (j *strictJSON) Marshal(v any) ([]byte, error) {
	out, err := j.JSONPb.Marshal(v)
	return append(out, '\n'), err
}

// NewDecoder returns a decoder for one request's body.
func (j *strictJSON) NewDecoder(r io.Reader) runtime.Decoder {
	return runtime.DecoderFunc(func(v any) error {
		err := decode(r, v)
		if b, ok := r.(*body); ok {
			if err == nil {
				err = sameName(v, b.in.name)
			}
			b.in.fault = err
		}
		return err
	})
}

// decode reads one message and nothing after it. No body at all is an empty
// message.
func decode(r io.Reader, v any) error {
	data, err := io.ReadAll(r)
	var long *http.MaxBytesError
	switch {
	case errors.As(err, &long):
		return apierror.New(http.StatusRequestEntityTooLarge, codes.InvalidArgument,
			fmt.Sprintf("the body is longer than %d bytes", long.Limit))
	case err != nil:
		return apierror.Invalid(apierror.Violation{Field: "body", Reason: "could not be read: " + err.Error()})
	case len(bytes.TrimSpace(data)) == 0:
		return nil
	case !utf8.Valid(data):
		return apierror.Invalid(apierror.Violation{Field: "body", Reason: "must be UTF-8"})
	}
	msg, err := target(v)
	if err != nil {
		return err
	}
	data = expand(msg.ProtoReflect().Descriptor(), data)
	if err := protojson.Unmarshal(data, msg); err != nil {
		return apierror.Invalid(explain(data, err))
	}
	return nil
}

// sameName refuses a record that names itself otherwise than the path does,
// which would be written over the other's name.
func sameName(v any, path string) error {
	if path == "" {
		return nil
	}
	msg, err := target(v)
	if err != nil {
		return err
	}
	m := msg.ProtoReflect()
	fd := m.Descriptor().Fields().ByName("name")
	if fd == nil || !m.Has(fd) || m.Get(fd).String() == path {
		return nil
	}
	return apierror.Invalid(apierror.Violation{Field: "name", Reason: fmt.Sprintf("must be %q, as in the path, or be left out", path)})
}

// target returns the message to decode into: v, or what v points to, made if
// need be, when only one field of the request is the body.
func target(v any) (proto.Message, error) {
	if msg, ok := v.(proto.Message); ok {
		return msg, nil
	}
	if p := reflect.ValueOf(v); p.Kind() == reflect.Pointer && p.Elem().Kind() == reflect.Pointer {
		if p.Elem().IsNil() {
			p.Elem().Set(reflect.New(p.Type().Elem().Elem()))
		}
		if msg, ok := p.Elem().Interface().(proto.Message); ok {
			return msg, nil
		}
	}
	return nil, fmt.Errorf("%T cannot be read from JSON", v)
}

// expand completes short names in a message's own fields that are one of named
// values, so that `"wait": "nodes"` is understood. Whatever it does not
// understand it leaves to those who then refuse it.
func expand(md protoreflect.MessageDescriptor, data []byte) []byte {
	var whole []byte
	done := 0 // of data, as far as it is in whole
	dec := json.NewDecoder(bytes.NewReader(data))
	if t, err := dec.Token(); err != nil || t != json.Delim('{') {
		return data
	}
	for dec.More() {
		var value json.RawMessage
		t, err := dec.Token()
		if err != nil || dec.Decode(&value) != nil {
			return data
		}
		key, _ := t.(string)
		var short string
		fd := enumField(md, key)
		if fd == nil || json.Unmarshal(value, &short) != nil {
			continue
		}
		end := int(dec.InputOffset())
		whole = append(whole, data[done:end-len(value)]...)
		whole = strconv.AppendQuote(whole, enumValue(fd.Enum(), short))
		done = end
	}
	return append(whole, data[done:]...)
}

// enumField returns the field of that name if it is one named value, else nil.
func enumField(md protoreflect.MessageDescriptor, key string) protoreflect.FieldDescriptor {
	fd := md.Fields().ByJSONName(key)
	if fd == nil {
		fd = md.Fields().ByTextName(key)
	}
	if fd == nil || fd.Enum() == nil || fd.IsList() || fd.IsMap() {
		return nil
	}
	return fd
}

// position is how protojson begins its errors. It varies the white space on
// purpose, lest anyone compare the text.
var position = regexp.MustCompile(`^proto:[\s\x{a0}]*(?:syntax error )?\(line (\d+):(\d+)\):[\s\x{a0}]*(.*)$`)

// explain says where in a body the error is: the path to the value, as
// "route.upstreams[0].url".
func explain(data []byte, err error) apierror.Violation {
	m := position.FindStringSubmatch(err.Error())
	if m == nil && strings.HasSuffix(err.Error(), io.ErrUnexpectedEOF.Error()) {
		return apierror.Violation{Field: "body", Reason: "must be JSON, and ends in the middle of it"}
	}
	if m == nil {
		return apierror.Violation{Field: "body", Reason: strings.TrimLeft(strings.TrimPrefix(err.Error(), "proto:"), " \u00a0")}
	}
	line, _ := strconv.Atoi(m[1])
	column, _ := strconv.Atoi(m[2])
	reason := m[3]
	switch {
	case strings.Contains(reason, "invalid google.protobuf.Duration"):
		reason = "must be " + aDuration
	case strings.Contains(reason, "invalid google.protobuf.Timestamp"):
		reason = "must be " + aTime
	}
	path := pathAt(data, offset(data, line, column))
	if path == "" {
		return apierror.Violation{Field: "body", Reason: fmt.Sprintf("line %d, column %d: %s", line, column, reason)}
	}
	return apierror.Violation{Field: path, Reason: reason}
}

// offset turns a line and a column, both from 1, the column in runes, into an
// offset in bytes.
func offset(data []byte, line, column int) int {
	at := 0
	for ; line > 1; line-- {
		i := bytes.IndexByte(data[at:], '\n')
		if i < 0 {
			return len(data)
		}
		at += i + 1
	}
	for ; column > 1 && at < len(data); column-- {
		_, n := utf8.DecodeRune(data[at:])
		at += n
	}
	return at
}

// pathAt returns the path to the token at an offset of a JSON text; empty if
// that is no value's and no name's place.
func pathAt(data []byte, at int) string {
	dec := json.NewDecoder(bytes.NewReader(data))
	type level struct {
		array bool
		index int    // of an array's next value
		name  string // of an object's present member
		value bool   // the next token of an object is a value
	}
	var stack []level
	spell := func() string {
		var b strings.Builder
		for _, l := range stack {
			switch {
			case l.array:
				fmt.Fprintf(&b, "[%d]", l.index)
			case l.name != "":
				b.WriteString("." + l.name)
			}
		}
		return strings.TrimPrefix(b.String(), ".")
	}
	for {
		t, err := dec.Token()
		if err != nil {
			return ""
		}
		top := len(stack) - 1
		name, isText := t.(string)
		isName := isText && top >= 0 && !stack[top].array && !stack[top].value
		if isName {
			stack[top].name, stack[top].value = name, true
		}
		if int(dec.InputOffset()) > at {
			return spell()
		}
		switch {
		case isName:
			continue
		case t == json.Delim('{'), t == json.Delim('['):
			stack = append(stack, level{array: t == json.Delim('[')})
			continue
		case t == json.Delim('}'), t == json.Delim(']'):
			stack = stack[:top]
		}
		if top = len(stack) - 1; top >= 0 { // a value has ended
			stack[top].index++
			stack[top].value = false
		}
	}
}
