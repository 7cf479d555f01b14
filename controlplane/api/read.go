package api

import (
	"context"
	"encoding/base64"
	"strings"

	"signalbox/controlplane/auth"
	"signalbox/controlplane/observe"
	"signalbox/controlplane/replica"
	signalboxv1 "signalbox/proto/gen/signalbox/v1"
	"signalbox/store"
)

// current returns a view that holds every write answered before the call, or
// an error: never an old view, nor anything for a caller who is no longer good.
func (c *core) current(ctx context.Context) (*replica.View, error) {
	ctx, cancel := context.WithTimeout(ctx, c.StoreTimeout)
	defer cancel()
	view, err := c.Replica.Current(ctx)
	if err != nil {
		return nil, err
	}
	if _, err := auth.StillGood(ctx, view); err != nil {
		return nil, err
	}
	return view, nil
}

// find returns a record that must be there.
func (c *core) find(ctx context.Context, key store.Key) (*store.Record, error) {
	var bad problems
	bad.name("name", key.Name)
	if err := bad.err(); err != nil {
		return nil, err
	}
	view, err := c.current(ctx)
	if err != nil {
		return nil, err
	}
	r := view.Get(key)
	if r == nil {
		return nil, notFound(key)
	}
	return r, nil
}

// version is a version as it is answered; none for that of nothing.
func version(v store.Version) *signalboxv1.Version {
	if v == (store.Version{}) {
		return nil
	}
	return &signalboxv1.Version{Epoch: v.Epoch, Revision: int64(v.Revision)}
}

// answer is the standing of nodes as it is answered.
func answer(v store.Version, s observe.Standing) *signalboxv1.WriteResult {
	return &signalboxv1.WriteResult{
		Version:      version(v),
		NodesLive:    int32(s.Live),
		NodesServing: int32(s.Serving),
		Lagging:      s.Lagging,
	}
}

// Bounds of page_size, and how large a page may grow: what gRPC clients take
// by default is 4 MiB, and one record can be close to half of that.
const (
	defaultPage  = 500
	maxPage      = 5000
	maxPageBytes = 2 << 20
)

// A page is which part of a list is wanted, and how much room is left on it.
type page struct {
	from  string // the first name that may be on it
	count int
	bytes int
	last  string // the newest name on it
	full  bool
}

// pages is what the requests of lists have in common.
type pages interface {
	GetPageSize() int32
	GetPageToken() string
}

// page reads which part of a list is wanted.
func (p *problems) page(req pages) *page {
	pg := &page{count: int(req.GetPageSize()), bytes: maxPageBytes}
	switch {
	case pg.count < 0 || pg.count > maxPage:
		p.add("page_size", "is %d; it must be from 0 to %d", pg.count, maxPage)
	case pg.count == 0:
		pg.count = defaultPage
	}
	if token := req.GetPageToken(); token != "" {
		last, err := base64.RawURLEncoding.DecodeString(token)
		if err != nil {
			p.add("page_token", "is none that a list was answered with")
		}
		pg.from = string(last) + "\x00" // no name is between the two
	}
	return pg
}

// takes reports whether a record of that size still goes on the page; the
// first always does.
func (pg *page) takes(name string, size int) bool {
	if pg.count == 0 || size > pg.bytes && pg.last != "" {
		pg.full = true
		return false
	}
	pg.count--
	pg.bytes -= size
	pg.last = name
	return true
}

// next is the token of the next page, empty on the last.
func (pg *page) next() string {
	if !pg.full {
		return ""
	}
	return base64.RawURLEncoding.EncodeToString([]byte(pg.last))
}

// labels reads label filters: "key=value", or "key" for any value.
func (p *problems) labels(filters []string) func(map[string]string) bool {
	for i, f := range filters {
		if key, _, _ := strings.Cut(f, "="); key == "" {
			p.add(index("labels", i), "must be \"key=value\" or \"key\"")
		}
	}
	return func(have map[string]string) bool {
		for _, f := range filters {
			key, value, exact := strings.Cut(f, "=")
			if got, ok := have[key]; !ok || exact && got != value {
				return false
			}
		}
		return true
	}
}
