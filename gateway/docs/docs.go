// Package docs shows what the gateway's APIs take and answer: as an OpenAPI 2.0
// description at /openapi.json, and below /docs/ as a page to try it out on.
// Everything the page needs comes from here; browsers are told to load and to
// call nothing else.
package docs

import (
	"embed"
	"fmt"
	"io/fs"
	"net/http"
	"path"
	"strings"

	"github.com/swaggest/swgui/v5/static"
)

//go:embed page
var page embed.FS

// policy is what browsers may do for the page: what it brings itself. Styles
// may be inline because Swagger UI makes some.
const policy = "default-src 'none'; script-src 'self'; style-src 'self' 'unsafe-inline'; img-src 'self' data:; " +
	"connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"

// Handler serves /openapi.json and everything below /docs.
type Handler struct {
	description asset
	files       *Files // by name below /docs/
}

// New returns a handler. version, if not empty, is the software version the
// description names beside the API's own.
func New(version string) (*Handler, error) {
	d, err := describe(version)
	if err != nil {
		return nil, fmt.Errorf("describe the API: %w", err)
	}
	h := &Handler{description: newAsset("openapi.json", d)}
	if h.description.zipped, err = zip(d); err != nil {
		return nil, fmt.Errorf("compress the description: %w", err)
	}
	h.files, err = NewFiles(page, "page/index.html", "page/page.css", "page/page.js")
	return h, err
}

// Files are Swagger UI's own and those of a page that shows it.
type Files struct {
	byName map[string]asset // without folders
}

// NewFiles returns Swagger UI's files and some of a page's.
func NewFiles(page fs.FS, names ...string) (*Files, error) {
	f := &Files{byName: map[string]asset{}}
	for _, name := range names {
		if err := f.add(page, name); err != nil {
			return nil, err
		}
	}
	for _, name := range []string{"swagger-ui.css.gz", "swagger-ui-bundle.js.gz", "favicon-32x32.png"} {
		if err := f.add(static.FS, name); err != nil {
			return nil, err
		}
	}
	return f, nil
}

// add serves an embedded file under its own name.
func (f *Files) add(from fs.FS, file string) error {
	data, err := fs.ReadFile(from, file)
	if err != nil {
		return err
	}
	name, zipped := strings.CutSuffix(path.Base(file), ".gz")
	if zipped {
		f.byName[name] = zippedAsset(name, data)
	} else {
		f.byName[name] = newAsset(name, data)
	}
	return nil
}

// Has reports whether there is a file of this name.
func (f *Files) Has(name string) bool {
	_, ok := f.byName[name]
	return ok
}

// Serve answers with the file of this name, which there must be, and tells
// browsers to load nothing from elsewhere.
func (f *Files) Serve(w http.ResponseWriter, r *http.Request, name string) {
	protect(w.Header())
	f.byName[name].serve(w, r)
}

// protect tells browsers what they may do for a page.
func protect(h http.Header) {
	h.Set("Content-Security-Policy", policy)
	h.Set("X-Content-Type-Options", "nosniff")
	h.Set("X-Frame-Options", "DENY")
	h.Set("Referrer-Policy", "no-referrer")
}

// ServeHTTP answers GET and HEAD.
func (h *Handler) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	protect(w.Header())
	if r.Method != http.MethodGet && r.Method != http.MethodHead {
		w.Header().Set("Allow", "GET, HEAD")
		http.Error(w, "the method must be GET", http.StatusMethodNotAllowed)
		return
	}
	switch r.URL.Path {
	case "/openapi.json":
		h.description.serve(w, r)
		return
	case "/docs":
		// Relative, so that it holds behind a proxy that adds a prefix.
		w.Header().Set("Location", "docs/")
		w.WriteHeader(http.StatusMovedPermanently)
		return
	}
	name := strings.TrimPrefix(r.URL.Path, "/docs/")
	if name == "" {
		name = "index.html"
	}
	if !h.files.Has(name) {
		http.Error(w, "there is nothing at this path; /docs/ is the page", http.StatusNotFound)
		return
	}
	h.files.Serve(w, r, name)
}
