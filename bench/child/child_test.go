package child

import (
	"context"
	"errors"
	"fmt"
	"os"
	"strings"
	"testing"

	"go.uber.org/goleak"
)

func TestMain(m *testing.M) {
	was, err := Main(map[string]Part{"echo": echo, "broken": broken})
	if was {
		if err != nil {
			os.Exit(3)
		}
		return
	}
	goleak.VerifyTestMain(m)
}

// echo answers with its configuration and the question, but fails when asked
// to.
func echo(_ context.Context, config []byte, serve func(func(string) (any, error)) error) error {
	return serve(func(question string) (any, error) {
		if question == "fail" {
			return nil, errors.New("asked to")
		}
		return fmt.Sprintf("%s %s %s", config, question, os.Getenv("CHILD_TEST")), nil
	})
}

func broken(context.Context, []byte, func(func(string) (any, error)) error) error {
	return errors.New("broken from the start")
}

func TestAChildAnswersInTurn(t *testing.T) {
	c, err := Start(t.Context(), Spec{Part: "echo", Config: 7, Env: []string{"CHILD_TEST=yes"}})
	if err != nil {
		t.Fatal(err)
	}
	for _, question := range []string{"one", "two words", ""} {
		var got string
		if err := c.Ask(question, &got); err != nil {
			t.Fatal(err)
		}
		if want := "7 " + question + " yes"; got != want {
			t.Errorf("asked %q: got %q, want %q", question, got, want)
		}
	}
	if err := c.Ask("fail", nil); err == nil || !strings.Contains(err.Error(), "asked to") {
		t.Errorf("a question that fails: got %v", err)
	}
	if err := c.Ask("two\nlines", nil); err == nil {
		t.Error("a question of two lines was asked")
	}
	if err := c.Ask("after", nil); err != nil {
		t.Errorf("a question after one that failed: %v", err)
	}
	if err := c.Close(); err != nil {
		t.Error(err)
	}
}

func TestAChildThatCannotStartIsAnError(t *testing.T) {
	for _, part := range []string{"broken", "unheard of"} {
		if c, err := Start(t.Context(), Spec{Part: part}); err == nil {
			t.Errorf("%s: it started", part)
			_ = c.Close()
		}
	}
}

func TestAChildEndsWithItsContext(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	c, err := Start(ctx, Spec{Part: "echo"})
	if err != nil {
		t.Fatal(err)
	}
	cancel()
	if err := c.Close(); err == nil {
		t.Error("a child that was killed ended well")
	}
}
