package outcome

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"runtime"
	"strings"
	"time"

	"signalbox/bench/meter"
)

// A Run is how numbers came about.
type Run struct {
	// Command is what to type to get them again.
	Command string `json:"command"`
	// Began is when it began, Took how long it went on.
	Began time.Time `json:"began"`
	Took  string    `json:"took"`
	// Commit is the version of the code, "-dirty" if it was changed since.
	Commit string `json:"commit"`

	CPU    string `json:"cpu"`
	Cores  int    `json:"cores"`
	Kernel string `json:"kernel"`
	Go     string `json:"go"`
	// Load is how many processes wanted to run in the minute before.
	Load float64 `json:"load"`
	// Warning is why the numbers should not be trusted. Empty: nothing known.
	Warning string `json:"warning,omitempty"`
}

// quiet is the load up to which a machine counts as quiet.
const quiet = 0.5

// Begin takes note of what is so before anything is measured. short says that
// too little is measured for the numbers to mean something.
func Begin(ctx context.Context, command string, short bool) Run {
	r := Run{Command: command, Began: time.Now().UTC().Truncate(time.Second), Cores: runtime.NumCPU(), Go: runtime.Version()}
	r.Commit = said(ctx, "git", "describe", "--always", "--dirty")
	r.Kernel = said(ctx, "uname", "-sr")
	r.CPU = processor()
	var warnings []string
	if load, err := meter.Load(); err == nil {
		r.Load = load
		if load > quiet {
			warnings = append(warnings, fmt.Sprintf("the machine was not quiet: in the minute before, %.1f processes wanted to run", load))
		}
	}
	if short {
		warnings = append(warnings, "this was a short run, to see that it works")
	}
	if len(warnings) > 0 {
		r.Warning = "Not to be trusted: " + strings.Join(warnings, "; ") + "."
		_, _ = fmt.Fprintln(os.Stderr, r.Warning)
	}
	return r
}

func (r *Run) end() { r.Took = time.Since(r.Began).Round(time.Second).String() }

// String is the run in one line.
func (r Run) String() string { return r.Command + ", " + r.where() }

func (r Run) where() string {
	return fmt.Sprintf("%s, commit %s, in %s, on %d cores (%s), %s, %s",
		r.Began.Format(time.DateOnly), r.Commit, r.Took, r.Cores, r.CPU, r.Kernel, r.Go)
}

// said is what a command prints, or "unknown".
func said(ctx context.Context, name string, args ...string) string {
	out, err := exec.CommandContext(ctx, name, args...).Output()
	if err != nil {
		return "unknown"
	}
	return strings.TrimSpace(string(out))
}

// processor is the model of the first CPU.
func processor() string {
	text, err := os.ReadFile("/proc/cpuinfo")
	if err != nil {
		return runtime.GOARCH
	}
	for line := range strings.Lines(string(text)) {
		if name, model, ok := strings.Cut(line, ":"); ok && strings.TrimSpace(name) == "model name" {
			return strings.TrimSpace(model)
		}
	}
	return runtime.GOARCH
}
