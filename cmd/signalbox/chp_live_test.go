package main

import (
	"testing"
	"time"
)

// Whoever culls asks for what is inactive and removes it: what was used just now
// must not be among it, whenever the node reports next.
func TestActivityIsSeenBeforeItIsReported(t *testing.T) {
	s := startCHP(t, asDropIn)
	s.post(t, "/a", "http://"+chpUpstream(t, "A"))
	const rounds = 20 // in far less than the second between two reports
	seen := 0
	for range rounds {
		began := time.Now().UTC().Format("2006-01-02T15:04:05.000Z")
		if a := s.ask(t, "GET /a"); a.status != 200 {
			t.Fatal(a.status, a.body)
		}
		if a := s.ask(t, "GET /api/routes?inactive_since="+began); a.body == "{}" {
			seen++
		}
	}
	// The answer may be here a moment before the node has taken note of it.
	if seen < rounds/2 {
		t.Errorf("of %d requests %d were seen at once", rounds, seen)
	}
}
