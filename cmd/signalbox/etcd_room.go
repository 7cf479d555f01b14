package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/spf13/cobra"
	pb "go.etcd.io/etcd/api/v3/etcdserverpb"
	"go.etcd.io/etcd/api/v3/v3rpc/rpctypes"
	clientv3 "go.etcd.io/etcd/client/v3"
	"google.golang.org/grpc/codes"
)

func newEtcdCompact() *cobra.Command {
	var u upkeep
	cmd := &cobra.Command{
		Use:   "compact",
		Short: "Have an etcd forget the history of what it holds",
		Long: `Compacts the history up to now. What is stored stays as it is. Members do this
by themselves once in a while (--retention of "signalbox etcd"); it is for when
a quota is used up. The files only become smaller by "signalbox etcd defragment".
Control planes that lag are sent everything anew.`,
		Args: noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			return u.with(cmd.Context(), func(ctx context.Context, client *clientv3.Client) error {
				at, err := revision(ctx, client)
				if err != nil {
					return err
				}
				_, err = client.Compact(ctx, at, clientv3.WithCompactPhysical())
				if err != nil && !errors.Is(rpctypes.Error(err), rpctypes.ErrCompacted) {
					return err
				}
				_, err = fmt.Fprintf(cmd.OutOrStdout(), "compacted up to revision %d\n", at)
				return err
			})
		},
	}
	u.add(cmd.Flags(), time.Minute)
	return cmd
}

// revision is what an etcd has come to.
func revision(ctx context.Context, client *clientv3.Client) (int64, error) {
	ask, cancel := context.WithTimeout(ctx, 2*answerTimeout)
	defer cancel()
	now, err := client.Get(ask, "\x00") // any key tells the revision
	if err != nil {
		return 0, err
	}
	return now.Header.GetRevision(), nil
}

func newEtcdDefragment() *cobra.Command {
	var u upkeep
	cmd := &cobra.Command{
		Use:   "defragment",
		Short: "Give the space that an etcd no longer uses back, member by member",
		Long: `Writes every member's file anew without what is no longer used: one member
after the other, the leader last. A member answers nobody meanwhile, for about a
second for each 100 MB that are in use.`,
		Args: noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			return u.with(cmd.Context(), func(ctx context.Context, client *clientv3.Client) error {
				return defragment(ctx, client, cmd.OutOrStdout())
			})
		},
	}
	u.add(cmd.Flags(), 10*time.Minute)
	return cmd
}

func defragment(ctx context.Context, client *clientv3.Client, out io.Writer) error {
	all, err := members(ctx, client)
	if err != nil {
		return err
	}
	before := conditions(ctx, client, all)
	for i, m := range all {
		if before[i] == nil {
			return upkeepErrorf(codes.Unavailable, "member %s does not answer, and another one would be away for a moment; nothing was done", title(m))
		}
	}
	for _, i := range leaderLast(all, before) {
		m := all[i]
		if _, err := client.Defragment(ctx, m.GetClientURLs()[0]); err != nil {
			return fmt.Errorf("defragment %s: %w", title(m), err)
		}
		after := condition(ctx, client, m)
		if after == nil {
			return upkeepErrorf(codes.Unavailable, "member %s does not answer after it was defragmented", title(m))
		}
		_, _ = fmt.Fprintf(out, "%s: %s, was %s\n", title(m), readable(after.DbSize), readable(before[i].DbSize))
	}
	return nil
}

// leaderLast is the order in which members can be away for a moment.
func leaderLast(all []*pb.Member, is []*clientv3.StatusResponse) (order []int) {
	leader := -1
	for i, m := range all {
		if is[i].Leader == m.GetID() {
			leader = i
			continue
		}
		order = append(order, i)
	}
	if leader >= 0 {
		order = append(order, leader)
	}
	return order
}

func newEtcdDisarm() *cobra.Command {
	var u upkeep
	cmd := &cobra.Command{
		Use:   "disarm",
		Short: "Have an etcd take writes again, after room was made",
		Long: `Takes the alarm NOSPACE back, with which every member refuses writes. It does so
only where every member says that it has room: first "signalbox etcd compact" and
"defragment", or a larger --quota-bytes, with which each member is started again.
A member that does not answer is brought back or removed before.`,
		Args: noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			return u.with(cmd.Context(), func(ctx context.Context, client *clientv3.Client) error {
				return disarm(ctx, client, cmd.OutOrStdout())
			})
		},
	}
	u.add(cmd.Flags(), 30*time.Second)
	return cmd
}

// room is what must be free before writes are let in again: with less the next
// of a few writes would set the alarm off once more.
const room = 2 << 20

func disarm(ctx context.Context, client *clientv3.Client, out io.Writer) error {
	all, err := members(ctx, client)
	if err != nil {
		return err
	}
	var full, silent []string
	for i, is := range conditions(ctx, client, all) {
		if is == nil && all[i].GetName() != "" { // what was never started holds nothing
			silent = append(silent, title(all[i]))
		}
		// Where the quota is not told, etcd finds out by itself.
		if is != nil && is.DbSizeQuota > 0 && is.DbSize+room > is.DbSizeQuota {
			full = append(full, fmt.Sprintf("%s has %s of %s", title(all[i]), readable(is.DbSize), readable(is.DbSizeQuota)))
		}
	}
	if full != nil {
		return upkeepErrorf(codes.FailedPrecondition, "there is no room yet: %s; compact and defragment, or raise --quota-bytes", strings.Join(full, ", "))
	}
	if silent != nil {
		return upkeepErrorf(codes.Unavailable, "whether there is room at %s is not known, since that does not answer: bring it back, or remove it; nothing was done", strings.Join(silent, ", "))
	}
	list, err := client.AlarmList(ctx)
	if err != nil {
		return err
	}
	taken := 0
	for _, a := range list.Alarms {
		if a.GetAlarm() != pb.AlarmType_NOSPACE {
			_, _ = fmt.Fprintf(out, "member %s has the alarm %s, which stays: restore a backup\n", memberID(a.GetMemberID()), a.GetAlarm())
			continue
		}
		if _, err := client.AlarmDisarm(ctx, &clientv3.AlarmMember{MemberID: a.GetMemberID(), Alarm: a.GetAlarm()}); err != nil {
			return err
		}
		taken++
	}
	_, err = fmt.Fprintf(out, "alarms taken back: %d\n", taken)
	return err
}
