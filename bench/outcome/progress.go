package outcome

import (
	"fmt"
	"io"
	"time"
)

// Progress says on one stream what a benchmark is doing, and how far it is. It
// belongs to one goroutine.
type Progress struct {
	out   io.Writer
	name  string
	began time.Time
	steps int
	done  int
}

// NewProgress returns a progress of so many steps; name begins every line.
func NewProgress(out io.Writer, name string, steps int) *Progress {
	return &Progress{out: out, name: name, began: time.Now(), steps: steps}
}

// Step says that the next step begins, and what it is.
func (p *Progress) Step(format string, args ...any) {
	p.done++
	p.say(fmt.Sprintf("[%d/%d, %s] ", p.done, p.steps, time.Since(p.began).Round(time.Second)) + fmt.Sprintf(format, args...))
}

// Say says what came of it.
func (p *Progress) Say(format string, args ...any) { p.say("    " + fmt.Sprintf(format, args...)) }

func (p *Progress) say(line string) { _, _ = fmt.Fprintf(p.out, "%s: %s\n", p.name, line) }
