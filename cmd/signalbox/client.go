package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/proto"
	"sigs.k8s.io/yaml"

	"signalbox/controlplane/auth"
)

// clientCommands are the operator's client: thin over the gRPC API.
func clientCommands() []*cobra.Command {
	return []*cobra.Command{newRoute(), newListener(), newNodes(), newKey(), newEvents(), newInstance(), newImport(), newBackup()}
}

// keyFlags are how a process is told its API key. The flag can be seen by
// others on the same machine; the environment and a file cannot.
type keyFlags struct{ key, file string }

func (k *keyFlags) add(f *pflag.FlagSet) {
	f.StringVar(&k.key, "key", "", "API key; better given as SIGNALBOX_KEY or by --key-file")
	f.StringVar(&k.file, "key-file", "", "file that holds the API key")
}

func (k *keyFlags) secret() (string, error) {
	if k.key != "" && k.file != "" {
		return "", &usageError{errors.New("--key (SIGNALBOX_KEY) and --key-file are alternatives")}
	}
	if k.file == "" {
		return k.key, nil
	}
	text, err := os.ReadFile(k.file)
	if err != nil {
		return "", &usageError{fmt.Errorf("--key-file: %w", err)}
	}
	secret := strings.TrimSpace(string(text))
	if secret == "" {
		return "", &usageError{fmt.Errorf("--key-file: %s is empty", k.file)}
	}
	return secret, nil
}

// A client is what every command of the operator's needs.
type client struct {
	addresses []string
	tls       clientTLS
	key       keyFlags
	plaintext bool
	connect   time.Duration
	timeout   time.Duration
	output    string
}

func (c *client) add(f *pflag.FlagSet) {
	c.addStream(f)
	f.DurationVar(&c.timeout, "timeout", 30*time.Second, "how long it may take in all")
}

// addStream is add for a command that goes on until it is interrupted.
func (c *client) addStream(f *pflag.FlagSet) {
	f.StringSliceVar(&c.addresses, "controlplane", []string{"127.0.0.1:8002"}, "gRPC address of a control plane, HOST:PORT; several may be given")
	c.tls.add(f, "controlplane-", "control planes")
	c.key.add(f)
	f.BoolVar(&c.plaintext, "allow-plaintext", false, "allow control planes other than on loopback to be asked without TLS: the key crosses the network in the clear")
	f.DurationVar(&c.connect, "connect-timeout", 5*time.Second, "how long to wait for a control plane that does not answer yet")
	f.StringVarP(&c.output, "output", "o", "table", "form of the answer: table, json or yaml")
}

// call dials, and runs f with a context that carries the key.
func (c *client) call(ctx context.Context, f func(context.Context, grpc.ClientConnInterface) error) error {
	if err := checkTimeout("timeout", c.timeout); err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, c.timeout)
	defer cancel()
	return c.stream(ctx, f)
}

// checkTimeout refuses a time in which nothing can be done.
func checkTimeout(flag string, d time.Duration) error {
	if d <= 0 {
		return &usageError{fmt.Errorf("--%s %v must be more than nothing, as 30s or 5m", flag, d)}
	}
	return nil
}

// stream is call without a timeout.
func (c *client) stream(ctx context.Context, f func(context.Context, grpc.ClientConnInterface) error) error {
	if !slices.Contains(outputs, c.output) {
		return &usageError{fmt.Errorf("--output %q must be table, json or yaml", c.output)}
	}
	creds, err := c.tls.config()
	if err != nil {
		return err
	}
	secret, err := c.key.secret()
	if err != nil {
		return err
	}
	if err := guardAll("controlplane", c.addresses, creds != nil, c.plaintext); err != nil {
		return err
	}
	conn, err := dial(c.addresses, creds, everyReplica, grpc.WithConnectParams(patient))
	if err != nil {
		return err
	}
	defer func() { _ = conn.Close() }()
	if err := reach(ctx, conn, c.addresses, c.connect); err != nil {
		return err
	}
	if secret != "" {
		ctx = metadata.AppendToOutgoingContext(ctx, "authorization", "Bearer "+secret)
	}
	return keyHint(f(ctx, conn), secret != "")
}

// keyHint adds to a refusal where a command takes its key from, unless it was
// for want of a certificate, which says so.
func keyHint(err error, given bool) error {
	if st := status.Convert(err); st.Code() != codes.Unauthenticated || reasonOf(st) == auth.CertificateNeeded {
		return err
	}
	if given {
		return status.Error(codes.Unauthenticated, "the API key is not valid: give another by SIGNALBOX_KEY or --key-file")
	}
	return status.Error(codes.Unauthenticated, "an API key is needed: give it by SIGNALBOX_KEY or --key-file")
}

// reasonOf is the reason that a status gives, of ours.
func reasonOf(st *status.Status) string {
	for _, d := range st.Details() {
		if info, ok := d.(*errdetails.ErrorInfo); ok && info.GetDomain() == "signalbox" {
			return info.GetReason()
		}
	}
	return ""
}

// outputs are the forms of an answer.
var outputs = []string{"table", "json", "yaml"}

// print writes an answer in the form asked for; table writes it for people.
func (c *client) print(w io.Writer, m proto.Message, table func(io.Writer)) error {
	if c.output == "table" {
		t := tabwriter.NewWriter(w, 0, 4, 2, ' ', 0)
		table(t)
		return t.Flush()
	}
	text, err := marshalJSON(m)
	if err == nil && c.output == "yaml" {
		text, err = yaml.JSONToYAML(text)
	}
	if err != nil {
		return err
	}
	_, err = fmt.Fprintln(w, strings.TrimSuffix(string(text), "\n"))
	return err
}

// pageSize is how many records are asked for at once.
const pageSize = 5000

// pages calls page with the token of each page of a list, for that of the
// next; the first and the one behind the last have none.
func pages(page func(token string) (next string, err error)) error {
	for token := ""; ; {
		next, err := page(token)
		if err != nil || next == "" {
			return err
		}
		token = next
	}
}

// marshalJSON is a message as REST has it, indented in one way (protojson
// varies its spacing on purpose).
func marshalJSON(m proto.Message) ([]byte, error) {
	text, err := protojson.Marshal(m)
	if err != nil {
		return nil, err
	}
	var any json.RawMessage = text
	return json.MarshalIndent(any, "", "  ")
}

// readMessages reads messages from a file ("-": standard input): one in YAML
// or JSON, or a list of them.
func readMessages[M proto.Message](in io.Reader, file string, empty func() M) ([]M, error) {
	text, err := readAll(in, file)
	if err != nil {
		return nil, &usageError{fmt.Errorf("--file: %w", err)}
	}
	if file == "-" {
		file = "standard input"
	}
	text, err = yaml.YAMLToJSON(text)
	if err != nil {
		return nil, &usageError{fmt.Errorf("%s: %w", file, err)}
	}
	list := []json.RawMessage{text}
	if strings.HasPrefix(strings.TrimSpace(string(text)), "[") {
		if err := json.Unmarshal(text, &list); err != nil {
			return nil, &usageError{fmt.Errorf("%s: %w", file, err)}
		}
	}
	all := make([]M, len(list))
	for i, raw := range list {
		all[i] = empty()
		if err := protojson.Unmarshal(raw, all[i]); err != nil {
			return nil, &usageError{fmt.Errorf("%s: record %d: %w", file, i+1, err)}
		}
	}
	return all, nil
}

func readAll(in io.Reader, file string) ([]byte, error) {
	if file == "-" {
		return io.ReadAll(in)
	}
	return os.ReadFile(file) //nolint:gosec // the operator's own file
}

// oneName takes the one argument of a command.
func oneName(cmd *cobra.Command, args []string) error {
	if len(args) != 1 {
		return fmt.Errorf("%q takes one name", cmd.CommandPath())
	}
	return nil
}

// atMostOne takes no argument, or one of a kind.
func atMostOne(kind string) cobra.PositionalArgs {
	return func(cmd *cobra.Command, args []string) error {
		if len(args) > 1 {
			return fmt.Errorf("%q takes at most one %s, and was given %q", cmd.CommandPath(), kind, args)
		}
		return nil
	}
}

// someNames takes one argument or more.
func someNames(cmd *cobra.Command, args []string) error {
	if len(args) == 0 {
		return fmt.Errorf("%q takes one name or more", cmd.CommandPath())
	}
	return nil
}

// labelMap reads --label flags.
func labelMap(list []string) (map[string]string, error) { return keyValues("label", list) }

// keyValues reads "key=value" flags.
func keyValues(flag string, list []string) (map[string]string, error) {
	if len(list) == 0 {
		return nil, nil
	}
	m := make(map[string]string, len(list))
	for _, l := range list {
		k, v, ok := strings.Cut(l, "=")
		if !ok {
			return nil, &usageError{fmt.Errorf("--%s %q must be KEY=VALUE", flag, l)}
		}
		m[k] = v
	}
	return m, nil
}

var errNothing = errors.New("nothing to write: give an upstream by --to, or a file by --file")
