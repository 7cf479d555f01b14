package plot

import "strings"

// Where in a panel the lines are.
const (
	linesLeft   = 56.0
	linesRight  = panelWidth - 30.0
	linesTop    = 54.0
	linesBottom = 234.0
)

func (l Lines) height() int { return linesBottom + 56 }

func (l Lines) draw(c *canvas) {
	var xs, ys []float64
	for _, line := range l.Lines {
		for _, p := range line.Points {
			if usable(p.X, l.LogX) && usable(p.Y, l.LogY) {
				xs, ys = append(xs, p.X), append(ys, p.Y)
			}
		}
	}
	x, y := newAxis(xs, l.LogX, linesLeft, linesRight), newAxis(ys, l.LogY, linesBottom, linesTop)
	c.text(0, lineHeight, "start", `font-size="13" font-weight="600"`, l.Title)
	l.grid(c, &x, &y)
	at, next := 0.0, 0
	for _, line := range l.Lines {
		color, style := grey, `stroke-width="1.5" stroke-dasharray="5 4"`
		if !line.Aim {
			color, style = palette[next%len(palette)], `stroke-width="2"`
			next++
		}
		l.line(c, line, color, style, &x, &y)
		c.line(at, 2*lineHeight-2, at+16, 2*lineHeight-2, `stroke="`+color+`" `+style)
		c.text(at+20, 2*lineHeight+2, "start", `font-size="11"`, line.Name)
		at += 34 + 6.2*float64(len([]rune(line.Name)))
	}
}

// grid draws what the lines are read by.
func (l Lines) grid(c *canvas, x, y *axis) {
	for _, t := range x.ticks {
		c.line(x.at(t), linesTop, x.at(t), linesBottom, `stroke="`+rule+`"`)
		c.text(x.at(t), linesBottom+14, "middle", `font-size="10"`, Short(t))
	}
	for _, t := range y.ticks {
		c.line(linesLeft, y.at(t), linesRight, y.at(t), `stroke="`+rule+`"`)
		c.text(linesLeft-6, y.at(t)+4, "end", `font-size="10"`, Short(t))
	}
	c.text((linesLeft+linesRight)/2, linesBottom+30, "middle", `font-size="11"`, l.X)
	c.text(0, 0, "middle", `font-size="11" transform="translate(12 `+px((linesTop+linesBottom)/2)+`) rotate(-90)"`, l.Y)
}

func (l Lines) line(c *canvas, line Line, color, style string, x, y *axis) {
	var path []string
	for _, p := range line.Points {
		if !usable(p.X, l.LogX) || !usable(p.Y, l.LogY) {
			continue
		}
		path = append(path, px(x.at(p.X))+","+px(y.at(p.Y)))
		if !line.Aim {
			c.shape(`<circle cx="%s" cy="%s" r="3.5" fill="%s"/>`, px(x.at(p.X)), px(y.at(p.Y)), color)
		}
	}
	c.shape(`<polyline points="%s" fill="none" stroke="%s" %s/>`, strings.Join(path, " "), color, style)
}
