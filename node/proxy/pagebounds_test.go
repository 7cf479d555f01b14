package proxy

import (
	"errors"
	"io"
	"net/http"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	signalboxv1 "signalbox/proto/gen/signalbox/v1"
)

// Who makes pages may hang, send without end, or be asked by too many.
func TestAskingForPagesIsBounded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		hang := make(chan struct{})
		asked, waiting := 0, sync.WaitGroup{}
		mu := sync.Mutex{}
		client := &http.Client{Transport: answering(func(r *http.Request) (*http.Response, error) {
			mu.Lock()
			asked++
			mu.Unlock()
			if strings.Contains(r.URL.Path, "large") {
				return &http.Response{Body: io.NopCloser(io.LimitReader(endless{}, 2*maxPage)), Header: http.Header{}}, nil
			}
			select {
			case <-r.Context().Done():
				return nil, r.Context().Err()
			case <-hang:
				return nil, io.ErrUnexpectedEOF
			}
		})}
		pages := func(at string) *errorTarget {
			e, err := compilePages(&signalboxv1.ErrorPages{Target: at})
			if err != nil {
				t.Fatal(err)
			}
			return e.target
		}
		if _, err := pages("http://x/large").ask(t.Context(), client, 404, "/"); !errors.Is(err, errPageSize) {
			t.Errorf("a page without end: %v", err)
		}
		slow, began := pages("http://x/slow"), time.Now()
		for range maxAsking {
			waiting.Go(func() { _, _ = slow.ask(t.Context(), client, 404, "/") })
		}
		synctest.Wait()
		before := asked
		if _, err := slow.ask(t.Context(), client, 404, "/"); !errors.Is(err, errAsking) || asked != before {
			t.Errorf("one more: %v", err)
		}
		waiting.Wait()
		if took := time.Since(began); took != pageTimeout {
			t.Errorf("who hangs is waited for for %v", took)
		}
	})
}

// answering is a transport that is a function.
type answering func(*http.Request) (*http.Response, error)

func (f answering) RoundTrip(r *http.Request) (*http.Response, error) { return f(r) }

// endless are bytes without end.
type endless struct{}

func (endless) Read(p []byte) (int, error) { return len(p), nil }
