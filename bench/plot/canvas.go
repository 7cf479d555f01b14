package plot

import (
	"bytes"
	"encoding/xml"
	"fmt"
	"math"
	"slices"
	"strconv"
)

// Sizes in pixels.
const (
	panelWidth = 460
	margin     = 20
	lineHeight = 18
)

// ours marks what is about us, grey what is only there to compare with. The
// others tell lines apart, also for people who see no red or green (the
// palette of Okabe and Ito).
const (
	ours = "#0072b2"
	grey = "#8a8f98"
	ink  = "#1f2328"
	rule = "#d8dbe0"
)

var palette = []string{ours, "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9"}

// A canvas collects shapes.
type canvas struct{ bytes.Buffer }

// SVG is the figure as a file.
func (f Figure) SVG() []byte {
	columns := min(2, max(1, len(f.Panels)))
	rows := slices.Collect(slices.Chunk(f.Panels, columns))
	width, height := 2*margin+columns*panelWidth, 2*margin+2*lineHeight
	for _, row := range rows {
		height += tallest(row)
	}
	c := new(canvas)
	c.shape(`<svg xmlns="http://www.w3.org/2000/svg" width="%d" height="%d" viewBox="0 0 %d %d" font-family="system-ui, 'DejaVu Sans', sans-serif" font-size="12">`, width, height, width, height)
	c.shape(`<rect width="%d" height="%d" fill="#ffffff"/>`, width, height)
	c.text(margin, margin+lineHeight/2, "start", `font-size="16" font-weight="600"`, f.Title)
	top := margin + lineHeight
	for _, row := range rows {
		for i, p := range row {
			c.shape(`<g transform="translate(%d %d)">`, margin+i*panelWidth, top)
			p.draw(c)
			c.shape(`</g>`)
		}
		top += tallest(row)
	}
	c.text(margin, float64(height-margin/2), "start", `font-size="10" opacity="0.6"`, f.Note)
	c.shape(`</svg>`)
	return c.Bytes()
}

func tallest(row []Panel) (height int) {
	for _, p := range row {
		height = max(height, p.height())
	}
	return height
}

// shape writes one element on a line of its own.
func (c *canvas) shape(format string, args ...any) {
	fmt.Fprintf(c, format, args...)
	c.WriteByte('\n')
}

func (c *canvas) line(x1, y1, x2, y2 float64, style string) {
	c.shape(`<line x1="%s" y1="%s" x2="%s" y2="%s" %s/>`, px(x1), px(y1), px(x2), px(y2), style)
}

// text writes a line of text, with a white edge so that it can be read across
// lines. anchor is start, middle or end.
func (c *canvas) text(x, y float64, anchor, style, text string) {
	if text == "" {
		return
	}
	c.shape(`<text x="%s" y="%s" text-anchor="%s" fill="%s" stroke="#ffffff" stroke-width="3" paint-order="stroke" %s>%s</text>`, px(x), px(y), anchor, ink, style, escape(text))
}

// px writes a coordinate, to a tenth of a pixel.
func px(v float64) string { return strconv.FormatFloat(math.Round(v*10)/10, 'f', -1, 64) }

func escape(s string) string {
	var b bytes.Buffer
	_ = xml.EscapeText(&b, []byte(s)) // a buffer takes everything
	return b.String()
}
