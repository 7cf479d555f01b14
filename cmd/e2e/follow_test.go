// Events over HTTP can be resumed, on another control plane too, by the id of
// the last one; between events something is said, so that nobody takes a silent
// stream for a dead one.

package e2e

import (
	"bufio"
	"fmt"
	"net/http"
	"strings"
	"testing"
)

// events opens a response of events, after an id if there is one, and returns
// what reads it line by line.
func (p *plane) events(after string) (line func() string) {
	s := p.system
	s.t.Helper()
	r, err := http.NewRequestWithContext(s.t.Context(), "GET", p.rest.base+"/v1/events?kinds=route", nil)
	if err != nil {
		s.t.Fatal(err)
	}
	r.Header.Set("Authorization", "Bearer "+s.admin)
	if after != "" {
		r.Header.Set("Last-Event-ID", after)
	}
	res, err := s.client.Do(r)
	if err != nil || res.StatusCode != http.StatusOK || res.Header.Get("Content-Type") != "text/event-stream" {
		s.t.Fatalf("got %v %v", res, err)
	}
	s.t.Cleanup(func() { _ = res.Body.Close() })
	in := bufio.NewReader(res.Body)
	return func() string {
		s.t.Helper()
		text, err := in.ReadString('\n')
		if err != nil {
			s.t.Fatal(err)
		}
		return strings.TrimSuffix(text, "\n")
	}
}

// until reads lines to one that begins so, and returns its rest.
func until(line func() string, prefix string) string {
	for {
		if rest, found := strings.CutPrefix(line(), prefix); found {
			return rest
		}
	}
}

func TestEventsAreResumedOnAnotherControlPlane(t *testing.T) {
	s := newSystem(t, 2, 0)
	api := s.services(0)
	here := s.planes[0].events("")
	last := until(here, "id: ")
	for i := range 30 {
		api.put(t, route(fmt.Sprintf("r%d", i), fmt.Sprintf("/r%d", i), "http://h:1"))
	}
	for i := range 10 {
		last = until(here, "id: ")
		if data := until(here, "data: "); !strings.Contains(data, fmt.Sprintf(`"r%d"`, i)) {
			t.Fatalf("event %d is %s", i, data)
		}
	}
	there := s.planes[1].events(last)
	for i := 10; i < 30; i++ {
		if event, data := until(there, "event: "), until(there, "data: "); event != "created" || !strings.Contains(data, fmt.Sprintf(`"r%d"`, i)) {
			t.Fatalf("event %d, resumed, is %s %s", i, event, data)
		}
	}
	until(there, ":") // nothing more happens, and that is said
}
