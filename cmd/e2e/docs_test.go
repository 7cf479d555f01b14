//go:build e2e

// Every command in docs/api.md works as it stands there, in the order it stands
// there, and answers what the page shows.

package e2e

import (
	"context"
	"errors"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"syscall"
	"testing"
	"time"
)

// A pasted is a block of commands in a page, the heading it is below, and the
// block that shows what they print; empty if none does.
type pasted struct{ heading, commands, shown string }

// blocks are the sh blocks of a page.
func blocks(page string) []pasted {
	var all []pasted
	heading := ""
	for _, m := range regexp.MustCompile("(?ms)^```(\\w*)\n(.*?)^```$|^#+ ([^\n]*)$").FindAllStringSubmatch(page, -1) {
		switch {
		case m[3] != "":
			heading = m[3]
		case m[1] == "sh":
			all = append(all, pasted{heading: heading, commands: m[2]})
		case len(all) > 0 && all[len(all)-1].shown == "":
			all[len(all)-1].shown = m[2]
		}
	}
	return all
}

// follows reports whether the commands end only when somebody interrupts them.
func (p pasted) follows() bool {
	last := p.commands[strings.LastIndex(strings.TrimSuffix(p.commands, "\n"), "\n")+1:]
	return strings.Contains(last, "curl -sSN") || strings.Contains(last, "FollowEvents")
}

// fails reports whether what is shown is a refusal.
func (p pasted) fails() bool {
	return strings.Contains(p.shown, `"error"`) || strings.Contains(p.shown, "ERROR:")
}

var (
	jsonName  = regexp.MustCompile(`"(\w+)": ?`)
	errorLine = regexp.MustCompile(`(?m)\{"error": ?\{"code"|^HTTP/1.1 [45]\d\d.*|^ERROR:|^signalbox: .*`)
)

// missing is what the page shows and the output does not have: names in JSON,
// and of other lines what is before a colon, a number or an ellipsis.
func (p pasted) missing(output string) []string {
	var missing []string
	for line := range strings.Lines(p.shown) {
		words := []string{}
		for _, m := range jsonName.FindAllStringSubmatch(line, -1) {
			words = append(words, `"`+m[1]+`"`)
		}
		if len(words) == 0 {
			before, _, _ := strings.Cut(strings.TrimSpace(line), ":")
			before, _, _ = strings.Cut(before, "…")
			words = append(words, before)
		}
		for _, w := range words {
			if !strings.Contains(output, w) {
				missing = append(missing, w)
			}
		}
	}
	return missing
}

// grpcurl is the path of the tool, which is built if need be, but not fetched.
func grpcurl(t *testing.T) (path string, err error) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 3*time.Minute)
	defer cancel()
	cmd := exec.CommandContext(ctx, "go", "tool", "-modfile=scripts/tools/go.mod", "-n", "grpcurl")
	cmd.Dir, cmd.Env = "../..", append(os.Environ(), "GOPROXY=off")
	out, err := cmd.Output()
	var exit *exec.ExitError
	if errors.As(err, &exit) {
		err = errors.New(string(exit.Stderr))
	}
	return strings.TrimSpace(string(out)), err
}

func TestTheAPIPageWorksAsItStands(t *testing.T) {
	if _, err := exec.LookPath("curl"); err != nil {
		t.Skip("SKIPPED: there is no curl on this machine")
	}
	page, err := os.ReadFile("../../docs/api.md")
	if err != nil {
		t.Fatal(err)
	}
	all := blocks(string(page))
	if n := len(regexp.MustCompile(`(?m)^(\w+=\$\()?(grp)?curl `).FindAllString(string(page), -1)); n < 20 || len(all) < 15 {
		t.Fatalf("only %d commands in %d blocks", n, len(all))
	}
	l := newLab(t)
	bin := filepath.Join(l.dir, "bin")
	if err := errors.Join(os.Mkdir(bin, 0o700), os.Symlink(program(t), filepath.Join(bin, "signalbox"))); err != nil {
		t.Fatal(err)
	}
	tool, noTool := grpcurl(t)
	if noTool == nil {
		noTool = os.Symlink(tool, filepath.Join(bin, "grpcurl"))
	}
	u := newUp(l)
	u.started()
	ports := strings.NewReplacer("127.0.0.1:8000", u.public, "127.0.0.1:8001", u.api, "127.0.0.1:8002", u.grpc, "127.0.0.1:8003", u.demo,
		"bin/signalbox route", "bin/signalbox route --controlplane "+u.grpc, "bin/signalbox nodes", "bin/signalbox nodes --controlplane "+u.grpc)
	secret, err := os.ReadFile(filepath.Join(l.dir, "data/up/admin.key"))
	if err != nil {
		t.Fatal(err)
	}
	l.secret("the admin key", strings.TrimSpace(string(secret)))

	first := all[0].commands // the key, for all that follow
	for _, p := range all[1:] {
		t.Run(p.heading, func(t *testing.T) {
			if strings.Contains(p.commands, "grpcurl") && noTool != nil {
				t.Skipf("SKIPPED: grpcurl cannot be built here: %v", noTool)
			}
			run(t, l.dir, first, p, ports, "PATH="+bin+":"+os.Getenv("PATH"))
		})
	}
}

// run runs a block as somebody who pastes it, and who interrupts what only
// follows once it has said something.
func run(t *testing.T, dir, first string, p pasted, ports *strings.Replacer, env string) {
	t.Helper()
	// A second is enough for a person's machine, and not for one that runs tests.
	commands := strings.ReplaceAll(p.commands, "--max-time 1 ", "--max-time 3 ")
	script := "set -e\n" + first + ports.Replace(commands)
	var out string
	var err error
	if p.follows() {
		out, err = interrupted(dir, script, env, func(out string) bool { return out != "" && len(p.missing(out)) == 0 })
	} else {
		out, err = bash(t, dir, script, env)
	}
	switch {
	case p.fails() && err == nil && !errorLine.MatchString(out):
		t.Errorf("%s\nsucceeds with %s\nand should fail as %s", p.commands, out, p.shown)
	case !p.fails() && err != nil:
		t.Errorf("%s\n%v: %s", p.commands, err, out)
	}
	for _, line := range errorLine.FindAllString(out, -1) {
		if !p.fails() && !strings.Contains(p.shown, strings.TrimSpace(line)) {
			t.Errorf("%s\nprints an error: %s", p.commands, out)
		}
	}
	if missing := p.missing(out); len(missing) > 0 {
		t.Errorf("%s\nprints %s\nwithout %q, which the page shows", p.commands, out, missing)
	}
}

// interrupted runs what does not end by itself, until enough was said.
func interrupted(dir, script, env string, enough func(out string) bool) (string, error) {
	cmd := exec.Command("bash", "-c", script)
	cmd.Dir, cmd.Env = dir, append(cleanEnv(), env)
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	from, err := cmd.StdoutPipe()
	if err != nil {
		return "", err
	}
	cmd.Stderr = cmd.Stdout
	if err := cmd.Start(); err != nil {
		return "", err
	}
	interrupt := func() { _ = syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL) }
	late := time.AfterFunc(patience, interrupt)
	var said []byte
	piece := make([]byte, 4096)
	for n := 0; err == nil && !enough(string(said)); said = append(said, piece[:n]...) {
		n, err = from.Read(piece)
	}
	late.Stop()
	interrupt()
	_ = cmd.Wait() // it was interrupted
	if errors.Is(err, io.EOF) {
		err = nil // it had said all, or was late; what is missing is told
	}
	return string(said), err
}
