package gateway

import (
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strings"
)

// cors lets pages of other origins call an API (WHATWG Fetch, section 3.3).
// Keys come in headers that a page must set itself, so browsers are never told
// to send cookies, and "*" is harmless.
type cors struct {
	origins []string
	next    http.Handler
}

const (
	corsMethods = "GET, HEAD, POST, PUT, DELETE"
	corsHeaders = "Authorization, Content-Type, Last-Event-ID, X-API-Key, X-Request-Id"
	corsExposed = "Allow, Retry-After, WWW-Authenticate, X-Request-Id"
)

// newCORS wraps next for some origins, each "scheme://host[:port]", or "*" for
// all. None leaves next as it is.
func newCORS(origins []string, next http.Handler) (http.Handler, error) {
	if len(origins) == 0 {
		return next, nil
	}
	for _, o := range origins {
		u, err := url.Parse(o)
		if o != "*" && (err != nil || u.Scheme == "" || u.Host == "" || o != u.Scheme+"://"+u.Host || o != strings.ToLower(o)) {
			return nil, fmt.Errorf("allowed origin %q must be \"*\" or as a browser sends it, \"https://host\" or \"http://host:port\" in lower case", o)
		}
	}
	return &cors{origins: slices.Clone(origins), next: next}, nil
}

func (c *cors) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	origin := r.Header.Get("Origin")
	h := w.Header()
	h.Add("Vary", "Origin")
	allowed := origin != "" && (slices.Contains(c.origins, "*") || slices.Contains(c.origins, origin))
	if allowed {
		h.Set("Access-Control-Allow-Origin", c.answer(origin))
		h.Set("Access-Control-Expose-Headers", corsExposed)
	}
	if r.Method != http.MethodOptions || r.Header.Get("Access-Control-Request-Method") == "" {
		c.next.ServeHTTP(w, r)
		return
	}
	// A question before the request. It has no key: browsers send none.
	if allowed {
		h.Set("Access-Control-Allow-Methods", corsMethods)
		h.Set("Access-Control-Allow-Headers", corsHeaders)
		h.Set("Access-Control-Max-Age", "600")
	}
	w.WriteHeader(http.StatusNoContent)
}

// answer is the origin to allow.
func (c *cors) answer(origin string) string {
	if slices.Contains(c.origins, "*") {
		return "*"
	}
	return origin
}
