package proxy

import (
	"bytes"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"sync"
	"time"

	signalboxv1 "signalbox/proto/gen/signalbox/v1"
	"signalbox/proto/rules"
)

// Bounds of asking for an error page. What is over them is not waited for:
// when everything fails, so may whoever makes the pages.
const (
	pageTimeout = 5 * time.Second
	maxPage     = 1 << 20
	maxAsking   = 64          // at once, of one listener
	keepPage    = time.Minute // until it is asked for again
)

// pageFor is the header of a request for an error page. An error target that
// is reached through a node, and fails there, is not asked for its own failure.
const pageFor = "Signalbox-Error-Page"

// errorPages are a listener's, compiled. It is nil when there are none.
type errorPages struct {
	pages  map[int]*page // 0 for all statuses without one of their own
	target *errorTarget  // nil for none
}

// An errorTarget is who is asked for pages. It outlives changes of the
// listener's record that leave it as it is.
type errorTarget struct {
	url    *url.URL
	asking chan struct{} // has room for those who may ask

	mu   sync.Mutex
	kept map[int]keptPage // by status, for when it fails
}

// A keptPage is one that was asked for in nobody's name: what a page for one
// client says of what was asked for is no other's business.
type keptPage struct {
	*page // nil while it is asked for
	since time.Time
}

// nobodys is the path that kept pages are for.
const nobodys = "/"

// A page is the body of an answer, and the headers that say what it is.
type page struct {
	body                []byte
	contentType, coding string
}

// compilePages takes apart what passed rules.Listener.
func compilePages(rec *signalboxv1.ErrorPages) (*errorPages, error) {
	if len(rec.GetPages()) == 0 && rec.GetTarget() == "" {
		return nil, nil
	}
	e := &errorPages{pages: map[int]*page{}}
	for key, p := range rec.GetPages() {
		status, _ := strconv.Atoi(key) // 0 for "error"
		e.pages[status] = &page{body: p.GetBody(), contentType: p.GetContentType()}
		if p.GetContentType() == "" {
			e.pages[status].contentType = "text/html"
		}
	}
	if rec.GetTarget() != "" {
		at, err := rules.ErrorTarget(rec.GetTarget())
		if err != nil {
			return nil, err
		}
		e.target = &errorTarget{url: at, kept: map[int]keptPage{}, asking: make(chan struct{}, maxAsking)}
	}
	return e, nil
}

// sameTarget tells whether both ask the same target.
func (e *errorPages) sameTarget(o *errorPages) bool {
	return e.target != nil && o.target != nil && e.target.url.String() == o.target.url.String()
}

// paged tells whether a failure is one that pages are for.
func paged(f *failure) bool { return f.reason == ReasonNoRoute || f.status >= 500 }

// page returns the listener's page for a failure, nil when it has none.
func (x *exchange) page(f *failure) *page {
	e := x.rules.pages
	if e == nil || !paged(f) || x.r.Header["Upgrade"] != nil {
		return nil
	}
	if e.target != nil && x.r.Header[pageFor] == nil {
		asked, err := e.target.ask(x.r.Context(), x.front.handler.pages, f.status, x.r.RequestURI)
		if err == nil {
			return asked
		}
		x.front.handler.cfg.Log.Debug("no error page from the error target", "status", f.status, "err", err)
		if stale := e.target.stale(f.status); stale != nil {
			return stale
		}
	}
	if own := e.pages[f.status]; own != nil {
		return own
	}
	return e.pages[0]
}

// stale is the page that is kept for a status, nil for none.
func (e *errorTarget) stale(status int) *page {
	e.mu.Lock()
	defer e.mu.Unlock()
	return e.kept[status].page
}

// due tells whether a page is to be kept anew, and has only one caller do so.
func (e *errorTarget) due(status int, now time.Time) bool {
	e.mu.Lock()
	defer e.mu.Unlock()
	old, ok := e.kept[status]
	if ok && now.Sub(old.since) < keepPage {
		return false
	}
	e.kept[status] = keptPage{old.page, now}
	return true
}

// keep keeps a page, or, if there is none, what is kept until the next try.
func (e *errorTarget) keep(status int, p *page) {
	e.mu.Lock()
	defer e.mu.Unlock()
	if p == nil {
		e.kept[status] = keptPage{e.kept[status].page, time.Time{}}
		return
	}
	e.kept[status] = keptPage{p, e.kept[status].since}
}

var (
	errAsking   = errors.New("too many ask for one already")
	errPageSize = fmt.Errorf("it is over %d bytes", maxPage)
)

// ask gets the page for a status from the target, and before it, from time to
// time, one to keep.
func (e *errorTarget) ask(ctx context.Context, client *http.Client, status int, uri string) (*page, error) {
	select {
	case e.asking <- struct{}{}:
		defer func() { <-e.asking }()
	default:
		return nil, errAsking
	}
	ctx, cancel := context.WithTimeout(ctx, pageTimeout)
	defer cancel()
	if e.due(status, time.Now()) {
		p, err := e.fetch(ctx, client, status, nobodys)
		e.keep(status, p)
		if err != nil {
			return nil, err
		}
	}
	return e.fetch(ctx, client, status, uri)
}

// fetch asks the target for the page of a status, for what a client asked for.
func (e *errorTarget) fetch(ctx context.Context, client *http.Client, status int, uri string) (*page, error) {
	at := *e.url
	at.Path = strings.TrimSuffix(at.Path, "/") + "/" + strconv.Itoa(status)
	at.RawPath = ""
	at.RawQuery = "url=" + url.QueryEscape(uri)
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, at.String(), nil)
	if err != nil {
		return nil, withoutURL(err)
	}
	req.Header = http.Header{pageFor: {strconv.Itoa(status)}, "User-Agent": nil}
	res, err := client.Do(req)
	if err != nil {
		return nil, withoutURL(err)
	}
	defer func() { _ = res.Body.Close() }()
	body, err := io.ReadAll(io.LimitReader(res.Body, maxPage+1))
	if err == nil && len(body) > maxPage {
		err = errPageSize
	}
	if err != nil {
		return nil, err
	}
	return &page{body: bytes.Clone(body), contentType: res.Header.Get("Content-Type"), coding: res.Header.Get("Content-Encoding")}, nil
}

// withoutURL takes from an error the URL that was asked for: that of a page has
// the client's query in it, which may hold secrets.
func withoutURL(err error) error {
	var about *url.Error
	if errors.As(err, &about) {
		return about.Err
	}
	return err
}

// pageClient is what asks for error pages: straight, as it is told, and without
// taking anything apart.
func pageClient(secure *tls.Config) *http.Client {
	return &http.Client{
		Transport: &http.Transport{
			TLSClientConfig: secure.Clone(), DisableCompression: true, MaxIdleConnsPerHost: 4, IdleConnTimeout: 30 * time.Second, ForceAttemptHTTP2: true,
		},
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
}
