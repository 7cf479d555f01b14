package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"

	"signalbox/node/certfile"
	signalboxv1 "signalbox/proto/gen/signalbox/v1"
	"signalbox/proto/tunnelurl"
)

func newImport() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "import",
		Short: "Take over what others keep",
	}
	cmd.AddCommand(newImportNodePass())
	return cmd
}

// importFlags are those of `signalbox import nodepass`.
type importFlags struct {
	key, keyFile          string
	tls                   certfile.Client
	dry, replace, stopped bool
	where                 placementFlags
}

func newImportNodePass() *cobra.Command {
	var (
		c client
		i importFlags
	)
	cmd := &cobra.Command{
		Use:   "nodepass URL",
		Short: "Take over the instances of a NodePass master",
		Long: `Reads the instances of a NodePass master, of any version from 1.4 on, and writes
them with their ids, aliases, restart policy, tags and peers. Those that run
there are wanted to run here. Counters begin at zero. An instance that is here
already is left as it is, unless --replace is given.

Both cannot listen at the same port of one machine: use --stopped, end the
master, and "signalbox instance start" then. --node, --label and --every say
where the instances may run.`,
		Example: `  signalbox import nodepass http://10.0.0.5:9090 --old-key-file old.key --dry-run
  signalbox import nodepass https://10.0.0.5:9090/api/v1 --old-key-file old.key --old-insecure --node node-1`,
		Args: func(cmd *cobra.Command, args []string) error {
			if len(args) != 1 {
				return fmt.Errorf("%q takes one URL, that of the master, as http://10.0.0.5:9090/api/v1", cmd.CommandPath())
			}
			return nil
		},
		RunE: func(cmd *cobra.Command, args []string) error {
			if c.output != "table" {
				return &usageError{errors.New("--output: what becomes of each instance is told in lines only")}
			}
			secret, err := i.secret()
			if err != nil {
				return err
			}
			old, err := newOldMaster(args[0], secret, i.tls)
			if err != nil {
				return err
			}
			return c.call(cmd.Context(), func(ctx context.Context, conn grpc.ClientConnInterface) error {
				return i.run(ctx, cmd.OutOrStdout(), old, signalboxv1.NewInstanceServiceClient(conn))
			})
		},
	}
	f := cmd.Flags()
	f.StringVar(&i.key, "old-key", "", "API key of the master; better given as SIGNALBOX_OLD_KEY or by --old-key-file")
	f.StringVar(&i.keyFile, "old-key-file", "", "file that holds the master's API key")
	f.StringVar(&i.tls.CA, "old-ca", "", "certificate authorities (PEM) that the master must have a certificate of; the system's if not given")
	f.BoolVar(&i.tls.Insecure, "old-insecure", false, "take any certificate of the master, as tls=1 has one that nobody can verify: whoever stands between can then read its key")
	f.BoolVar(&i.dry, "dry-run", false, "check everything, write nothing")
	f.BoolVar(&i.replace, "replace", false, "write instances that are here already, too")
	f.BoolVar(&i.stopped, "stopped", false, "none is to run yet, whatever it does there")
	i.where.add(f)
	c.add(f)
	return cmd
}

// secret is the master's key.
func (i *importFlags) secret() (string, error) {
	if i.key != "" && i.keyFile != "" {
		return "", &usageError{errors.New("--old-key (SIGNALBOX_OLD_KEY) and --old-key-file are alternatives")}
	}
	if i.keyFile == "" {
		if i.key == "" {
			return "", &usageError{errors.New("give the master's API key by --old-key-file or SIGNALBOX_OLD_KEY; the instance ******** of the master has it")}
		}
		return i.key, nil
	}
	text, err := os.ReadFile(i.keyFile)
	if err != nil {
		return "", &usageError{fmt.Errorf("--old-key-file: %w", err)}
	}
	if s := strings.TrimSpace(string(text)); s != "" {
		return s, nil
	}
	return "", &usageError{fmt.Errorf("--old-key-file: %s is empty", i.keyFile)}
}

// errNotImported ends a command that did not take over every instance; which,
// and why, has been printed.
var errNotImported = errors.New("not every instance was taken over")

// run takes the instances over, and says of each what became of it.
func (i *importFlags) run(ctx context.Context, out io.Writer, old *oldMaster, api signalboxv1.InstanceServiceClient) error {
	theirs, err := old.instances(ctx)
	if err != nil {
		return err
	}
	written, refused := 0, 0
	for _, o := range theirs {
		one := o.record()
		one.Placement = i.where.placement()
		if i.stopped {
			one.Wanted = signalboxv1.InstanceWanted_INSTANCE_WANTED_STOPPED
		}
		said, err := i.write(ctx, api, one)
		switch {
		case unreachable(err):
			return err
		case err != nil:
			refused++
			said = "not written: " + strings.ReplaceAll(describe(err), "\n", "")
		default:
			written++
		}
		_, _ = fmt.Fprintf(out, "%s  %s  %s  %s: %s\n", o.ID, o.Status, orDash(o.Alias), tunnelurl.Redact(o.URL), said)
		if u, err := tunnelurl.Parse(o.URL); err == nil && u.TLS == tunnelurl.Verified {
			_, _ = fmt.Fprintf(out, "%s  note: its crt and key are files, which its nodes must have\n", o.ID)
		}
	}
	what := "taken over"
	if i.dry {
		what = "can be taken over"
	}
	_, _ = fmt.Fprintf(out, "%d of %d instances %s\n", written, len(theirs), what)
	if refused > 0 {
		return errNotImported
	}
	return nil
}

// unreachable says that nobody answered, so that there is no use in going on.
func unreachable(err error) bool {
	switch status.Code(err) {
	case codes.Unavailable, codes.DeadlineExceeded, codes.Unauthenticated, codes.PermissionDenied:
		return true
	}
	return false
}

// write writes one, unless there is one that is not to be replaced, and says
// what it did.
func (i *importFlags) write(ctx context.Context, api signalboxv1.InstanceServiceClient, one *signalboxv1.Instance) (string, error) {
	request := &signalboxv1.PutInstanceRequest{Instance: one, ValidateOnly: i.dry}
	if !i.replace {
		request.ExpectedRevision = new(int64) // there must be none
	}
	there, err := api.GetInstance(ctx, &signalboxv1.GetInstanceRequest{Name: one.GetName()})
	found := err == nil
	switch {
	case found && sameWanted(there.GetInstance(), one):
		return "is here already, the same", nil
	case found && !i.replace:
		return "", errors.New("is here already, and another; --replace writes it all the same")
	case !found && status.Code(err) != codes.NotFound && status.Code(err) != codes.InvalidArgument:
		return "", err
	}
	answer, err := api.PutInstance(ctx, request)
	switch {
	case err != nil:
		return "", err
	case i.dry && found:
		return "would be replaced", nil
	case i.dry:
		return "would be written", nil
	case found:
		return fmt.Sprintf("replaced, revision %d", answer.GetResult().GetVersion().GetRevision()), nil
	}
	return fmt.Sprintf("written, revision %d", answer.GetResult().GetVersion().GetRevision()), nil
}

// sameWanted says whether what is here is what would be written.
func sameWanted(here, one *signalboxv1.Instance) bool {
	here = proto.CloneOf(here)
	here.Starts, here.Resets, here.Observed, here.Meta = 0, 0, nil, nil
	if here.GetWanted() != signalboxv1.InstanceWanted_INSTANCE_WANTED_STOPPED {
		here.Wanted = signalboxv1.InstanceWanted_INSTANCE_WANTED_RUNNING
	}
	here.Isolation = one.GetIsolation()
	return proto.Equal(here, one)
}

// importTimeout bounds each call of the master.
const importTimeout = 20 * time.Second
