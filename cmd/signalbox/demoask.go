package main

import (
	"cmp"
	"context"
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
		times  int
		within time.Duration
	)
	cmd := &cobra.Command{
		Use:   "ask URL",
		Short: "Ask a URL several times, and say who answered",
		Long: `Asks a URL several times, on a connection of its own each time. The host is
looked up anew each time and its addresses are taken in turn, as many clients
together would take them. Each answer is printed, and at the end how many came
through each address from each demo upstream. It exits with 1 if one failed.`,
		Example: "  signalbox demo ask http://nodes:8000/hello -n 12",
		Args:    cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			u, err := url.Parse(args[0])
			if err != nil || u.Scheme != "http" || u.Host == "" {
				return &usageError{fmt.Errorf("URL %q must be as http://nodes:8000/hello", args[0])}
			}
			a := &asker{url: u, told: map[string]int{}, names: map[string]string{}}
			failed := 0
			for range times {
				ctx, cancel := context.WithTimeout(cmd.Context(), within)
				line, ok := a.ask(ctx)
				cancel()
				_, _ = fmt.Fprintln(cmd.OutOrStdout(), line)
				if !ok {
					failed++
				}
			}
			a.sum(cmd.OutOrStdout())
			if failed > 0 {
				return fmt.Errorf("%d of %d requests failed", failed, times)
			}
			return nil
		},
	}
	cmd.Flags().IntVarP(&times, "times", "n", 9, "how many times to ask")
	cmd.Flags().DurationVar(&within, "timeout", 5*time.Second, "how long one answer may take")
	return cmd
}

// An asker asks a URL at the addresses its host stands for.
type asker struct {
	url   *url.URL
	turn  int               // how many addresses were taken
	told  map[string]int    // answers, by "ADDRESS from UPSTREAM"
	names map[string]string // of addresses, as the resolver has them
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
		a.told[addr+" failed"]++
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
