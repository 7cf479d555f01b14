package main

import (
	"context"
	"fmt"
	"io"
	"net/url"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"google.golang.org/grpc"
	"google.golang.org/protobuf/types/known/timestamppb"

	signalboxv1 "signalbox/proto/gen/signalbox/v1"
)

func newRoute() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "route",
		Short: "Write, read and remove routes",
		Example: `  signalbox route put blog --path /blog --to http://127.0.0.1:8080 --wait
  signalbox route put app --host app.example.org --to http://10.0.0.1:80 --to http://10.0.0.2:80
  signalbox route put --file routes.yaml
  signalbox route list --label team=web
  signalbox route delete blog`,
	}
	cmd.AddCommand(newRoutePut(), newRouteGet(), newRouteList(), newRouteDelete())
	return cmd
}

// routeFlags are a route as flags.
type routeFlags struct {
	host, path, data string
	to, labels       []string
	strip, upstream  bool
}

func newRoutePut() *cobra.Command {
	var (
		c    client
		w    writeFlags
		r    routeFlags
		file string
		cut  bool
	)
	cmd := &cobra.Command{
		Use:   "put [NAME]",
		Short: "Write a route, or all routes of a file",
		Long: `Writes a route, new or in place of the one with its name: from flags, or with
--file one route or a list of them in YAML or JSON, with the fields of
signalbox.v1.Route. A list is one transaction: all are written, or none.`,
		Args: atMostOne("name"),
		RunE: func(cmd *cobra.Command, args []string) error {
			routes, err := r.routes(cmd.InOrStdin(), file, args)
			if err != nil {
				return err
			}
			warnOfSecrets(cmd.ErrOrStderr(), routes)
			return c.call(cmd.Context(), func(ctx context.Context, conn grpc.ClientConnInterface) error {
				return putRoutes(ctx, cmd.OutOrStdout(), &c, signalboxv1.NewRouteServiceClient(conn), routes, &w, cut)
			})
		},
	}
	f := cmd.Flags()
	f.StringVar(&r.host, "host", "", "host to match, or *.DOMAIN; any if not given")
	f.StringVar(&r.path, "path", "", "path prefix to match; / if not given")
	f.StringSliceVar(&r.to, "to", nil, "upstream URL; several are taken in turn")
	f.BoolVar(&r.strip, "strip-prefix", false, "send requests on without the matched prefix")
	f.BoolVar(&r.upstream, "upstream-host", false, "send the upstream's own host instead of the client's")
	f.StringVar(&r.data, "data", "", "JSON object to keep with the route")
	f.StringSliceVar(&r.labels, "label", nil, "label, KEY=VALUE; may be repeated")
	f.StringVarP(&file, "file", "f", "", "file with routes instead of flags; - is standard input")
	f.BoolVar(&cut, "split", false, "allow a long list to be written in several transactions")
	w.add(f)
	c.add(f)
	return cmd
}

// routes are what is to be written.
func (r *routeFlags) routes(in io.Reader, file string, args []string) ([]*signalboxv1.Route, error) {
	if file != "" {
		if len(args) > 0 || len(r.to) > 0 {
			return nil, &usageError{fmt.Errorf("--file takes the place of a name and of --to")}
		}
		return readMessages(in, file, func() *signalboxv1.Route { return new(signalboxv1.Route) })
	}
	if len(args) == 0 || len(r.to) == 0 {
		return nil, &usageError{errNothing}
	}
	labels, err := labelMap(r.labels)
	if err != nil {
		return nil, err
	}
	route := &signalboxv1.Route{
		Name: args[0], Data: r.data, Labels: labels,
		Match:  &signalboxv1.Match{Host: r.host, PathPrefix: r.path},
		Policy: new(signalboxv1.RoutePolicy),
	}
	for _, u := range r.to {
		route.Upstreams = append(route.Upstreams, &signalboxv1.Upstream{Url: u})
	}
	if r.strip {
		route.Policy.StripPrefix = &r.strip
	}
	if r.upstream {
		route.Policy.Host = signalboxv1.HostHeader_HOST_HEADER_UPSTREAM
	}
	return []*signalboxv1.Route{route}, nil
}

// warnOfSecrets says which routes tell a secret to their readers, and to no
// upstream.
func warnOfSecrets(to io.Writer, routes []*signalboxv1.Route) {
	for _, r := range routes {
		for _, up := range r.GetUpstreams() {
			if u, err := url.Parse(up.GetUrl()); err == nil && u.User != nil {
				_, _ = fmt.Fprintf(to, "signalbox: warning: route %s: the user and password in the URL of an upstream are never sent to it, and everybody who may read routes sees them\n", r.GetName())
				break
			}
		}
	}
}

// shownURL is an upstream's URL for a table, which shows no password.
func shownURL(raw string) string {
	u, err := url.Parse(raw)
	if err != nil || u.User == nil {
		return raw
	}
	return u.Redacted()
}

func putRoutes(ctx context.Context, out io.Writer, c *client, api signalboxv1.RouteServiceClient, routes []*signalboxv1.Route, w *writeFlags, cut bool) error {
	wait, timeout := w.kind()
	if len(routes) == 1 {
		answer, err := api.PutRoute(ctx, &signalboxv1.PutRouteRequest{
			Route: routes[0], ExpectedRevision: w.expected(), ValidateOnly: w.validate, Wait: wait, WaitTimeout: timeout,
		})
		if err != nil {
			return err
		}
		return w.told(out, c, "route "+routes[0].GetName(), answer)
	}
	answer, err := api.BatchPutRoutes(ctx, &signalboxv1.BatchPutRoutesRequest{
		Routes: routes, Split: cut, ValidateOnly: w.validate, Wait: wait, WaitTimeout: timeout,
	})
	if err != nil {
		return err
	}
	return w.told(out, c, fmt.Sprintf("%d routes", len(routes)), answer)
}

func newRouteGet() *cobra.Command {
	var c client
	cmd := &cobra.Command{
		Use:   "get NAME",
		Short: "Show one route, and what it carried",
		Args:  oneName,
		RunE: func(cmd *cobra.Command, args []string) error {
			return c.call(cmd.Context(), func(ctx context.Context, conn grpc.ClientConnInterface) error {
				answer, err := signalboxv1.NewRouteServiceClient(conn).GetRoute(ctx, &signalboxv1.GetRouteRequest{Name: args[0]})
				if err != nil {
					return err
				}
				return c.print(cmd.OutOrStdout(), answer, func(w io.Writer) {
					routeTable(w, []*signalboxv1.RouteEntry{{Route: answer.GetRoute(), Observed: answer.GetObserved()}})
				})
			})
		},
	}
	c.add(cmd.Flags())
	return cmd
}

func newRouteList() *cobra.Command {
	var (
		c        client
		request  signalboxv1.ListRoutesRequest
		inactive string
	)
	cmd := &cobra.Command{
		Use:   "list",
		Short: "Show routes, and what they carried",
		Args:  noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if inactive != "" {
				t, err := time.Parse(time.RFC3339, inactive)
				if err != nil {
					return &usageError{fmt.Errorf("--inactive-since %q must be a time as 2026-01-02T15:04:05Z", inactive)}
				}
				request.InactiveSince = timestamppb.New(t)
			}
			return c.call(cmd.Context(), func(ctx context.Context, conn grpc.ClientConnInterface) error {
				request.PageSize = pageSize
				all, err := allRoutes(ctx, signalboxv1.NewRouteServiceClient(conn), &request)
				if err != nil {
					return err
				}
				return c.print(cmd.OutOrStdout(), all, func(w io.Writer) { routeTable(w, all.GetRoutes()) })
			})
		},
	}
	f := cmd.Flags()
	f.StringVar(&request.NamePrefix, "prefix", "", "only names that begin so")
	f.StringSliceVar(&request.Labels, "label", nil, "only with this label, KEY or KEY=VALUE; may be repeated")
	f.StringVar(&inactive, "inactive-since", "", "only those without activity since this time, as 2026-01-02T15:04:05Z")
	c.add(f)
	return cmd
}

// allRoutes gathers all pages.
func allRoutes(ctx context.Context, api signalboxv1.RouteServiceClient, request *signalboxv1.ListRoutesRequest) (*signalboxv1.ListRoutesResponse, error) {
	all := new(signalboxv1.ListRoutesResponse)
	return all, pages(func(token string) (string, error) {
		request.PageToken = token
		page, err := api.ListRoutes(ctx, request)
		all.Routes, all.Version = append(all.Routes, page.GetRoutes()...), page.GetVersion()
		return page.GetNextPageToken(), err
	})
}

func routeTable(w io.Writer, entries []*signalboxv1.RouteEntry) {
	_, _ = fmt.Fprintln(w, "NAME\tMATCH\tUPSTREAMS\tREV\tREQUESTS\tOPEN\tLAST ACTIVITY")
	for _, e := range entries {
		r, o := e.GetRoute(), e.GetObserved()
		var to []string
		for _, u := range r.GetUpstreams() {
			to = append(to, shownURL(u.GetUrl()))
		}
		last := "-"
		if o.GetLastActivity() != nil {
			last = o.GetLastActivity().AsTime().Format(time.RFC3339)
		}
		_, _ = fmt.Fprintf(w, "%s\t%s%s\t%s\t%d\t%d\t%d\t%s\n", r.GetName(), r.GetMatch().GetHost(), r.GetMatch().GetPathPrefix(),
			strings.Join(to, " "), r.GetMeta().GetRevision(), o.GetCounters().GetRequests(), o.GetOpenStreams(), last)
	}
}

func newRouteDelete() *cobra.Command {
	var (
		c   client
		w   writeFlags
		cut bool
	)
	cmd := &cobra.Command{
		Use:   "delete NAME...",
		Short: "Remove routes, in one transaction",
		Args:  someNames,
		RunE: func(cmd *cobra.Command, args []string) error {
			return c.call(cmd.Context(), func(ctx context.Context, conn grpc.ClientConnInterface) error {
				return deleteRoutes(ctx, cmd.OutOrStdout(), &c, signalboxv1.NewRouteServiceClient(conn), args, &w, cut)
			})
		},
	}
	f := cmd.Flags()
	f.BoolVar(&cut, "split", false, "allow a long list to be removed in several transactions")
	w.add(f)
	c.add(f)
	return cmd
}

func deleteRoutes(ctx context.Context, out io.Writer, c *client, api signalboxv1.RouteServiceClient, names []string, w *writeFlags, cut bool) error {
	wait, timeout := w.kind()
	if len(names) == 1 {
		answer, err := api.DeleteRoute(ctx, &signalboxv1.DeleteRouteRequest{
			Name: names[0], ExpectedRevision: w.expected(), ValidateOnly: w.validate, Wait: wait, WaitTimeout: timeout,
		})
		if err != nil {
			return err
		}
		return w.told(out, c, "route "+names[0]+" removed", answer)
	}
	if w.expected() != nil {
		return &usageError{fmt.Errorf("--expect goes with one name")}
	}
	answer, err := api.BatchDeleteRoutes(ctx, &signalboxv1.BatchDeleteRoutesRequest{
		Names: names, Split: cut, ValidateOnly: w.validate, Wait: wait, WaitTimeout: timeout,
	})
	if err != nil {
		return err
	}
	return w.told(out, c, fmt.Sprintf("%d of %d routes removed", answer.GetRemoved(), len(names)), answer)
}
