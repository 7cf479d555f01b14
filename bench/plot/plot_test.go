package plot

import (
	"bytes"
	"encoding/xml"
	"errors"
	"io"
	"math"
	"slices"
	"strings"
	"testing"
)

// wellFormed fails unless a figure is XML without values that are no numbers.
func wellFormed(t *testing.T, svg []byte) {
	t.Helper()
	d := xml.NewDecoder(bytes.NewReader(svg))
	for {
		token, err := d.Token()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			t.Fatalf("%v in\n%s", err, svg)
		}
		seen := map[string]bool{}
		if e, ok := token.(xml.StartElement); ok {
			for _, a := range e.Attr {
				if seen[a.Name.Local] {
					t.Fatalf("%s has two attributes %s in\n%s", e.Name.Local, a.Name.Local, svg)
				}
				seen[a.Name.Local] = true
			}
		}
	}
	for _, bad := range []string{"NaN", "Inf", "%!"} {
		if bytes.Contains(svg, []byte(bad)) {
			t.Errorf("%s in\n%s", bad, svg)
		}
	}
}

func TestAFigureIsWellFormedWhateverTheNumbers(t *testing.T) {
	odd := []float64{0, 1, -1, 1e-9, 1e12, math.NaN(), math.Inf(1), 0.1 + 0.2}
	var bars []Bar
	var points []Point
	for i, v := range odd {
		bars = append(bars, Bar{Name: `a < b & "c"`, Value: v, Ours: i%2 == 0, Note: "1.0×"})
		points = append(points, Point{X: v, Y: odd[len(odd)-1-i]})
	}
	for _, log := range []bool{false, true} {
		wellFormed(t, Figure{
			Title: "<odd>", Note: "&",
			Panels: []Panel{
				Bars{Title: "bars", Bars: bars, Log: log},
				Lines{Title: "lines", LogX: log, LogY: log, Lines: []Line{{Name: "a", Points: points}, {Name: "aim", Points: points, Aim: true}}},
				Bars{Log: log}, Lines{LogX: log, LogY: log},
			},
		}.SVG())
	}
	wellFormed(t, Figure{}.SVG())
}

func TestTheSameNumbersGiveTheSameBytes(t *testing.T) {
	f := Figure{Title: "t", Panels: []Panel{Bars{Bars: []Bar{{Name: "a", Value: 3}}}}}
	if !bytes.Equal(f.SVG(), f.SVG()) {
		t.Error("two pictures of one figure differ")
	}
}

func TestAnAxisHoldsAllItsValues(t *testing.T) {
	for _, values := range [][]float64{{1, 20, 200}, {0.4, 9.7}, {12, 12}, {3}, {0.001, 5e6}, {100, 10_000, 100_000}, {0.9}, {1000}, {6}} {
		for _, log := range []bool{false, true} {
			a := newAxis(values, log, 100, 400)
			for _, v := range append(slices.Clone(values), a.ticks...) {
				if at := a.at(v); at < 99.99 || at > 400.01 {
					t.Errorf("%v, log %v: %v is at pixel %v, outside 100 to 400 (ticks %v)", values, log, v, at, a.ticks)
				}
			}
			if len(a.ticks) < 2 || len(a.ticks) > 12 || !slices.IsSorted(a.ticks) {
				t.Errorf("%v, log %v: ticks %v", values, log, a.ticks)
			}
		}
	}
}

func TestNumbersAreShort(t *testing.T) {
	for v, want := range map[float64]string{
		0: "0", 1: "1", 0.25: "0.25", 12.345: "12.3", 120.6: "121", 1234: "1234", 9994: "9994", 70_900: "70.9k",
		100_000: "100k", 2_500_000: "2.5M", 999_999: "1M", -3: "-3", 0.001234: "0.00123", math.NaN(): "–",
	} {
		if got := Short(v); got != want {
			t.Errorf("Short(%v) = %q, want %q", v, got, want)
		}
	}
}

func TestABarIsAsLongAsItsValue(t *testing.T) {
	svg := string(Figure{Panels: []Panel{Bars{Bars: []Bar{{Name: "one", Value: 100}, {Name: "half", Value: 50}}}}}.SVG())
	for _, want := range []string{`width="200" height="18"`, `width="100" height="18"`} {
		if !strings.Contains(svg, want) {
			t.Errorf("no bar with %s in\n%s", want, svg)
		}
	}
}
