package chp

import (
	"errors"
	"regexp"
	"strconv"
	"strings"
	"time"
)

// Layouts that JavaScript's Date.parse understands and programs write. Go
// reads a fraction of a second without being told.
var (
	// ISO 8601, in which a date alone is in UTC.
	dates = []string{"2006-01-02", "2006-01", "2006"}
	// These say how far from UTC they are.
	zoned = []string{
		"2006-01-02T15:04:05Z07:00", "2006-01-02T15:04Z07:00", "2006-01-02T15:04:05Z0700", "2006-01-02T15:04Z0700",
		"Mon, 2 Jan 2006 15:04:05 -0700", "2 Jan 2006 15:04:05 -0700", "Mon Jan 2 2006 15:04:05 GMT-0700",
	}
	// These are local, unless UTC is named after them.
	local = []string{
		"2006-01-02T15:04:05", "2006-01-02T15:04", "2006-1-2",
		"Mon, 2 Jan 2006 15:04:05", "Mon, 2 Jan 2006 15:04", "Mon, 2 Jan 2006", "Mon 2 Jan 2006",
		"2 Jan 2006 15:04:05", "2 Jan 2006 15:04", "2 Jan 2006", "2 January 2006",
		"Mon Jan 2 2006 15:04:05", "Mon Jan 2 15:04:05 2006", "Mon Jan 2 2006",
		"Jan 2 2006 15:04:05", "Jan 2 2006", "Jan 2, 2006", "January 2, 2006",
		"1/2/2006 15:04:05", "1/2/2006 15:04", "1/2/2006", "2006/1/2 15:04:05", "2006/1/2 15:04", "2006/1/2",
	}
)

// parseDate reads a date as JavaScript's Date.parse does, as far as ISO 8601,
// RFC 1123 and what other programs print go. A time of day without a zone is
// loc's. Times are kept within the years 1 to 9999, which is all that a
// Timestamp can hold; no route was active outside them.
func parseDate(s string, loc *time.Location) (time.Time, bool) {
	if at, ok := parseNumber(s, loc); ok {
		return at, true
	}
	s, _, _ = strings.Cut(s, " (") // "(Coordinated Universal Time)"
	for _, name := range []string{" GMT", " UTC", " Z"} {
		if day, ok := strings.CutSuffix(s, name); ok {
			s, loc = day, time.UTC
		}
	}
	if len(s) > len("2006-01-02") && s[4] == '-' && s[10] == ' ' {
		s = s[:10] + "T" + strings.Replace(s[11:], " ", "", 1) // "2006-01-02 15:04:05 +0100"
	}
	var later time.Duration
	if next := midnight.ReplaceAllString(s, "${1}00$2$3"); next != s {
		s, later = next, 24*time.Hour
	}
	for _, layouts := range []struct {
		in  []string
		loc *time.Location
	}{{dates, time.UTC}, {zoned, time.UTC}, {local, loc}} {
		for _, layout := range layouts.in {
			if at, ok := parseLayout(layout, s, layouts.loc); ok {
				return clamp(at.Add(later)), true
			}
		}
	}
	return time.Time{}, false
}

// midnight is the one time of day with an hour of 24, the end of a day.
var midnight = regexp.MustCompile(`([T ])24(:00(?::00(?:\.0+)?)?)([^:.0-9]|$)`)

// lateDay is a day that not every month has.
var lateDay = regexp.MustCompile(`(?:^|\D)(29|30|31)(?:\D|$)`)

// parseLayout is time.ParseInLocation, but that every month has 31 days, of
// which the last may be the next month's.
func parseLayout(layout, s string, loc *time.Location) (time.Time, bool) {
	at, err := time.ParseInLocation(layout, s, loc)
	if err == nil {
		return at, true
	}
	var wrong *time.ParseError
	day := lateDay.FindStringSubmatchIndex(s)
	if !errors.As(err, &wrong) || !strings.Contains(wrong.Message, "day out of range") || day == nil {
		return time.Time{}, false
	}
	const common = 28 // a day of any month
	over, _ := strconv.Atoi(s[day[2]:day[3]])
	at, err = time.ParseInLocation(layout, s[:day[2]]+strconv.Itoa(common)+s[day[3]:], loc)
	return at.AddDate(0, 0, over-common), err == nil
}

// lastYear is the last that JavaScript knows.
const lastYear = 275760

// parseNumber reads a number, as JavaScript does: 1 to 12 is a month of 2001,
// 0 and 32 to 49 are years of this century, 50 to 99 of the last, and anything
// longer is a year; but four digits are ISO 8601's.
func parseNumber(s string, loc *time.Location) (time.Time, bool) {
	n, err := strconv.ParseUint(s, 10, 32)
	if err != nil || len(s) == 4 || n > lastYear {
		return time.Time{}, false
	}
	year, month := int(n), time.January
	switch {
	case n >= 1 && n <= 12:
		year, month = 2001, time.Month(n)
	case n == 0 || n >= 32 && n <= 49:
		year += 2000
	case n < 32:
		return time.Time{}, false
	case n <= 99:
		year += 1900
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
