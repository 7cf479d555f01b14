package outcome

import (
	"encoding/json"
	"math"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"signalbox/bench/plot"
)

func TestAnOutcomeIsWrittenInThreeForms(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "results")
	o := Outcome{
		Name: "speed", Title: "Speed", Method: "How fast.",
		Run:    Begin(t.Context(), "go run ./bench/speed", false),
		Aims:   []Aim{{What: "slow", Most: 1, Got: 2.5, Unit: " ms"}, {What: "fast", Most: 3, Got: 3, Unit: " ms"}},
		Tables: []Table{{Title: "All", Header: []string{"name", "value"}, Rows: [][]string{{"a", "1"}, {"b", "2"}}}},
		Notes:  []string{"a note"},
		Figure: plot.Figure{Title: "Speed"},
		Data:   map[string]float64{"a": 1},
	}
	if err := o.Write(dir); err != nil {
		t.Fatal(err)
	}
	files := map[string]string{}
	for _, ending := range []string{"json", "md", "svg"} {
		text, err := os.ReadFile(filepath.Join(dir, "speed."+ending))
		if err != nil {
			t.Fatal(err)
		}
		files[ending] = string(text)
	}
	var all struct {
		Run  Run                `json:"run"`
		Data map[string]float64 `json:"data"`
	}
	if err := json.Unmarshal([]byte(files["json"]), &all); err != nil || all.Data["a"] != 1 || all.Run.Command != o.Run.Command {
		t.Errorf("JSON: %v, %+v", err, all)
	}
	for _, want := range []string{
		"# Speed\n", "How fast.", "`go run ./bench/speed`", "![Speed](speed.svg)",
		"| slow | 1 ms | 2.5 ms | **no** |", "| fast | 3 ms | 3 ms | yes |",
		"| name | value |\n|---|---:|\n| a | 1 |\n", "- a note\n",
	} {
		if !strings.Contains(files["md"], want) {
			t.Errorf("Markdown has no %q:\n%s", want, files["md"])
		}
	}
	if !strings.Contains(files["svg"], "go run ./bench/speed") {
		t.Error("the picture does not say where it is from")
	}
	left, err := filepath.Glob(filepath.Join(dir, "*.new"))
	if err != nil || len(left) > 0 {
		t.Errorf("left behind: %v, %v", left, err)
	}
}

func TestAShortRunSaysSo(t *testing.T) {
	if r := Begin(t.Context(), "x", true); !strings.Contains(r.Warning, "short run") {
		t.Errorf("warning %q", r.Warning)
	}
}

func TestAnAimIsNotMetByWhatIsNoNumber(t *testing.T) {
	if (Aim{Most: 1, Got: math.NaN()}).Met() {
		t.Error("NaN met it")
	}
}

func TestProgressSaysHowFarItIs(t *testing.T) {
	var b strings.Builder
	p := NewProgress(&b, "speed", 2)
	p.Step("first of %d", 2)
	p.Say("it went well")
	p.Step("second")
	want := "speed: [1/2, 0s] first of 2\nspeed:     it went well\nspeed: [2/2, 0s] second\n"
	if b.String() != want {
		t.Errorf("got\n%swant\n%s", b.String(), want)
	}
}
