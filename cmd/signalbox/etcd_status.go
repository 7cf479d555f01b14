package main

import (
	"context"
	"fmt"
	"io"
	"slices"
	"strings"
	"sync"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"
	pb "go.etcd.io/etcd/api/v3/etcdserverpb"
	clientv3 "go.etcd.io/etcd/client/v3"
	"google.golang.org/grpc/codes"
)

func newEtcdStatus() *cobra.Command {
	var u upkeep
	cmd := &cobra.Command{
		Use:   "status",
		Short: "Show how the members of an etcd are",
		Long: `Asks every member how it is. It fails if one does not answer, knows no leader or
has an alarm: NOSPACE says that a quota is used up, and that nothing can be
written before room is made and the alarm is taken back. It exits with 6 in the
first two cases, and with 1 where there is an alarm and nothing else.`,
		Args: noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			return u.with(cmd.Context(), func(ctx context.Context, client *clientv3.Client) error {
				all, err := members(ctx, client)
				if err != nil {
					return err
				}
				return showStatus(cmd.OutOrStdout(), all, conditions(ctx, client, all))
			})
		},
	}
	u.add(cmd.Flags(), 30*time.Second)
	return cmd
}

// conditions asks all members at once.
func conditions(ctx context.Context, client *clientv3.Client, all []*pb.Member) []*clientv3.StatusResponse {
	is := make([]*clientv3.StatusResponse, len(all))
	var asking sync.WaitGroup
	for i, m := range all {
		asking.Go(func() { is[i] = condition(ctx, client, m) })
	}
	asking.Wait()
	return is
}

// showStatus prints a line for each member, and returns what is not well.
func showStatus(out io.Writer, all []*pb.Member, is []*clientv3.StatusResponse) error {
	t := tabwriter.NewWriter(out, 0, 4, 2, ' ', 0)
	_, _ = fmt.Fprintln(t, "NAME\tID\tSTATE\tRAFT INDEX\tDB\tIN USE\tQUOTA\tALARMS\tVERSION")
	var ailing []string
	code := codes.Unknown // an alarm alone does not keep them from answering
	for i, m := range all {
		state, trouble := stateOf(m, is[i])
		if trouble != "" {
			ailing = append(ailing, title(m)+" "+trouble)
		}
		if is[i] == nil || is[i].Leader == 0 {
			code = codes.Unavailable
		}
		if s := is[i]; s != nil {
			_, _ = fmt.Fprintf(t, "%s\t%s\t%s\t%d\t%s\t%s\t%s\t%s\t%s\n", title(m), memberID(m.GetID()), state,
				s.RaftAppliedIndex, readable(s.DbSize), readable(s.DbSizeInUse), readable(s.DbSizeQuota), alarms(s), s.Version)
		} else {
			_, _ = fmt.Fprintf(t, "%s\t%s\t%s\t-\t-\t-\t-\t-\t-\n", title(m), memberID(m.GetID()), state)
		}
	}
	if err := t.Flush(); err != nil {
		return err
	}
	if len(ailing) > 0 {
		return upkeepErrorf(code, "%s", strings.Join(ailing, "; "))
	}
	return nil
}

// stateOf is a member's state in a word, and in words what is wrong with it.
func stateOf(m *pb.Member, s *clientv3.StatusResponse) (state, trouble string) {
	switch {
	case m.GetName() == "":
		return "not started", "was added and has not joined"
	case s == nil:
		return "silent", "does not answer at " + strings.Join(m.GetClientURLs(), ", ")
	case s.Leader == 0:
		return "no leader", "knows no leader: there is no quorum"
	case alarms(s) != "-":
		trouble = "has the alarm " + alarms(s)
	}
	switch {
	case s.IsLearner:
		return "learner", trouble
	case s.Leader == m.GetID():
		return "leader", trouble
	}
	return "follower", trouble
}

// alarms are those a member knows of, its own and others': it heeds all. Its
// status says them among other errors, as "memberID:123 alarm:NOSPACE".
func alarms(s *clientv3.StatusResponse) string {
	var all []string
	for _, e := range s.Errors {
		_, alarm, ok := strings.Cut(e, "alarm:")
		if alarm = strings.TrimSpace(alarm); ok && !slices.Contains(all, alarm) {
			all = append(all, alarm)
		}
	}
	if all == nil {
		return "-"
	}
	return strings.Join(all, " ")
}

// readable is a size for people; etcd before 3.6 does not tell its quota.
func readable(n int64) string {
	switch {
	case n == 0:
		return "-"
	case n < 1<<20:
		return fmt.Sprintf("%d KiB", n>>10)
	case n >= 1<<30:
		return fmt.Sprintf("%.1f GiB", float64(n)/(1<<30))
	}
	return fmt.Sprintf("%.1f MiB", float64(n)/(1<<20))
}
