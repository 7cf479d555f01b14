package listen

import (
	"fmt"
	"net/http"
)

// A Reason says which rule a client broke. Reasons are stable: they may be
// counted, logged and matched on.
type Reason string

// The reasons a request head is refused for. The status is 400 where no other
// is named.
const (
	ReasonBadRequestLine      Reason = "bad_request_line"            // not three parts, or more than one empty line before it
	ReasonBadMethod           Reason = "bad_method"                  // not a token
	ReasonMethodTooLong       Reason = "method_too_long"             // 405
	ReasonMethodRefused       Reason = "method_refused"              // 405: CONNECT, TRACE
	ReasonBadVersion          Reason = "bad_version"                 // not HTTP/digit.digit
	ReasonUnsupportedVersion  Reason = "unsupported_version"         // 505: neither 1.0 nor 1.1
	ReasonBadTarget           Reason = "bad_target"                  // neither path, http(s) URI nor "OPTIONS *"; bytes outside ASCII
	ReasonSpaceInTarget       Reason = "space_in_target"             // RFC 9112, section 3.2
	ReasonFragmentInTarget    Reason = "fragment_in_target"          // no form of target has a "#"
	ReasonBadEscape           Reason = "bad_escape"                  // "%" without two hex digits in the path
	ReasonHeadTooLarge        Reason = "head_too_large"              // 431
	ReasonBareLF              Reason = "bare_lf"                     // a line that does not end in CRLF
	ReasonBareCR              Reason = "bare_cr"                     // a CR that ends no line
	ReasonObsFold             Reason = "obs_fold"                    // a header line that starts with white space
	ReasonMissingColon        Reason = "missing_colon"               //
	ReasonSpaceBeforeColon    Reason = "space_before_colon"          // RFC 9112, section 5.1
	ReasonBadHeaderName       Reason = "bad_header_name"             // not a token
	ReasonBadHeaderValue      Reason = "bad_header_value"            // NUL or another control character
	ReasonMissingHost         Reason = "missing_host"                // HTTP/1.1 without Host
	ReasonDuplicateHost       Reason = "duplicate_host"              //
	ReasonBadHost             Reason = "bad_host"                    // not host[:port]
	ReasonBadContentLength    Reason = "bad_content_length"          // not a decimal number
	ReasonDuplicateLength     Reason = "duplicate_content_length"    // equal ones too
	ReasonLengthAndEncoding   Reason = "length_and_encoding"         // Content-Length beside Transfer-Encoding
	ReasonUnknownEncoding     Reason = "unknown_transfer_encoding"   // 501
	ReasonBadEncoding         Reason = "bad_transfer_encoding"       // known codings, but not exactly "chunked"
	ReasonEncodingInHTTP10    Reason = "transfer_encoding_in_http10" // HTTP/1.0 has no transfer codings
	ReasonBadTrailerAnnounced Reason = "bad_trailer_announced"       // Trailer names a field that frames or routes
	ReasonUnknownExpectation  Reason = "unknown_expectation"         // 417: Expect other than 100-continue
)

// The reasons a request body is refused for, beside those for header lines,
// which hold for trailer lines too.
const (
	ReasonBadChunkSize     Reason = "bad_chunk_size"      // not 1 to 15 hex digits, then CRLF or an extension
	ReasonBadChunkExt      Reason = "bad_chunk_extension" // control characters
	ReasonChunkLineTooLong Reason = "chunk_line_too_long" // mostly an extension's fault
	ReasonBadChunkEnd      Reason = "bad_chunk_end"       // chunk data not followed by CRLF
	ReasonBadTrailer       Reason = "bad_trailer"         // a trailer field that frames or routes
	ReasonTrailerTooLarge  Reason = "trailer_too_large"   //
)

// status is what a head refused for this reason is answered with.
func (r Reason) status() int {
	switch r {
	case ReasonMethodTooLong, ReasonMethodRefused:
		return http.StatusMethodNotAllowed
	case ReasonUnsupportedVersion:
		return http.StatusHTTPVersionNotSupported
	case ReasonHeadTooLarge:
		return http.StatusRequestHeaderFieldsTooLarge
	case ReasonUnknownExpectation:
		return http.StatusExpectationFailed
	case ReasonUnknownEncoding:
		return http.StatusNotImplemented
	}
	return http.StatusBadRequest
}

// A BadHead says why a request head was refused.
type BadHead struct {
	// Status is what to answer: 400, 405, 417, 431, 501 or 505.
	Status int
	// Reason is the rule that was broken.
	Reason Reason
	// Text is a sentence for people, naming the header or element. It quotes
	// the client, shortened and with control characters escaped.
	Text string

	// Method and Path are what the client seems to have sent, for a log: cut
	// short, the path without its query, and empty where it cannot be told.
	Method, Path string
}

// A BadBody says why a request's body was refused. The answer to it is 400.
type BadBody struct {
	// Reason is the rule that was broken.
	Reason Reason
	// Text is a sentence for people, as in [BadHead].
	Text string
}

// violation is what the parsers return, before it is known whether a head or a
// body is meant.
type violation struct {
	reason Reason
	text   string
}

func broken(reason Reason, format string, args ...any) *violation {
	return &violation{reason, fmt.Sprintf(format, args...)}
}

// quoted shows what a client sent, at most maxQuoted bytes of it.
func quoted(b []byte) string {
	if len(b) > maxQuoted {
		return fmt.Sprintf("%q...", b[:maxQuoted])
	}
	return fmt.Sprintf("%q", b)
}

const maxQuoted = 40
