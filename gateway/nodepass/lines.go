package nodepass

import (
	"fmt"
	"strings"
	"time"
	"unicode/utf8"

	signalboxv1 "signalbox/proto/gen/signalbox/v1"
)

// maxText bounds a line of a log, in bytes, as control planes do.
const maxText = 4096

// levels are NodePass's names for levels, in its colours.
var levels = map[signalboxv1.LogLevel]string{
	signalboxv1.LogLevel_LOG_LEVEL_DEBUG: "\x1b[34mDEBUG\x1b[0m",
	signalboxv1.LogLevel_LOG_LEVEL_INFO:  "\x1b[32mINFO\x1b[0m",
	signalboxv1.LogLevel_LOG_LEVEL_WARN:  "\x1b[33mWARN\x1b[0m",
	signalboxv1.LogLevel_LOG_LEVEL_ERROR: "\x1b[31mERROR\x1b[0m",
}

// said is a line as an instance of NodePass writes it.
func said(l *signalboxv1.LogLine) string {
	return written(l.GetTime().AsTime(), l.GetLevel(), l.GetText())
}

// leftOut is the line that stands for lines that a follower was too slow for.
func leftOut(n int64, now time.Time) string {
	return written(now, signalboxv1.LogLevel_LOG_LEVEL_WARN, fmt.Sprintf("%d lines were left out here: they came faster than they were taken", n))
}

func written(at time.Time, level signalboxv1.LogLevel, text string) string {
	name, known := levels[level]
	if !known {
		name = levels[signalboxv1.LogLevel_LOG_LEVEL_INFO]
	}
	return at.Local().Format("2006-01-02 15:04:05.000") + "  " + name + "  " + cut(text, maxText)
}

// cut shortens a text to so many bytes, and says so.
func cut(s string, most int) string {
	if len(s) <= most {
		return s
	}
	most -= len("…")
	for most > 0 && !utf8.RuneStart(s[most]) {
		most--
	}
	return strings.ToValidUTF8(s[:most], "\uFFFD") + "…"
}
