// Package outcome writes what a benchmark found, in three forms of one name:
// all numbers as JSON, tables for people as Markdown, and a picture. Each says
// which command found it, when, and on what machine.
package outcome

import (
	"bytes"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"signalbox/bench/plot"
)

// An Outcome is what one run of a benchmark found.
type Outcome struct {
	// Name of the files, without their endings.
	Name string
	// Title, and what was measured, in sentences.
	Title, Method string
	// Run is how it came about.
	Run Run
	// Aims are what was hoped for.
	Aims []Aim
	// Tables and Notes are shown in order, the notes last.
	Tables []Table
	Notes  []string
	// Figure is the picture; its note is filled in.
	Figure plot.Figure
	// Data is every number, for JSON.
	Data any
}

// An Aim is a number that was hoped for, beside what was found.
type Aim struct {
	What string  `json:"what"`
	Most float64 `json:"at_most"`
	Got  float64 `json:"got"`
	Unit string  `json:"unit"`
}

// Met reports whether it was reached; what is not a number was not.
func (a Aim) Met() bool { return a.Got <= a.Most }

// A Table is rows under a header. The first column is text, the others are
// numbers.
type Table struct {
	Title  string
	Header []string
	Rows   [][]string
}

// Write writes the three files into a directory, and says where.
func (o *Outcome) Write(dir string) error {
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return err
	}
	o.Run.end()
	text, err := json.MarshalIndent(map[string]any{"run": o.Run, "aims": o.Aims, "data": o.Data}, "", "  ")
	if err != nil {
		return err
	}
	figure := o.Figure
	figure.Note = o.Run.String()
	for ending, content := range map[string][]byte{
		".json": append(text, '\n'), ".md": o.markdown(), ".svg": figure.SVG(),
	} {
		if err := replace(filepath.Join(dir, o.Name+ending), content); err != nil {
			return err
		}
	}
	_, err = fmt.Fprintf(os.Stdout, "%s: written to %s.{json,md,svg}\n", o.Name, filepath.Join(dir, o.Name))
	return err
}

// replace writes a file whole or not at all.
func replace(name string, content []byte) error {
	if err := os.WriteFile(name+".new", content, 0o644); err != nil {
		return err
	}
	return os.Rename(name+".new", name)
}

func (o *Outcome) markdown() []byte {
	var b bytes.Buffer
	fmt.Fprintf(&b, "# %s\n\n%s\n\nMeasured by `%s`, %s.\nWritten by that command; not to be edited.\n\n![%s](%s.svg)\n",
		o.Title, o.Method, o.Run.Command, o.Run.where(), o.Title, o.Name)
	if o.Run.Warning != "" {
		fmt.Fprintf(&b, "\n**%s**\n", o.Run.Warning)
	}
	if len(o.Aims) > 0 {
		t := Table{Title: "Aims", Header: []string{"what", "at most", "measured", "met"}}
		for _, a := range o.Aims {
			t.Rows = append(t.Rows, []string{a.What, plot.Short(a.Most) + a.Unit, plot.Short(a.Got) + a.Unit, map[bool]string{true: "yes", false: "**no**"}[a.Met()]})
		}
		t.markdown(&b)
	}
	for _, t := range o.Tables {
		t.markdown(&b)
	}
	if len(o.Notes) > 0 {
		b.WriteString("\n")
	}
	for _, n := range o.Notes {
		fmt.Fprintf(&b, "- %s\n", n)
	}
	return b.Bytes()
}

func (t *Table) markdown(b *bytes.Buffer) {
	if t.Title != "" {
		fmt.Fprintf(b, "\n## %s\n", t.Title)
	}
	b.WriteString("\n| " + strings.Join(t.Header, " | ") + " |\n|---|" + strings.Repeat("---:|", len(t.Header)-1) + "\n")
	for _, row := range t.Rows {
		b.WriteString("| " + strings.Join(row, " | ") + " |\n")
	}
}
