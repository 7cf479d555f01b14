package chp

import (
	"strconv"
	"strings"
	"time"
)

// Layouts that JavaScript's Date.parse understands and people write. Those of
// ISO 8601 come with "T" or a space and with a fraction of a second, which Go
// reads without being told.
var (
	// A date alone is in UTC.
	dates = []string{"2006-01-02", "2006-01", "2006"}
	// These say their zone.
	zoned = []string{
		"2006-01-02T15:04:05Z07:00", "2006-01-02T15:04Z07:00", "2006-01-02T15:04:05Z0700", "2006-01-02T15:04Z0700",
		"Mon, 2 Jan 2006 15:04:05 MST", "2 Jan 2006 15:04:05 MST", "Mon, 2 Jan 2006 15:04 MST",
		"Mon, 2 Jan 2006 15:04:05 -0700", "2 Jan 2006 15:04:05 -0700", "Mon Jan 2 2006 15:04:05 GMT-0700",
	}
	// These are local.
	local = []string{
		"2006-01-02T15:04:05", "2006-01-02T15:04",
		"Mon, 2 Jan 2006 15:04:05", "Mon, 2 Jan 2006 15:04", "Mon, 2 Jan 2006", "Mon 2 Jan 2006",
		"2 Jan 2006 15:04:05", "2 Jan 2006 15:04", "2 Jan 2006", "2 January 2006",
		"Mon Jan 2 2006 15:04:05", "Mon Jan 2 2006", "Jan 2 2006 15:04:05", "Jan 2 2006", "Jan 2, 2006", "January 2, 2006",
		"1/2/2006 15:04:05", "1/2/2006", "2006/1/2 15:04:05", "2006/1/2",
	}
)

// parseDate reads a date as JavaScript's Date.parse does, as far as ISO 8601,
// RFC 1123 and the forms of other people's programs go. Where the text has
// time but no zone, it is loc's. Times are kept within the years 1 to 9999,
// before and after which no route was active.
func parseDate(s string, loc *time.Location) (time.Time, bool) {
	s = strings.TrimSpace(s)
	if at, ok := parseNumber(s, loc); ok {
		return at, true
	}
	if len(s) > 10 && s[10] == ' ' && s[4] == '-' {
		s = s[:10] + "T" + strings.Replace(s[11:], " ", "", 1) // "2006-01-02 15:04:05 Z"
	}
	s, _, _ = strings.Cut(s, " (") // "(Coordinated Universal Time)"
	for _, layout := range dates {
		if at, err := time.Parse(layout, s); err == nil {
			return clamp(at), true
		}
	}
	for _, layout := range zoned {
		if at, err := time.Parse(layout, s); err == nil {
			return clamp(at), true
		}
	}
	for _, layout := range local {
		if at, err := time.ParseInLocation(layout, s, loc); err == nil {
			return clamp(at), true
		}
	}
	return time.Time{}, false
}

// parseNumber reads a number of one to three digits or more than four, or with
// a sign. JavaScript takes 1 to 12 for a month of 2001, 0 and 32 to 49 for a
// year of this century and 50 to 99 for one of the last; more digits are a
// year, and with a sign there must be six.
func parseNumber(s string, loc *time.Location) (time.Time, bool) {
	n, err := strconv.Atoi(s)
	if err != nil || len(s) == 4 && s[0] != '-' && s[0] != '+' {
		return time.Time{}, false
	}
	year, month := n, time.January
	switch {
	case s[0] == '-' || s[0] == '+':
		if len(s) != 7 {
			return time.Time{}, false
		}
		loc = time.UTC
	case n >= 1 && n <= 12:
		year, month = 2001, time.Month(n)
	case n == 0 || n >= 32 && n <= 49:
		year = 2000 + n
	case n < 32:
		return time.Time{}, false
	case n <= 99:
		year = 1900 + n
	}
	if year < 0 || year > 9999 {
		year = max(1, min(9999, year))
	}
	return clamp(time.Date(year, month, 1, 0, 0, 0, 0, loc)), true
}

// clamp keeps a time within what a Timestamp can hold.
func clamp(at time.Time) time.Time {
	first := time.Date(1, time.January, 1, 0, 0, 0, 0, time.UTC)
	last := time.Date(9999, time.December, 31, 23, 59, 59, 0, time.UTC)
	switch {
	case at.Before(first):
		return first
	case at.After(last):
		return last
	}
	return at
}
