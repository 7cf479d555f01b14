package main

import (
	"context"
	"fmt"
	"io"
	"strings"

	"github.com/spf13/cobra"
	"google.golang.org/grpc"

	signalboxv1 "signalbox/proto/gen/signalbox/v1"
)

func newListener() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "listener",
		Short: "Write, read and remove the defaults of public listeners",
		Example: `  signalbox listener put public --trusted-proxy 10.0.0.0/8
  signalbox listener put --file listener.yaml --wait
  signalbox listener list`,
	}
	cmd.AddCommand(newListenerPut(), newListenerList(), newListenerDelete())
	return cmd
}

func newListenerPut() *cobra.Command {
	var (
		c    client
		w    writeFlags
		file string
		l    signalboxv1.Listener
	)
	cmd := &cobra.Command{
		Use:   "put [NAME]",
		Short: "Write a listener, in place of the one with its name",
		Args:  atMostOne("name"),
		RunE: func(cmd *cobra.Command, args []string) error {
			record, err := oneListener(cmd.InOrStdin(), file, args, &l)
			if err != nil {
				return err
			}
			return c.call(cmd.Context(), func(ctx context.Context, conn grpc.ClientConnInterface) error {
				wait, timeout := w.kind()
				answer, err := signalboxv1.NewListenerServiceClient(conn).PutListener(ctx, &signalboxv1.PutListenerRequest{
					Listener: record, ExpectedRevision: w.expected(), ValidateOnly: w.validate, Wait: wait, WaitTimeout: timeout,
				})
				if err != nil {
					return err
				}
				return w.told(cmd.OutOrStdout(), &c, "listener "+record.GetName(), answer)
			})
		},
	}
	f := cmd.Flags()
	f.StringSliceVar(&l.TrustedProxies, "trusted-proxy", nil, "address or CIDR prefix whose forwarding headers are believed; may be repeated")
	f.StringSliceVar(&l.AllowedHeaderNames, "allow-header", nil, "header name with _ or . to forward all the same; may be repeated")
	f.BoolVar(&l.ErrorDetails, "error-details", false, "add the header signalbox-error to a node's own answers")
	f.StringVarP(&file, "file", "f", "", "file with the listener instead of flags; - is standard input")
	w.add(f)
	c.add(f)
	return cmd
}

// oneListener is the listener of the flags, or of a file.
func oneListener(in io.Reader, file string, args []string, flags *signalboxv1.Listener) (*signalboxv1.Listener, error) {
	if file == "" {
		if len(args) != 1 {
			return nil, &usageError{fmt.Errorf("give the listener's name, as \"public\", or a file by --file")}
		}
		flags.Name = args[0]
		return flags, nil
	}
	all, err := readMessages(in, file, func() *signalboxv1.Listener { return new(signalboxv1.Listener) })
	if err != nil {
		return nil, err
	}
	if len(all) != 1 || len(args) > 0 {
		return nil, &usageError{fmt.Errorf("--file must hold one listener, and takes the place of a name")}
	}
	return all[0], nil
}

func newListenerList() *cobra.Command {
	var c client
	cmd := &cobra.Command{
		Use:   "list",
		Short: "Show all listeners that have a record",
		Args:  noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			return c.call(cmd.Context(), func(ctx context.Context, conn grpc.ClientConnInterface) error {
				all, err := allListeners(ctx, signalboxv1.NewListenerServiceClient(conn), pageSize)
				if err != nil {
					return err
				}
				return c.print(cmd.OutOrStdout(), all, func(w io.Writer) {
					_, _ = fmt.Fprintln(w, "NAME\tREV\tTRUSTED PROXIES\tALLOWED HEADERS")
					for _, l := range all.GetListeners() {
						_, _ = fmt.Fprintf(w, "%s\t%d\t%s\t%s\n", l.GetName(), l.GetMeta().GetRevision(),
							strings.Join(l.GetTrustedProxies(), " "), strings.Join(l.GetAllowedHeaderNames(), " "))
					}
				})
			})
		},
	}
	c.add(cmd.Flags())
	return cmd
}

// allListeners gathers all pages.
func allListeners(ctx context.Context, api signalboxv1.ListenerServiceClient, size int32) (*signalboxv1.ListListenersResponse, error) {
	all := new(signalboxv1.ListListenersResponse)
	return all, pages(func(token string) (string, error) {
		page, err := api.ListListeners(ctx, &signalboxv1.ListListenersRequest{PageSize: size, PageToken: token})
		all.Listeners, all.Version = append(all.Listeners, page.GetListeners()...), page.GetVersion()
		return page.GetNextPageToken(), err
	})
}

func newListenerDelete() *cobra.Command {
	var (
		c client
		w writeFlags
	)
	cmd := &cobra.Command{
		Use:   "delete NAME",
		Short: "Remove a listener's record: nodes go back to the defaults",
		Args:  oneName,
		RunE: func(cmd *cobra.Command, args []string) error {
			return c.call(cmd.Context(), func(ctx context.Context, conn grpc.ClientConnInterface) error {
				wait, timeout := w.kind()
				answer, err := signalboxv1.NewListenerServiceClient(conn).DeleteListener(ctx, &signalboxv1.DeleteListenerRequest{
					Name: args[0], ExpectedRevision: w.expected(), ValidateOnly: w.validate, Wait: wait, WaitTimeout: timeout,
				})
				if err != nil {
					return err
				}
				return w.told(cmd.OutOrStdout(), &c, "listener "+args[0]+" removed", answer)
			})
		},
	}
	w.add(cmd.Flags())
	c.add(cmd.Flags())
	return cmd
}
