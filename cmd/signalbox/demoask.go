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
	"os"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"
)

func newDemoAsk() *cobra.Command {
	var (
		times         int
		every, within time.Duration
		anyOf         bool
	)
	cmd := &cobra.Command{
		Use:   "ask URL",
		Short: "Ask a URL several times, and say who answered",
		Long: `Asks a URL several times, on a connection of its own each time. The host is
looked up anew each time and its addresses are taken in turn, as many clients
together would take them; with --any the next is taken until one answers, as most
clients do by themselves. A URL of udp is sent a datagram. Each answer is printed, and at the end how many came
through each address from each demo upstream. With -n 0 it goes on until it is
interrupted, and prints failures at once and, of the rest, a line a second. It
exits with 1 if one failed.`,
		Example: `  signalbox demo ask http://nodes:8000/hello -n 12
  signalbox demo ask http://nodes:8000/hello -n 0 --every 10ms
  signalbox demo ask udp://nodes:10102 --any`,
		Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			u, err := url.Parse(args[0])
			switch {
			case err != nil || u.Scheme != "http" && u.Scheme != "udp" || u.Host == "":
				return &usageError{fmt.Errorf("URL %q must be as http://nodes:8000/hello or udp://nodes:10102", args[0])}
			case u.Scheme == "udp" && u.Port() == "":
				return &usageError{fmt.Errorf("URL %q needs a port, as in udp://nodes:10102", args[0])}
			case times < 0:
				return &usageError{fmt.Errorf("--times %d must be 0, to go on until interrupted, or more", times)}
			case every < 0:
				return &usageError{fmt.Errorf("--every %v must not be negative", every)}
			}
			a := &asker{url: u, any: anyOf, told: map[string]int{}, names: map[string]string{}}
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
	cmd.Flags().BoolVar(&anyOf, "any", false, "take the addresses of the host until one answers")
	cmd.Flags().DurationVar(&within, "timeout", 5*time.Second, "how long one answer may take")
	return cmd
}

// An asker asks a URL at the addresses its host stands for.
type asker struct {
	url    *url.URL
	any    bool
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

// ask asks once, at the next address or at all until one answers, and returns a
// line about it.
func (a *asker) ask(ctx context.Context) (line string, ok bool) {
	addrs, err := a.next(ctx)
	if err != nil {
		return err.Error(), false
	}
	for _, addr := range addrs {
		if a.url.Scheme == "udp" {
			line, ok = a.askUDP(ctx, addr)
		} else {
			line, ok = a.askHTTP(ctx, addr)
		}
		if ok {
			return line, ok
		}
	}
	if !errors.Is(ctx.Err(), context.Canceled) {
		a.told[addrs[len(addrs)-1]+" failed"]++
	}
	return line, false
}

// askUDP sends a datagram to an address. Where nobody listens the answer is an
// error; a datagram that is lost is sent again.
func (a *asker) askUDP(ctx context.Context, addr string) (line string, ok bool) {
	c, err := new(net.Dialer).DialContext(ctx, "udp", addr)
	if err != nil {
		return err.Error(), false
	}
	defer c.Close()
	answer := make([]byte, 65536)
	for try := 0; ; try++ {
		_ = c.SetDeadline(time.Now().Add(time.Second))
		_, err := fmt.Fprintf(c, "datagram %d", a.asked+1)
		var n int
		if err == nil {
			n, err = c.Read(answer)
		}
		if err == nil {
			text := string(answer[:n])
			name, _, _ := strings.Cut(text, " ")
			a.told[a.named(ctx, addr)+" from "+name]++
			return text, true
		}
		if try == 2 || ctx.Err() != nil || !errors.Is(err, os.ErrDeadlineExceeded) {
			return fmt.Sprintf("%s: %v", addr, err), false
		}
	}
}

// askHTTP sends a request to an address.
func (a *asker) askHTTP(ctx context.Context, addr string) (line string, ok bool) {
	transport := &http.Transport{DisableKeepAlives: true, DialContext: func(ctx context.Context, network, _ string) (net.Conn, error) {
		return new(net.Dialer).DialContext(ctx, network, addr)
	}}
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, a.url.String(), nil)
	if err != nil {
		return err.Error(), false
	}
	res, err := transport.RoundTrip(req)
	if err != nil {
		return fmt.Sprintf("%s: %v", addr, err), false
	}
	defer res.Body.Close()
	body, _ := io.ReadAll(io.LimitReader(res.Body, 512))
	text := strings.TrimSpace(string(body))
	if res.StatusCode != http.StatusOK {
		return fmt.Sprintf("%s: %s: %s", addr, res.Status, text), false
	}
	a.told[a.named(ctx, addr)+" from "+cmp.Or(res.Header.Get(demoHeader), "an upstream without a name")]++
	return text, true
}

// next looks the host up and returns the address whose turn it is, or all from
// that on.
func (a *asker) next(ctx context.Context) ([]string, error) {
	found, err := net.DefaultResolver.LookupHost(ctx, a.url.Hostname())
	if err != nil {
		return nil, err
	}
	slices.Sort(found)
	a.turn++
	first := a.turn % len(found)
	addrs := slices.Concat(found[first:], found[:first])
	for i, host := range addrs {
		addrs[i] = net.JoinHostPort(host, cmp.Or(a.url.Port(), "80"))
	}
	if !a.any {
		addrs = addrs[:1]
	}
	return addrs, nil
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
