// Package child runs parts of a benchmark in processes of their own, so that
// what each uses can be told apart. A child is this program once more. It is
// asked by lines on its standard input, and ends when that is closed: by
// [Child.Close], or because the parent has ended, however that came about.
package child

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"os/signal"
	"strings"
)

// mark is the first argument of a child. The second is the part, the third
// its configuration.
const mark = "be-a-part"

// A Part is what a child is. It makes everything ready, calls serve, and
// cleans up when serve returns. serve calls answer with each question in turn
// until there are no more; what it returns is sent as JSON.
type Part func(ctx context.Context, config []byte, serve func(answer func(question string) (any, error)) error) error

// Main must be called first thing by a program that starts children, with all
// its parts. It reports whether this process is a child; then it has done all
// there was to do, and the process should end, with err.
func Main(parts map[string]Part) (was bool, err error) {
	if len(os.Args) != 4 || os.Args[1] != mark {
		return false, nil
	}
	part, ok := parts[os.Args[2]]
	if !ok {
		return true, fmt.Errorf("there is no part %q", os.Args[2])
	}
	signal.Ignore(os.Interrupt) // it is for the parent, who closes our input
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	err = part(ctx, []byte(os.Args[3]), func(answer func(string) (any, error)) error {
		return serve(os.Stdin, os.Stdout, answer)
	})
	if err != nil {
		err = fmt.Errorf("%s: %w", os.Args[2], err)
	}
	return true, err
}

// A reply is one line from a child. The first says that it is ready.
type reply struct {
	Answer json.RawMessage `json:"answer"`
	Err    string          `json:"err,omitempty"`
}

func serve(in io.Reader, out io.Writer, answer func(string) (any, error)) error {
	lines, replies := bufio.NewScanner(in), json.NewEncoder(out)
	if err := replies.Encode(reply{}); err != nil {
		return err
	}
	for lines.Scan() {
		var r reply
		a, err := answer(lines.Text())
		if err == nil {
			r.Answer, err = json.Marshal(a)
		}
		if err != nil {
			r.Err = err.Error()
		}
		if err := replies.Encode(r); err != nil {
			return err
		}
	}
	return lines.Err()
}

// A Spec says what child to start.
type Spec struct {
	// Part is its name in the map given to Main.
	Part string
	// Config is given to the part as JSON.
	Config any
	// Under is a command that runs another, such as "taskset -c 0". Default:
	// none.
	Under []string
	// Env is what its environment has beside ours.
	Env []string
}

// A Child is a running part. It belongs to one goroutine.
type Child struct {
	part    string
	cmd     *exec.Cmd
	in      io.WriteCloser
	replies *json.Decoder
}

// Start starts a child and waits until it is ready. It is killed when ctx
// ends.
func Start(ctx context.Context, s Spec) (*Child, error) {
	config, err := json.Marshal(s.Config)
	if err != nil {
		return nil, err
	}
	self, err := os.Executable()
	if err != nil {
		return nil, err
	}
	args := append(append([]string{}, s.Under...), self, mark, s.Part, string(config))
	c := &Child{part: s.Part, cmd: exec.CommandContext(ctx, args[0], args[1:]...)}
	c.cmd.Stderr = os.Stderr
	c.cmd.Env = append(os.Environ(), s.Env...)
	if c.in, err = c.cmd.StdinPipe(); err != nil {
		return nil, err
	}
	out, err := c.cmd.StdoutPipe()
	if err != nil {
		return nil, err
	}
	c.replies = json.NewDecoder(out)
	if err := c.cmd.Start(); err != nil {
		return nil, fmt.Errorf("start the part %q: %w", s.Part, err)
	}
	if err := c.hear(nil); err != nil {
		return nil, errors.Join(fmt.Errorf("start the part %q: %w", s.Part, err), c.Close())
	}
	return c, nil
}

// Pid is its process id.
func (c *Child) Pid() int { return c.cmd.Process.Pid }

// Ask asks a question of one line, and stores the answer in what answer points
// to, unless that is nil.
func (c *Child) Ask(question string, answer any) error {
	if strings.Contains(question, "\n") {
		return fmt.Errorf("question %q: it must be one line", question)
	}
	_, err := io.WriteString(c.in, question+"\n")
	if err == nil {
		err = c.hear(answer)
	}
	if err != nil {
		return fmt.Errorf("ask the part %q %s: %w", c.part, question, err)
	}
	return nil
}

// hear takes in one reply.
func (c *Child) hear(answer any) error {
	var r reply
	if err := c.replies.Decode(&r); err != nil {
		return err
	}
	if r.Err != "" {
		return errors.New(r.Err)
	}
	if answer == nil || len(r.Answer) == 0 {
		return nil
	}
	return json.Unmarshal(r.Answer, answer)
}

// Close tells the child to end, and waits until it has.
func (c *Child) Close() error {
	_ = c.in.Close()
	if err := c.cmd.Wait(); err != nil {
		return fmt.Errorf("the part %q: %w", c.part, err)
	}
	return nil
}
