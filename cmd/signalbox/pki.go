package main

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"time"

	"github.com/spf13/cobra"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"signalbox/controlplane/pki"
	"signalbox/proto/certificate"
)

// Files of a folder that `pki init` makes: of the authority of servers, of etcd's
// and of nodes'. Those of parties are NAME.pem and NAME.key beside them.
const (
	rootName  = "ca"
	etcdName  = "etcd-ca"
	nodesName = "nodes-ca"
)

const day = 24 * time.Hour

func newPKI() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "pki",
		Short: "Make the certificates of an installation",
		Long: `Makes small certificate authorities in a folder, and certificates by them for
control planes and gateways (ca), and for members of etcd and their clients
(etcd-ca). Nodes get theirs from control planes, which are given nodes-ca.pem and
nodes-ca.key for it; ca.key and etcd-ca.key need not be on any machine that
serves.`,
	}
	cmd.AddCommand(newPKIInit(), newPKINodeCA(), newPKIEtcdCA(), newPKIIssue(), newPKIExport())
	return cmd
}

func newPKIInit() *cobra.Command {
	var dir, name string
	var days, nodeDays int
	cmd := &cobra.Command{
		Use:   "init",
		Short: "Make the authorities of servers, of etcd and of nodes",
		Long: `Makes three authorities, none above another: one signs servers (ca.pem, ca.key),
one members of etcd and their clients (etcd-ca.pem, etcd-ca.key), one nodes
(nodes-ca.pem, nodes-ca.key). Etcd does everything for whoever has a certificate
that it trusts, so give it etcd-ca.pem alone. It overwrites nothing.`,
		Example: "  signalbox pki init --dir /etc/signalbox/pki",
		Args:    noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if err := os.MkdirAll(dir, 0o755); err != nil {
				return err
			}
			for _, file := range []string{rootName, etcdName, nodesName} {
				certFile, keyFile := inFolder(dir, file)
				if err := errors.Join(vacant(certFile), vacant(keyFile)); err != nil {
					return existing(err, "--dir has authorities already; certify by them with 'signalbox pki issue', or make new ones in another folder")
				}
			}
			life, nodeLife := time.Duration(days)*day, time.Duration(nodeDays)*day
			for _, a := range []struct {
				file, name string
				life       time.Duration
				make       authorityMaker
				purpose    string
			}{
				{rootName, name, life, pki.NewRoot, "signs servers; keep its key away from machines that serve"},
				{etcdName, name + " etcd", life, pki.NewRoot, "signs members of etcd and their clients; keep its key as well"},
				{nodesName, name + " nodes", nodeLife, pki.NewNodeAuthority, "signs nodes; give it and its key to control planes"},
			} {
				certFile, err := makeAuthority(a.make, dir, a.file, a.name, a.life)
				if err != nil {
					return err
				}
				if _, err := fmt.Fprintf(cmd.OutOrStdout(), "%s: %s\n", certFile, a.purpose); err != nil {
					return err
				}
			}
			return nil
		},
	}
	f := cmd.Flags()
	f.StringVar(&dir, "dir", "pki", "folder to make them in")
	f.StringVar(&name, "name", "Signalbox", "what the authorities call themselves")
	f.IntVar(&days, "days", 3650, "how many days those of servers and of etcd are good for")
	f.IntVar(&nodeDays, "node-ca-days", 1825, "how many days the authority for nodes is good for")
	return cmd
}

// vacant is an error, which is [fs.ErrExist], where there is a file.
func vacant(file string) error {
	_, err := os.Lstat(file)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err == nil {
		err = &fs.PathError{Op: "write", Path: file, Err: fs.ErrExist}
	}
	return err
}

// existing adds to an error what to do, if it is that there is a file already.
func existing(err error, advice string) error {
	var at *fs.PathError
	if errors.Is(err, fs.ErrExist) && errors.As(err, &at) {
		return status.Errorf(codes.AlreadyExists, "%s exists, and nothing was overwritten: %s", at.Path, advice)
	}
	return err
}

// An authorityMaker is [pki.NewRoot] or [pki.NewNodeAuthority].
type authorityMaker func(name string, now time.Time, life time.Duration) (*pki.Authority, error)

// makeAuthority makes an authority, in files of a folder.
func makeAuthority(by authorityMaker, dir, file, name string, life time.Duration) (certFile string, err error) {
	a, err := by(name, time.Now(), life)
	if err != nil {
		return "", err
	}
	certFile, keyFile := inFolder(dir, file)
	return certFile, a.Save(certFile, keyFile)
}

func newPKINodeCA() *cobra.Command {
	var days int
	cmd := newPKIAnother(pki.NewNodeAuthority, &days, &cobra.Command{
		Use:   "node-ca NAME",
		Short: "Make another authority for nodes, to replace the one there is",
		Long: `Makes another authority that signs nodes (NAME.pem, NAME.key). It overwrites
nothing. Control planes trust every authority in --node-ca-cert and sign by the
first, so it takes the place of the old one while everything runs.`,
		Example: "  signalbox pki node-ca nodes-ca-2 --dir /etc/signalbox/pki",
	})
	cmd.Flags().IntVar(&days, "node-ca-days", 1825, "how many days it is good for")
	return cmd
}

func newPKIEtcdCA() *cobra.Command {
	var days int
	cmd := newPKIAnother(pki.NewRoot, &days, &cobra.Command{
		Use:   "etcd-ca NAME",
		Short: "Make another authority for etcd, to replace the one there is",
		Long: `Makes another authority that signs members of etcd and their clients (NAME.pem,
NAME.key), with "signalbox pki issue --authority NAME". It overwrites nothing.`,
		Example: "  signalbox pki etcd-ca etcd-ca-2 --dir /etc/signalbox/pki",
	})
	cmd.Flags().IntVar(&days, "days", 3650, "how many days it is good for")
	return cmd
}

// newPKIAnother completes a command that makes one authority in a folder.
func newPKIAnother(by authorityMaker, days *int, cmd *cobra.Command) *cobra.Command {
	var dir string
	cmd.Args = oneName
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		if err := checkFileName(args[0]); err != nil {
			return err
		}
		certFile, err := makeAuthority(by, dir, args[0], args[0], time.Duration(*days)*day)
		if err != nil {
			return existing(err, "take another NAME")
		}
		_, keyFile := inFolder(dir, args[0])
		_, err = fmt.Fprintf(cmd.OutOrStdout(), "%s\n%s\n", certFile, keyFile)
		return err
	}
	cmd.Flags().StringVar(&dir, "dir", "pki", "folder with the authorities")
	return cmd
}

// checkFileName says what is wrong with a name that is one of files, too.
func checkFileName(name string) error {
	if filepath.Base(name) != name || name == "." || name == ".." {
		return &usageError{fmt.Errorf("NAME %q is the name of files too, and must have no slash", name)}
	}
	return nil
}

func newPKIIssue() *cobra.Command {
	var (
		dir, authority string
		party          pki.Party
		days           int
	)
	cmd := &cobra.Command{
		Use:   "issue NAME",
		Short: "Make a certificate for a server or a client",
		Long: `Makes NAME.pem and NAME.key, signed by the authority of servers in the folder, or
by etcd's with --authority etcd-ca: members of etcd and their clients need
theirs from it. With --host the certificate is good for a server reached at these
names and addresses, and for a client; without, for a client only. It overwrites
nothing: issue to a new folder with --out to renew, and put the files in place of
the old; they are read again while everything runs.`,
		Example: `  signalbox pki issue cp1 --host cp1.internal,10.0.0.1
  signalbox pki issue etcd1 --authority etcd-ca --host etcd1.internal,10.0.0.1
  signalbox pki issue etcd-client --authority etcd-ca`,
		Args: oneName,
	}
	var out string
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		party.Name = args[0]
		if err := errors.Join(checkFileName(party.Name), checkFileName(authority)); err != nil {
			return err
		}
		by, err := pki.Load(inFolder(dir, authority))
		if err != nil {
			return fmt.Errorf("the authority in --dir, which `signalbox pki init` makes: %w", err)
		}
		if out == "" {
			out = dir
		}
		if err := os.MkdirAll(out, 0o755); err != nil {
			return err
		}
		key, err := certificate.NewKey()
		if err != nil {
			return err
		}
		private, err := certificate.EncodeKey(key)
		if err != nil {
			return err
		}
		cert, err := by.Issue(party, key.Public(), time.Now(), time.Duration(days)*day)
		if err != nil {
			return &usageError{fmt.Errorf("--authority %s, --days %d: %w", authority, days, err)}
		}
		certFile, keyFile := inFolder(out, party.Name)
		if err := pki.WritePair(certFile, cert, keyFile, private); err != nil {
			return existing(err, "renew into a new folder with --out, or take another NAME")
		}
		_, err = fmt.Fprintf(cmd.OutOrStdout(), "%s\n%s\n", certFile, keyFile)
		return err
	}
	f := cmd.Flags()
	f.StringVar(&dir, "dir", "pki", "folder with the authorities")
	f.StringVar(&authority, "authority", rootName, "which of them signs: ca, or etcd-ca for members of etcd and their clients")
	f.StringVar(&out, "out", "", "folder to write to, if not --dir")
	f.StringSliceVar(&party.Hosts, "host", nil, "DNS name or IP address that the server is reached at; may be repeated")
	f.IntVar(&days, "days", 90, "how many days it is good for")
	return cmd
}

// inFolder is where a certificate and its key are.
func inFolder(dir, name string) (cert, key string) {
	return filepath.Join(dir, name+".pem"), filepath.Join(dir, name+".key")
}
