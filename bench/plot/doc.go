// Package plot draws small charts as SVG: bars for things compared, lines for
// what grows, side by side in one figure. It draws the same bytes for the same
// numbers, in plain shapes and text, so that a change of results is readable
// as a change of the picture.
package plot

// A Figure is what one picture shows.
type Figure struct {
	// Title stands above all panels, Note in small print below them.
	Title, Note string
	// Panels are drawn two to a row, in order.
	Panels []Panel
}

// A Panel is one chart of a figure: [Bars] or [Lines].
type Panel interface {
	// draw draws the panel with its top left corner at 0, 0.
	draw(c *canvas)
	// height is how tall it is, in pixels.
	height() int
}

// Bars compares things by one number, a horizontal bar each.
type Bars struct {
	// Title says what is compared, and in which unit.
	Title string
	// Bars are drawn from top to bottom. One whose value is not a positive
	// finite number has no bar.
	Bars []Bar
	// Log makes the axis logarithmic, for values that differ by a lot.
	Log bool
}

// A Bar is one thing compared.
type Bar struct {
	Name  string
	Value float64
	// Note is written behind the value, for instance its ratio to another.
	Note string
	// Ours marks the bars that are about us.
	Ours bool
}

// Lines shows how numbers grow with another.
type Lines struct {
	// Title says what is shown; X and Y name the axes with their units.
	Title, X, Y string
	// LogX and LogY make an axis logarithmic. Points that are not positive are
	// left out then.
	LogX, LogY bool
	Lines      []Line
}

// A Line is one number as it grows.
type Line struct {
	Name string
	// Points in order of their X.
	Points []Point
	// Aim draws it as what is aimed at: dashed, grey, without marks.
	Aim bool
}

// A Point is a value at a place on the X axis.
type Point struct{ X, Y float64 }
