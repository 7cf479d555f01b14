package docs

import (
	"bytes"
	"compress/gzip"
	"crypto/sha256"
	"fmt"
	"io"
	"net/http"
	"path"
	"strings"
	"time"
)

// asset is one file, ready to be sent.
type asset struct {
	name   string
	kind   string // content type
	tag    string // of the content, without quotes
	plain  []byte // nil when only zipped is kept
	zipped []byte // gzip; nil when it is not worth having
}

// kinds are the content types of all our files. The machine's own list may say
// otherwise, and browsers insist on some.
var kinds = map[string]string{
	".css":  "text/css; charset=utf-8",
	".html": "text/html; charset=utf-8",
	".js":   "text/javascript; charset=utf-8",
	".json": "application/json",
	".png":  "image/png",
}

// newAsset prepares a file.
func newAsset(name string, plain []byte) asset {
	return asset{name: name, kind: kinds[path.Ext(name)], tag: tagOf(plain), plain: plain}
}

// zippedAsset prepares a file that is compressed already, and stays so: hardly
// anyone does not understand it.
func zippedAsset(name string, zipped []byte) asset {
	return asset{name: name, kind: kinds[path.Ext(name)], tag: tagOf(zipped), zipped: zipped}
}

func tagOf(data []byte) string { return fmt.Sprintf("%x", sha256.Sum256(data))[:16] }

// zip compresses a file that is kept as it is.
func zip(plain []byte) ([]byte, error) {
	var b bytes.Buffer
	z := gzip.NewWriter(&b)
	if _, err := z.Write(plain); err != nil {
		return nil, err
	}
	if err := z.Close(); err != nil {
		return nil, err
	}
	return b.Bytes(), nil
}

// serve sends the file, or says that the client's copy is still right.
func (a asset) serve(w http.ResponseWriter, r *http.Request) {
	h := w.Header()
	h.Set("Content-Type", a.kind)
	h.Set("Cache-Control", "no-cache") // ask again, but only for changes
	h.Set("Vary", "Accept-Encoding")
	body, tag := a.plain, a.tag
	if a.zipped != nil && takesGzip(r.Header.Get("Accept-Encoding")) {
		h.Set("Content-Encoding", "gzip")
		body, tag = a.zipped, a.tag+"-gzip"
	}
	if body == nil {
		var err error
		if body, err = unzip(a.zipped); err != nil { // never: they are ours
			http.Error(w, err.Error(), http.StatusInternalServerError)
			return
		}
	}
	h.Set("ETag", `"`+tag+`"`)
	http.ServeContent(w, r, a.name, time.Time{}, bytes.NewReader(body))
}

// takesGzip reads an Accept-Encoding header (RFC 9110, section 12.5.3).
func takesGzip(accept string) bool {
	for coding := range strings.SplitSeq(accept, ",") {
		name, q, _ := strings.Cut(coding, ";")
		if n := strings.TrimSpace(name); n == "gzip" || n == "*" {
			q = strings.ReplaceAll(q, " ", "")
			return strings.Trim(q, "q=0.") != "" || q == ""
		}
	}
	return false
}

func unzip(zipped []byte) ([]byte, error) {
	z, err := gzip.NewReader(bytes.NewReader(zipped))
	if err != nil {
		return nil, err
	}
	return io.ReadAll(z)
}
