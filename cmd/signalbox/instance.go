package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
	"google.golang.org/grpc"

	signalboxv1 "signalbox/proto/gen/signalbox/v1"
	"signalbox/proto/tunnelurl"
)

func newInstance() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "instance",
		Short: "Write, read, start, stop and remove tunnel instances",
		Example: `  signalbox instance put web --url 'server://0.0.0.0:10101/127.0.0.1:8080?tls=1' --node node-1 --wait
  signalbox instance put --file instances.yaml
  signalbox instance list
  signalbox instance restart web
  signalbox instance logs web`,
	}
	cmd.AddCommand(newInstancePut(), newInstanceGet(), newInstanceList(), newInstanceDelete(), newInstanceLogs(),
		newInstanceAction("start", "Have instances run", signalboxv1.InstanceAction_INSTANCE_ACTION_START),
		newInstanceAction("stop", "Have instances not run; what they carry is cut", signalboxv1.InstanceAction_INSTANCE_ACTION_STOP),
		newInstanceAction("restart", "Have instances end and run anew", signalboxv1.InstanceAction_INSTANCE_ACTION_RESTART),
		newInstanceAction("reset", "Have instances count from zero", signalboxv1.InstanceAction_INSTANCE_ACTION_RESET))
	return cmd
}

// placementFlags say where instances may run.
type placementFlags struct {
	every         bool
	labels, nodes []string
}

func (p *placementFlags) add(f *pflag.FlagSet) {
	f.BoolVar(&p.every, "every", false, "run it on all nodes it may run on, and not on one")
	f.StringSliceVar(&p.labels, "label", nil, "run it on nodes with this label only, KEY or KEY=VALUE; may be repeated")
	f.StringSliceVar(&p.nodes, "node", nil, "run it on this node only, or on one of several")
}

// placement is what the flags say, nil for nothing.
func (p *placementFlags) placement() *signalboxv1.Placement {
	if !p.every && len(p.labels)+len(p.nodes) == 0 {
		return nil
	}
	return &signalboxv1.Placement{Every: p.every, Labels: p.labels, Nodes: p.nodes}
}

// instanceFlags are an instance as flags.
type instanceFlags struct {
	url, alias, isolation string
	tags                  []string
	restart, stopped      bool
	where                 placementFlags
}

func newInstancePut() *cobra.Command {
	var (
		c    client
		w    writeFlags
		i    instanceFlags
		file string
	)
	cmd := &cobra.Command{
		Use:   "put [NAME]",
		Short: "Write an instance, or all instances of a file",
		Long: `Writes an instance, new or in place of the one with its name: from flags, or with
--file one instance or a list of them in YAML or JSON, with the fields of
signalbox.v1.Instance. Without a name it is given one. Those of a list are
written one after the other.

A KEY in a URL on the command line can be seen by others on this machine; in a
file it cannot.`,
		Args: atMostOne("name"),
		RunE: func(cmd *cobra.Command, args []string) error {
			instances, err := i.instances(cmd.InOrStdin(), file, args)
			if err != nil {
				return err
			}
			return c.call(cmd.Context(), func(ctx context.Context, conn grpc.ClientConnInterface) error {
				return putInstances(ctx, cmd.OutOrStdout(), &c, signalboxv1.NewInstanceServiceClient(conn), instances, &w)
			})
		},
	}
	f := cmd.Flags()
	f.StringVar(&i.url, "url", "", "what it does, as server://[KEY@]HOST:PORT/TARGET?PARAMETERS or client://…")
	f.StringVar(&i.alias, "alias", "", "what people call it")
	f.BoolVar(&i.restart, "restart", false, "have a stopped one started whenever \"signalbox nodepass\" is")
	f.BoolVar(&i.stopped, "stopped", false, "it is not to run yet")
	f.StringVar(&i.isolation, "isolation", "serve", "what a node does with it that has lost every control plane: serve on, or stop, so that no two ever run it")
	f.StringSliceVar(&i.tags, "tag", nil, "tag, KEY=VALUE; may be repeated")
	i.where.add(f)
	f.StringVarP(&file, "file", "f", "", "file with instances instead of flags; - is standard input")
	w.add(f)
	c.add(f)
	return cmd
}

// instances are what is to be written.
func (i *instanceFlags) instances(in io.Reader, file string, args []string) ([]*signalboxv1.Instance, error) {
	if file != "" {
		if len(args) > 0 || i.url != "" {
			return nil, &usageError{errors.New("--file takes the place of a name and of --url")}
		}
		return readMessages(in, file, func() *signalboxv1.Instance { return new(signalboxv1.Instance) })
	}
	if i.url == "" {
		return nil, &usageError{errors.New("nothing to write: give a URL by --url, or a file by --file")}
	}
	tags, err := keyValues("tag", i.tags)
	if err != nil {
		return nil, err
	}
	one := &signalboxv1.Instance{
		Url: i.url, Alias: i.alias, Restart: i.restart, Tags: tags, Placement: i.where.placement(),
	}
	if len(args) > 0 {
		one.Name = args[0]
	}
	if i.stopped {
		one.Wanted = signalboxv1.InstanceWanted_INSTANCE_WANTED_STOPPED
	}
	switch i.isolation {
	case "serve":
	case "stop":
		one.Isolation = signalboxv1.Isolation_ISOLATION_STOP
	default:
		return nil, &usageError{fmt.Errorf("--isolation %q must be serve or stop", i.isolation)}
	}
	return []*signalboxv1.Instance{one}, nil
}

func putInstances(ctx context.Context, out io.Writer, c *client, api signalboxv1.InstanceServiceClient, instances []*signalboxv1.Instance, w *writeFlags) error {
	if len(instances) != 1 && w.expected() != nil {
		return &usageError{errors.New("--expect goes with one instance")}
	}
	wait, timeout := w.kind()
	for _, i := range instances {
		answer, err := api.PutInstance(ctx, &signalboxv1.PutInstanceRequest{
			Instance: i, ExpectedRevision: w.expected(), ValidateOnly: w.validate, Wait: wait, WaitTimeout: timeout,
		})
		if err != nil {
			return err
		}
		if err := w.told(out, c, "instance "+answer.GetInstance().GetName(), answer); err != nil {
			return err
		}
		if w.wait && !w.validate {
			if err := w.runs(ctx, api, answer.GetInstance()); err != nil {
				return err
			}
		}
	}
	return nil
}

// runs waits until an instance runs, or waits for its peer, or is stopped, as it
// is wanted to: that all nodes have heard of it says little of the one that is to
// run it.
func (w *writeFlags) runs(ctx context.Context, api signalboxv1.InstanceServiceClient, i *signalboxv1.Instance) error {
	stopped := i.GetWanted() == signalboxv1.InstanceWanted_INSTANCE_WANTED_STOPPED
	well := func(o *signalboxv1.InstanceObserved) bool {
		if stopped {
			return o.GetState() == signalboxv1.InstanceState_INSTANCE_STATE_STOPPED
		}
		said := func(r *signalboxv1.InstanceRun) bool {
			return r.GetState() != signalboxv1.InstanceState_INSTANCE_STATE_UNSPECIFIED && r.GetStarts() == i.GetStarts()
		}
		return o.GetState() != signalboxv1.InstanceState_INSTANCE_STATE_ERROR && slices.ContainsFunc(o.GetRuns(), said)
	}
	_, limit := w.kind()
	over := time.After(limit.AsDuration())
	look := time.NewTicker(200 * time.Millisecond)
	defer look.Stop()
	for {
		answer, err := api.GetInstance(ctx, &signalboxv1.GetInstanceRequest{Name: i.GetName()})
		o := answer.GetInstance().GetObserved()
		if err != nil || well(o) {
			return err
		}
		select {
		case <-look.C:
		case <-over:
			why := instanceState(o.GetState())
			if o.GetReason() != "" {
				why += ", " + o.GetReason()
			}
			return fmt.Errorf("instance %s: %s: %w", i.GetName(), why, errNotRunning)
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}
}

func newInstanceGet() *cobra.Command {
	var c client
	cmd := &cobra.Command{
		Use:   "get NAME",
		Short: "Show one instance, how it stands and what it carried",
		Args:  oneName,
		RunE: func(cmd *cobra.Command, args []string) error {
			return c.call(cmd.Context(), func(ctx context.Context, conn grpc.ClientConnInterface) error {
				answer, err := signalboxv1.NewInstanceServiceClient(conn).GetInstance(ctx, &signalboxv1.GetInstanceRequest{Name: args[0]})
				if err != nil {
					return err
				}
				return c.print(cmd.OutOrStdout(), answer, func(w io.Writer) {
					instanceTable(w, []*signalboxv1.Instance{answer.GetInstance()})
					runTable(w, answer.GetInstance().GetObserved().GetRuns())
				})
			})
		},
	}
	c.add(cmd.Flags())
	return cmd
}

func newInstanceList() *cobra.Command {
	var c client
	cmd := &cobra.Command{
		Use:   "list",
		Short: "Show instances, how they stand and what they carried",
		Args:  noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			return c.call(cmd.Context(), func(ctx context.Context, conn grpc.ClientConnInterface) error {
				all, err := allInstances(ctx, signalboxv1.NewInstanceServiceClient(conn))
				if err != nil {
					return err
				}
				return c.print(cmd.OutOrStdout(), all, func(w io.Writer) { instanceTable(w, all.GetInstances()) })
			})
		},
	}
	c.add(cmd.Flags())
	return cmd
}

// allInstances gathers all pages.
func allInstances(ctx context.Context, api signalboxv1.InstanceServiceClient) (*signalboxv1.ListInstancesResponse, error) {
	all := new(signalboxv1.ListInstancesResponse)
	return all, pages(func(token string) (string, error) {
		page, err := api.ListInstances(ctx, &signalboxv1.ListInstancesRequest{PageSize: pageSize, PageToken: token})
		all.Instances, all.Version = append(all.Instances, page.GetInstances()...), page.GetVersion()
		return page.GetNextPageToken(), err
	})
}

// instanceTable shows no keys, to whomever.
func instanceTable(w io.Writer, instances []*signalboxv1.Instance) {
	_, _ = fmt.Fprintln(w, "NAME\tALIAS\tSTATE\tNODES\tURL\tREV\tTCP RX\tTCP TX\tUDP RX\tUDP TX\tREASON")
	for _, i := range instances {
		o, n := i.GetObserved(), i.GetObserved().GetCounters()
		var nodes []string
		for _, r := range o.GetRuns() {
			nodes = append(nodes, r.GetNode())
		}
		_, _ = fmt.Fprintf(w, "%s\t%s\t%s\t%s\t%s\t%d\t%d\t%d\t%d\t%d\t%s\n", i.GetName(), orDash(i.GetAlias()), instanceState(o.GetState()),
			orDash(strings.Join(nodes, " ")), tunnelurl.Redact(i.GetUrl()), i.GetMeta().GetRevision(),
			n.GetTcpReceived(), n.GetTcpSent(), n.GetUdpReceived(), n.GetUdpSent(), orDash(o.GetReason()))
	}
}

// runTable is how an instance stands on its nodes.
func runTable(w io.Writer, runs []*signalboxv1.InstanceRun) {
	if len(runs) == 0 {
		return
	}
	_, _ = fmt.Fprintln(w, "\nNODE\tSTATE\tMODE\tWIRE\tPING\tPOOL\tTCP\tUDP\tREASON")
	for _, r := range runs {
		mode, ping := "", ""
		if r.GetMode() != signalboxv1.InstanceMode_INSTANCE_MODE_UNSPECIFIED {
			mode = strings.ToLower(strings.TrimPrefix(r.GetMode().String(), "INSTANCE_MODE_"))
		}
		if r.GetPing() != nil {
			ping = r.GetPing().AsDuration().Round(10 * time.Microsecond).String()
		}
		_, _ = fmt.Fprintf(w, "%s\t%s\t%s\t%s\t%s\t%d\t%d\t%d\t%s\n", r.GetNode(), instanceState(r.GetState()), orDash(mode), orDash(r.GetWire()),
			orDash(ping), r.GetPool(), r.GetTcpConnections(), r.GetUdpSessions(), orDash(r.GetReason()))
	}
}

func instanceState(s signalboxv1.InstanceState) string {
	return strings.ToLower(strings.TrimPrefix(s.String(), "INSTANCE_STATE_"))
}

// orDash is s, or what stands for nothing in a table.
func orDash(s string) string {
	if s == "" {
		return "-"
	}
	return s
}

func newInstanceDelete() *cobra.Command {
	var (
		c client
		w writeFlags
	)
	cmd := &cobra.Command{
		Use:   "delete NAME...",
		Short: "Remove instances, one after the other; what they carry is cut",
		Args:  someNames,
		RunE: func(cmd *cobra.Command, args []string) error {
			return c.call(cmd.Context(), func(ctx context.Context, conn grpc.ClientConnInterface) error {
				api := signalboxv1.NewInstanceServiceClient(conn)
				wait, timeout := w.kind()
				for _, name := range args {
					answer, err := api.DeleteInstance(ctx, &signalboxv1.DeleteInstanceRequest{Name: name, Wait: wait, WaitTimeout: timeout})
					if err != nil {
						return err
					}
					if err := w.told(cmd.OutOrStdout(), &c, "instance "+name+" removed", answer); err != nil {
						return err
					}
				}
				return nil
			})
		},
	}
	w.addWait(cmd.Flags())
	c.add(cmd.Flags())
	return cmd
}

// newInstanceAction is a command that asks instances to do something.
func newInstanceAction(verb, short string, action signalboxv1.InstanceAction) *cobra.Command {
	var (
		c client
		w writeFlags
	)
	done := map[string]string{"start": "started", "stop": "stopped"}[verb]
	if done == "" {
		done = "asked to " + verb
	}
	cmd := &cobra.Command{
		Use:   verb + " NAME...",
		Short: short,
		Args:  someNames,
		RunE: func(cmd *cobra.Command, args []string) error {
			return c.call(cmd.Context(), func(ctx context.Context, conn grpc.ClientConnInterface) error {
				api := signalboxv1.NewInstanceServiceClient(conn)
				wait, timeout := w.kind()
				for _, name := range slices.Compact(args) {
					answer, err := api.UpdateInstance(ctx, &signalboxv1.UpdateInstanceRequest{Name: name, Action: action, Wait: wait, WaitTimeout: timeout})
					if err != nil {
						return err
					}
					if err := w.told(cmd.OutOrStdout(), &c, "instance "+name+" "+done, answer); err != nil {
						return err
					}
					if w.wait {
						if err := w.runs(ctx, api, answer.GetInstance()); err != nil {
							return err
						}
					}
				}
				return nil
			})
		},
	}
	w.addWait(cmd.Flags())
	c.add(cmd.Flags())
	return cmd
}
