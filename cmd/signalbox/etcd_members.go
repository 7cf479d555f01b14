package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/url"
	"slices"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"
	pb "go.etcd.io/etcd/api/v3/etcdserverpb"
	"go.etcd.io/etcd/api/v3/v3rpc/rpctypes"
	clientv3 "go.etcd.io/etcd/client/v3"
)

func newEtcdMembers() *cobra.Command {
	var u upkeep
	cmd := &cobra.Command{
		Use:   "members",
		Short: "Show the members of an etcd",
		Args:  noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			return u.with(cmd.Context(), func(ctx context.Context, client *clientv3.Client) error {
				all, err := members(ctx, client)
				if err != nil {
					return err
				}
				t := tabwriter.NewWriter(cmd.OutOrStdout(), 0, 4, 2, ' ', 0)
				_, _ = fmt.Fprintln(t, "NAME\tID\tPEERS\tCLIENTS\tVOTES")
				for _, m := range all {
					votes := "yes"
					if m.GetIsLearner() {
						votes = "no"
					}
					_, _ = fmt.Fprintf(t, "%s\t%s\t%s\t%s\t%s\n", title(m), memberID(m.GetID()), strings.Join(m.GetPeerURLs(), ","), strings.Join(m.GetClientURLs(), ","), votes)
				}
				return t.Flush()
			})
		},
	}
	u.add(cmd.Flags(), 10*time.Second)
	return cmd
}

func newEtcdAdd() *cobra.Command {
	var (
		u       upkeep
		learner bool
	)
	cmd := &cobra.Command{
		Use:   "add NAME PEER-URL",
		Short: "Add a member to an etcd, and print how to start it",
		Long: `Adds a member, and prints the command that starts it. It has to start with an
empty directory.

The second member of an etcd is added without a vote, since otherwise the first
could do nothing until it is there; "signalbox etcd promote" gives it its vote.
--without-vote does the same with any other. A dead member that is replaced
is removed first: then etcd needs no more members than it needed before.`,
		Example: `  signalbox etcd remove c --etcd http://10.0.0.1:2379
  signalbox etcd add c http://10.0.0.4:2380 --etcd http://10.0.0.1:2379`,
		Args: func(cmd *cobra.Command, args []string) error {
			if len(args) != 2 {
				return fmt.Errorf("%q takes a name and a peer URL", cmd.CommandPath())
			}
			return nil
		},
		RunE: func(cmd *cobra.Command, args []string) error {
			name, peer := args[0], args[1]
			at, err := url.Parse(peer)
			if err != nil || at.Port() == "" {
				return &usageError{fmt.Errorf("peer URL %q must be like http://10.0.0.4:2380", peer)}
			}
			return u.with(cmd.Context(), func(ctx context.Context, client *clientv3.Client) error {
				before, err := members(ctx, client)
				if err != nil {
					return err
				}
				for _, m := range before {
					if m.GetName() == name {
						return &usageError{fmt.Errorf("a member is called %q; remove it first, or take another name", name)}
					}
				}
				learner = learner || len(before) == 1
				add := client.MemberAdd
				if learner {
					add = client.MemberAddAsLearner
				}
				var added *pb.MemberAddResponse
				err = patiently(ctx, func() error {
					done, err := add(ctx, []string{peer})
					added = (*pb.MemberAddResponse)(done)
					return err
				})
				if err != nil {
					return err
				}
				tellStart(cmd.OutOrStdout(), name, at, added.Members, added.Member.GetID(), learner)
				return nil
			})
		},
	}
	cmd.Flags().BoolVar(&learner, "without-vote", false, "add it as a learner, which is promoted later")
	u.add(cmd.Flags(), 30*time.Second)
	return cmd
}

// tellStart prints the command that starts a member that was added.
func tellStart(out io.Writer, name string, peer *url.URL, all []*pb.Member, id uint64, learner bool) {
	var cluster []string
	for _, m := range all {
		called := m.GetName()
		if m.GetID() == id {
			called = name
		}
		for _, u := range m.GetPeerURLs() {
			cluster = append(cluster, called+"="+u)
		}
	}
	slices.Sort(cluster)
	client := url.URL{Scheme: peer.Scheme, Host: net.JoinHostPort(peer.Hostname(), "2379")}
	_, _ = fmt.Fprintf(out, `Member %s is added. Start it on its machine, with an empty directory, and with
the files for TLS if the others have them:

  signalbox etcd --name %s --data-dir /var/lib/signalbox-etcd \
    --listen-client %s --listen-peer %s \
    --initial-cluster %s \
    --initial-cluster-state existing
`, memberID(id), name, &client, peer, strings.Join(cluster, ","))
	if learner {
		_, _ = fmt.Fprintf(out, "\nIt has no vote yet. When it runs:\n\n  signalbox etcd promote %s\n", memberID(id))
	}
}

func newEtcdPromote() *cobra.Command {
	var u upkeep
	cmd := &cobra.Command{
		Use:   "promote NAME|ID",
		Short: "Give a member its vote, as soon as it has what the others have",
		Args:  oneName,
		RunE: func(cmd *cobra.Command, args []string) error {
			return u.with(cmd.Context(), func(ctx context.Context, client *clientv3.Client) error {
				all, err := members(ctx, client)
				if err != nil {
					return err
				}
				m, err := findMember(all, args[0])
				if err != nil {
					return err
				}
				if !m.GetIsLearner() {
					_, err := fmt.Fprintf(cmd.OutOrStdout(), "member %s has its vote already\n", memberID(m.GetID()))
					return err
				}
				err = patiently(ctx, func() error {
					_, err := client.MemberPromote(ctx, m.GetID())
					return err
				})
				if err != nil {
					return err
				}
				_, err = fmt.Fprintf(cmd.OutOrStdout(), "member %s has its vote\n", memberID(m.GetID()))
				return err
			})
		},
	}
	u.add(cmd.Flags(), time.Minute)
	return cmd
}

// patiently changes the members of a cluster: etcd does not before a member that
// gets its vote has what the others have, and before all that vote have been in
// touch for some seconds. It tries until then, or until ctx ends.
func patiently(ctx context.Context, change func() error) error {
	tick := time.NewTicker(500 * time.Millisecond)
	defer tick.Stop()
	for {
		err := change()
		if plain := rpctypes.Error(err); !errors.Is(plain, rpctypes.ErrMemberLearnerNotReady) && !errors.Is(plain, rpctypes.ErrUnhealthy) {
			return err
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			return err
		}
	}
}

func newEtcdRemove() *cobra.Command {
	var u upkeep
	cmd := &cobra.Command{
		Use:   "remove NAME|ID",
		Short: "Remove a member from an etcd, for ever",
		Long: `Removes a member. Its process ends if it runs, and can never come back with the
directory it has. etcd refuses it where too few of the others are there.`,
		Args: oneName,
		RunE: func(cmd *cobra.Command, args []string) error {
			return u.with(cmd.Context(), func(ctx context.Context, client *clientv3.Client) error {
				all, err := members(ctx, client)
				if err != nil {
					return err
				}
				m, err := findMember(all, args[0])
				if err != nil {
					return err
				}
				err = patiently(ctx, func() error {
					_, err := client.MemberRemove(ctx, m.GetID())
					return err
				})
				if err != nil {
					return err
				}
				_, err = fmt.Fprintf(cmd.OutOrStdout(), "member %s (%s) is removed\n", memberID(m.GetID()), title(m))
				return err
			})
		},
	}
	u.add(cmd.Flags(), 30*time.Second)
	return cmd
}
