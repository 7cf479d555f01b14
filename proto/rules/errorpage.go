package rules

import (
	"errors"
	"fmt"
	"maps"
	"mime"
	"net/url"
	"slices"
	"strconv"

	signalboxv1 "signalbox/proto/gen/signalbox/v1"
)

const (
	maxPages     = 32
	maxPageBytes = 512 << 10
)

// errorPages checks what is sent in place of a node's own answers.
func errorPages(p *signalboxv1.ErrorPages) error {
	var f findings
	if n := len(p.GetPages()); n > maxPages {
		f.add("pages", "holds %d; at most %d are allowed", n, maxPages)
	}
	size := 0
	for _, status := range slices.Sorted(maps.Keys(p.GetPages())) {
		page := p.GetPages()[status]
		at := fmt.Sprintf("pages[%q]", status)
		if n, err := strconv.Atoi(status); status != "error" && (err != nil || n < 400 || n > 599) {
			f.add(at, "must be a status from 400 to 599, as \"404\", or \"error\"")
		}
		if t := page.GetContentType(); t != "" {
			if _, _, err := mime.ParseMediaType(t); err != nil {
				f.add(at+".content_type", "%q is not a media type, as \"text/html; charset=utf-8\"", t)
			}
		}
		size += len(page.GetBody())
	}
	if size > maxPageBytes {
		f.add("pages", "are %d bytes together; at most %d are allowed", size, maxPageBytes)
	}
	if t := p.GetTarget(); t != "" {
		_, err := ErrorTarget(t)
		f.wrap("target", err)
	}
	return f.err()
}

// ErrorTarget reads the URL that is asked for error pages.
func ErrorTarget(raw string) (*url.URL, error) {
	u, err := url.Parse(raw)
	if err != nil || u.Host == "" || u.Scheme != "http" && u.Scheme != "https" || len(raw) > maxUpstream {
		return nil, errors.New("must be a URL, as \"http://127.0.0.1:8081/hub/error\"")
	}
	if u.RawQuery != "" || u.ForceQuery || u.Fragment != "" || u.User != nil {
		return nil, errors.New("must have no query, no fragment and no user: a status is added to its path")
	}
	return u, nil
}
