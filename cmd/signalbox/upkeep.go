package main

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
	pb "go.etcd.io/etcd/api/v3/etcdserverpb"
	"go.etcd.io/etcd/api/v3/v3rpc/rpctypes"
	clientv3 "go.etcd.io/etcd/client/v3"
	"go.uber.org/zap"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"signalbox/proto/probe"
	"signalbox/store/etcd"
)

// upkeepCommands look after an etcd that runs, with etcd's own API: it is for
// those who operate etcd, and needs what etcd asks of them.
func upkeepCommands() []*cobra.Command {
	return []*cobra.Command{
		newEtcdStatus(), newEtcdMembers(), newEtcdAdd(), newEtcdPromote(), newEtcdRemove(),
		newEtcdCompact(), newEtcdDefragment(), newEtcdDisarm(),
	}
}

// upkeep is how etcd is reached by one command.
type upkeep struct {
	etcd    etcdFlags
	timeout time.Duration
}

func (u *upkeep) add(f *pflag.FlagSet, timeout time.Duration) {
	u.etcd.addWay(f, "client URL of an etcd member; several may be given", "http://127.0.0.1:2379")
	f.DurationVar(&u.timeout, "timeout", timeout, "how long it may take in all")
}

// answerTimeout bounds how long one member is waited for where another can be
// asked, or its silence is the answer.
const answerTimeout = 3 * time.Second

// with calls f with a client of the whole cluster.
func (u *upkeep) with(ctx context.Context, f func(context.Context, *clientv3.Client) error) error {
	if err := checkTimeout("timeout", u.timeout); err != nil {
		return err
	}
	if err := checkEndpoints(u.etcd.endpoints); err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, u.timeout)
	defer cancel()
	secure, err := u.etcd.tls.config()
	if err != nil {
		return err
	}
	client, err := clientv3.New(clientv3.Config{
		Endpoints: u.etcd.endpoints, TLS: secure, Username: u.etcd.user, Password: u.etcd.password,
		DialTimeout: answerTimeout, Logger: zap.NewNop(), DialOptions: etcd.ServerName(secure),
	})
	if err != nil {
		return u.plain(ctx, nil, err)
	}
	defer func() { _ = client.Close() }()
	return u.plain(ctx, client, f(ctx, client))
}

// plain makes of an etcd error one that says where it is from. client is nil
// where there was none.
func (u *upkeep) plain(ctx context.Context, client *clientv3.Client, err error) error {
	var (
		refused rpctypes.EtcdError
		found   *upkeepError
	)
	switch err := rpctypes.Error(err); {
	case err == nil:
		return nil
	case errors.As(err, &found):
		return status.Error(found.code, err.Error())
	case errors.As(err, &refused):
		return status.Error(refused.Code(), err.Error())
	case ctx.Err() != nil, errors.Is(err, context.DeadlineExceeded), status.Code(err) == codes.Unavailable:
		return status.Errorf(codes.Unavailable, "etcd does not answer at %s (--etcd), or has no quorum: %s", strings.Join(u.etcd.endpoints, ", "), unanswered(ctx, client, err))
	}
	return err
}

// unanswered is why an etcd does not answer, as far as it is known.
func unanswered(ctx context.Context, client *clientv3.Client, err error) string {
	if client != nil {
		grace, cancel := context.WithTimeout(context.WithoutCancel(ctx), 200*time.Millisecond)
		defer cancel()
		if why := probe.Trouble(grace, client.ActiveConnection()); why != "" {
			return why
		}
	}
	return describe(err)
}

// An upkeepError is what a command found wrong by itself.
type upkeepError struct {
	code codes.Code // says the exit code
	text string
}

func (e *upkeepError) Error() string { return e.text }

func upkeepErrorf(code codes.Code, format string, args ...any) error {
	return &upkeepError{code, fmt.Sprintf(format, args...)}
}

// members asks for all members: of all of them if there is a quorum, otherwise
// of any one.
func members(ctx context.Context, client *clientv3.Client) ([]*pb.Member, error) {
	ask, cancel := context.WithTimeout(ctx, answerTimeout)
	defer cancel()
	list, err := client.MemberList(ask)
	if err != nil && ctx.Err() == nil {
		ask, cancel := context.WithTimeout(ctx, answerTimeout)
		defer cancel()
		list, err = client.MemberList(ask, clientv3.WithSerializable())
	}
	if err != nil {
		return nil, err
	}
	all := list.Members
	slices.SortFunc(all, func(a, b *pb.Member) int {
		return strings.Compare(a.GetName()+a.GetPeerURLs()[0], b.GetName()+b.GetPeerURLs()[0])
	})
	return all, nil
}

// findMember returns the one member of a name or id.
func findMember(all []*pb.Member, which string) (*pb.Member, error) {
	var found []*pb.Member
	for _, m := range all {
		if m.GetName() == which || memberID(m.GetID()) == which {
			found = append(found, m)
		}
	}
	switch len(found) {
	case 1:
		return found[0], nil
	case 0:
		return nil, upkeepErrorf(codes.NotFound, "no member has the name or id %q; see 'signalbox etcd members'", which)
	}
	return nil, &usageError{fmt.Errorf("%d members are called %q: give the id of one", len(found), which)}
}

// memberID is an id as etcd shows it.
func memberID(id uint64) string { return strconv.FormatUint(id, 16) }

// title is what a member is called here; one that was added and has not been
// started yet has no name.
func title(m *pb.Member) string {
	if m.GetName() == "" {
		return "(not started)"
	}
	return m.GetName()
}

// condition is what a member says of itself. Nil: it says nothing.
func condition(ctx context.Context, client *clientv3.Client, m *pb.Member) *clientv3.StatusResponse {
	for _, url := range m.GetClientURLs() {
		ask, cancel := context.WithTimeout(ctx, answerTimeout)
		is, err := client.Status(ask, url)
		cancel()
		if err == nil {
			return is
		}
	}
	return nil
}
