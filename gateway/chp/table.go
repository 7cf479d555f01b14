package chp

import (
	"bytes"
	"cmp"
	"context"
	"net/http"
	"slices"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/types/known/timestamppb"

	signalboxv1 "signalbox/proto/gen/signalbox/v1"
)

// pageSize is how many routes are asked for at once.
const pageSize = 1000

// get answers one route.
func (h *Handler) get(w http.ResponseWriter, r *http.Request, key string) error {
	e, err := h.find(r.Context(), key)
	if err != nil {
		return err
	}
	if e == nil {
		return notFound()
	}
	answerJSON(w, appendObject(nil, e))
	return nil
}

// find returns the route of a key whatever its name, or nil. A key that cannot
// be a match is not an error here: nobody has it.
func (h *Handler) find(ctx context.Context, key string) (*signalboxv1.RouteEntry, error) {
	page, err := h.list(ctx, &signalboxv1.ListRoutesRequest{PageSize: 1, Match: h.keys.match(key)})
	if err != nil && status.Code(err) != codes.InvalidArgument {
		return nil, err
	}
	for _, e := range page.GetRoutes() {
		if _, ok := h.express(e); ok {
			return e, nil
		}
	}
	return nil, nil
}

// express returns a route's key, and false for a route that CHP could not have
// made.
func (h *Handler) express(e *signalboxv1.RouteEntry) (string, bool) {
	key, ok := h.keys.key(e.GetRoute().GetMatch())
	return key, ok && len(e.GetRoute().GetUpstreams()) > 0
}

// row is a route in the table, written out.
type row struct {
	created int64 // the revision it was created at, which orders the table
	name    string
	text    []byte // `"key":{...}`
}

// table answers every route that CHP can express. Nothing is sent before all
// is there: half a table would look like a whole one, and JupyterHub would
// write the other half anew.
func (h *Handler) table(w http.ResponseWriter, r *http.Request, _ string) error {
	req := &signalboxv1.ListRoutesRequest{PageSize: pageSize}
	if err := inactiveSince(r.URL.RawQuery, req); err != nil {
		// Strangers learn nothing, not even how to write a date.
		if _, refused := h.list(r.Context(), &signalboxv1.ListRoutesRequest{PageSize: 1}); refused != nil {
			return refused
		}
		return err
	}
	rows, err := h.rows(r.Context(), req)
	if err != nil {
		return err
	}
	w.Header().Set("Content-Type", "application/json")
	write(w, rows)
	return nil
}

// rows gathers the table.
func (h *Handler) rows(ctx context.Context, req *signalboxv1.ListRoutesRequest) ([]row, error) {
	var rows []row
	var text []byte // of one row, used again for the next
	for {
		page, err := h.list(ctx, req)
		if err != nil {
			return nil, err
		}
		for _, e := range page.GetRoutes() {
			key, ok := h.express(e)
			if !ok {
				continue
			}
			text = append(appendQuoted(text[:0], key), ':')
			text = appendObject(text, e)
			rows = append(rows, row{
				created: e.GetRoute().GetMeta().GetCreatedRevision(),
				name:    e.GetRoute().GetName(),
				text:    bytes.Clone(text),
			})
		}
		if req.PageToken = page.GetNextPageToken(); req.PageToken == "" {
			break
		}
	}
	slices.SortFunc(rows, func(a, b row) int {
		return cmp.Or(cmp.Compare(a.created, b.created), cmp.Compare(a.name, b.name))
	})
	return rows, nil
}

// write sends the table. When the client goes away it stops.
func write(w http.ResponseWriter, rows []row) {
	_, err := w.Write([]byte("{"))
	for i := 0; i < len(rows) && err == nil; i++ {
		if i > 0 {
			_, _ = w.Write([]byte(","))
		}
		_, err = w.Write(rows[i].text)
	}
	if err == nil {
		_, _ = w.Write([]byte("}"))
	}
}

// inactiveSince reads the filter by last activity. Both spellings are in use;
// as in CHP 5 one that is empty is not given, and "inactiveSince" wins.
func inactiveSince(query string, req *signalboxv1.ListRoutesRequest) error {
	v := cmp.Or(parameter(query, "inactiveSince"), parameter(query, "inactive_since"))
	if v == "" {
		return nil
	}
	at, ok := parseDate(v, time.Local)
	if !ok {
		return &refusal{http.StatusBadRequest, "Invalid datestamp '" + v + "' must be ISO8601."}
	}
	req.InactiveSince = timestamppb.New(at)
	return nil
}
