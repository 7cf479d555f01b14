package plot

// Where in a panel the bars are.
const (
	barsLeft  = 150
	barsRight = panelWidth - 110
	barsTop   = 44
	barPitch  = 30
	barHeight = 18
)

func (b Bars) height() int { return barsTop + max(1, len(b.Bars))*barPitch + 40 }

func (b Bars) draw(c *canvas) {
	values := make([]float64, len(b.Bars))
	for i, bar := range b.Bars {
		values[i] = bar.Value
	}
	a := newAxis(values, b.Log, barsLeft, barsRight)
	bottom := float64(barsTop + max(1, len(b.Bars))*barPitch)
	c.text(0, lineHeight, "start", `font-size="13" font-weight="600"`, b.Title)
	for _, t := range a.ticks {
		c.line(a.at(t), barsTop-6, a.at(t), bottom-4, `stroke="`+rule+`"`)
		c.text(a.at(t), bottom+10, "middle", `font-size="10"`, Short(t))
	}
	for i, bar := range b.Bars {
		b.bar(c, bar, &a, float64(barsTop+i*barPitch))
	}
}

func (b Bars) bar(c *canvas, bar Bar, a *axis, y float64) {
	color, weight := grey, "400"
	if bar.Ours {
		color, weight = ours, "600"
	}
	base := y + barHeight - 5
	c.text(barsLeft-8, base, "end", `font-weight="`+weight+`"`, bar.Name)
	end := float64(barsLeft)
	if usable(bar.Value, b.Log) {
		end = max(a.at(bar.Value), barsLeft+1)
		c.shape(`<rect x="%s" y="%s" width="%s" height="%s" fill="%s"/>`, px(barsLeft), px(y), px(end-barsLeft), px(barHeight), color)
	}
	label := Short(bar.Value)
	if bar.Note != "" {
		label += ", " + bar.Note
	}
	c.text(end+6, base, "start", `font-weight="`+weight+`"`, label)
}
