package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"net"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"
)

func newDemoAsk() *cobra.Command {
	var (
		times         int
		every, within time.Duration
	)
	cmd := &cobra.Command{
		Use:   "ask URL",
		Short: "Ask a URL several times, and say who answered",
		Long: `Asks a URL several times, on a connection of its own each time. The host is
looked up anew each time and its addresses are taken in turn, as many clients
together would take them. Each answer is printed, and at the end how many came
through each address from each demo upstream. With -n 0 it goes on until it is
interrupted, and prints failures at once and, of the rest, a line a second. It
exits with 1 if one failed.`,
		Example: `  signalbox demo ask http://nodes:8000/hello -n 12
  signalbox demo ask http://nodes:8000/hello -n 0 --every 10ms`,
		Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			u, err := url.Parse(args[0])
			switch {
			case err != nil || u.Scheme != "http" || u.Host == "":
				return &usageError{fmt.Errorf("URL %q must be as http://nodes:8000/hello", args[0])}
			case times < 0:
				return &usageError{fmt.Errorf("--times %d must be 0, to go on until interrupted, or more", times)}
			case every < 0:
				return &usageError{fmt.Errorf("--every %v must not be negative", every)}
			}
			a := &asker{url: u, told: map[string]int{}, names: map[string]string{}}
			a.askAll(cmd.Context(), times, every, within, cmd.OutOrStdout())
			a.sum(cmd.OutOrStdout())
			if a.failed > 0 {
				return fmt.Errorf("%d of %d requests failed", a.failed, a.asked)
			}
			return nil
		},
	}
	cmd.Flags().IntVarP(&times, "times", "n", 9, "how many times to ask; 0 until interrupted")
	cmd.Flags().DurationVar(&every, "every", 0, "how long after one request the next may begin, at the earliest")
	cmd.Flags().DurationVar(&within, "timeout", 5*time.Second, "how long one answer may take")
	return cmd
}

// An asker asks a URL at the addresses its host stands for.
type asker struct {
	url    *url.URL
	turn   int               // how many addresses were taken
	asked  int               // requests that have ended, one way or the other
	failed int               // how many of them in the other
	told   map[string]int    // answers, by "ADDRESS from UPSTREAM"
	names  map[string]string // of addresses, as the resolver has them
}

// askAll asks so many times, or, for 0, until ctx ends, and prints what becomes
// of it. A request that ctx has ended counts as none.
func (a *asker) askAll(ctx context.Context, times int, every, within time.Duration, out io.Writer) {
	second := time.NewTicker(time.Second)
	defer second.Stop()
	var said asker // what the last line counted
	for times == 0 || a.asked < times {
		next := time.After(every)
		one, cancel := context.WithTimeout(ctx, within)
		line, ok := a.ask(one)
		cancel()
		if ctx.Err() != nil {
			return
		}
		a.asked++
		if !ok {
			a.failed++
		}
		switch {
		case times > 0:
			_, _ = fmt.Fprintln(out, line)
		case !ok:
			_, _ = fmt.Fprintln(out, time.Now().Format(time.TimeOnly), line)
		}
		select {
		case <-ctx.Done():
			return
		case <-next:
		}
		select {
		case <-second.C:
			if times == 0 {
				failed := a.failed - said.failed
				_, _ = fmt.Fprintf(out, "%s %d answered, %d failed\n", time.Now().Format(time.TimeOnly), a.asked-said.asked-failed, failed)
				said.asked, said.failed = a.asked, a.failed
			}
		default:
		}
	}
}

// ask asks once, at the next address, and returns a line about it.
func (a *asker) ask(ctx context.Context) (line string, ok bool) {
	addr, err := a.next(ctx)
	if err != nil {
		return err.Error(), false
	}
	transport := &http.Transport{DisableKeepAlives: true, DialContext: func(ctx context.Context, network, _ string) (net.Conn, error) {
		return new(net.Dialer).DialContext(ctx, network, addr)
	}}
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, a.url.String(), nil)
	if err != nil {
		return err.Error(), false
	}
	res, err := transport.RoundTrip(req)
	if err != nil {
		if !errors.Is(err, context.Canceled) {
			a.told[addr+" failed"]++
		}
		return fmt.Sprintf("%s: %v", addr, err), false
	}
	defer res.Body.Close()
	body, _ := io.ReadAll(io.LimitReader(res.Body, 512))
	text := strings.TrimSpace(string(body))
	if res.StatusCode != http.StatusOK {
		a.told[addr+" failed"]++
		return fmt.Sprintf("%s: %s: %s", addr, res.Status, text), false
	}
	a.told[a.named(ctx, addr)+" from "+cmp.Or(res.Header.Get(demoHeader), "an upstream without a name")]++
	return text, true
}

// next looks the host up and takes the address whose turn it is.
func (a *asker) next(ctx context.Context) (string, error) {
	found, err := net.DefaultResolver.LookupHost(ctx, a.url.Hostname())
	if err != nil {
		return "", err
	}
	slices.Sort(found)
	a.turn++
	return net.JoinHostPort(found[a.turn%len(found)], cmp.Or(a.url.Port(), "80")), nil
}

// named is an address with the name it has, if it has one.
func (a *asker) named(ctx context.Context, addr string) string {
	if a.names[addr] == "" {
		a.names[addr] = addr
		host, _, _ := net.SplitHostPort(addr)
		if names, err := net.DefaultResolver.LookupAddr(ctx, host); err == nil && len(names) > 0 {
			name, _, _ := strings.Cut(names[0], ".")
			a.names[addr] = addr + " (" + name + ")"
		}
	}
	return a.names[addr]
}

// sum prints how many answers came from where.
func (a *asker) sum(out io.Writer) {
	for _, who := range slices.Sorted(maps.Keys(a.told)) {
		_, _ = fmt.Fprintf(out, "%4d through %s\n", a.told[who], who)
	}
}
