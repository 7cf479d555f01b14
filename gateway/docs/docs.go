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
	files       map[string]asset // by name below /docs/; "" is the page
}

// New returns a handler. version, if not empty, is the software version the
// description names beside the API's own.
func New(version string) (*Handler, error) {
	d, err := describe(version)
	if err != nil {
		return nil, fmt.Errorf("describe the API: %w", err)
	}
	h := &Handler{description: newAsset("openapi.json", d), files: map[string]asset{}}
	if h.description.zipped, err = zip(d); err != nil {
		return nil, fmt.Errorf("compress the description: %w", err)
	}
	for _, name := range []string{"index.html", "page.css", "page.js"} {
		if err := h.add(page, "page/"+name); err != nil {
			return nil, err
		}
	}
	for _, name := range []string{"swagger-ui.css.gz", "swagger-ui-bundle.js.gz", "favicon-32x32.png"} {
		if err := h.add(static.FS, name); err != nil {
			return nil, err
		}
	}
	h.files[""] = h.files["index.html"]
	return h, nil
}

// add serves an embedded file under its own name.
func (h *Handler) add(from fs.FS, file string) error {
	data, err := fs.ReadFile(from, file)
	if err != nil {
		return err
	}
	name, zipped := strings.CutSuffix(path.Base(file), ".gz")
	if zipped {
		h.files[name] = zippedAsset(name, data)
	} else {
		h.files[name] = newAsset(name, data)
	}
	return nil
}

// ServeHTTP answers GET and HEAD.
func (h *Handler) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	w.Header().Set("Content-Security-Policy", policy)
	w.Header().Set("X-Content-Type-Options", "nosniff")
	w.Header().Set("X-Frame-Options", "DENY")
	w.Header().Set("Referrer-Policy", "no-referrer")
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
	a, ok := h.files[strings.TrimPrefix(r.URL.Path, "/docs/")]
	if !ok {
		http.Error(w, "there is nothing at this path; /docs/ is the page", http.StatusNotFound)
		return
	}
	a.serve(w, r)
}
