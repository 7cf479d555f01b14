package main

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"github.com/spf13/cobra"

	"signalbox/controlplane/pki"
	"signalbox/proto/certificate"
)

// Files of a folder that `pki init` makes. Those of parties are NAME.pem and
// NAME.key beside them.
const (
	rootName  = "ca"
	nodesName = "nodes-ca"
)

const day = 24 * time.Hour

func newPKI() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "pki",
		Short: "Make the certificates of an installation",
		Long: `Makes a small certificate authority in a folder, and certificates by it for
control planes, etcd members and their clients. Nodes get theirs from control
planes, which are given nodes-ca.pem and nodes-ca.key for it; ca.key need not be
on any machine that serves.`,
	}
	cmd.AddCommand(newPKIInit(), newPKINodeCA(), newPKIIssue(), newPKIExport())
	return cmd
}

func newPKIInit() *cobra.Command {
	var dir, name string
	var days, nodeDays int
	cmd := &cobra.Command{
		Use:   "init",
		Short: "Make the authority, and the one below it for nodes",
		Long: `Makes the root (ca.pem, ca.key) and the authority that signs nodes (nodes-ca.pem,
nodes-ca.key). It overwrites nothing.`,
		Example: "  signalbox pki init --dir /etc/signalbox/pki",
		Args:    noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if err := os.MkdirAll(dir, 0o755); err != nil {
				return err
			}
			now := time.Now()
			root, err := pki.NewRoot(name, now, time.Duration(days)*day)
			if err != nil {
				return err
			}
			nodes, err := root.NewNodeAuthority(name+" nodes", now, time.Duration(nodeDays)*day)
			if err != nil {
				return err
			}
			if err := errors.Join(root.Save(inFolder(dir, rootName)), nodes.Save(inFolder(dir, nodesName))); err != nil {
				return err
			}
			_, err = fmt.Fprintf(cmd.OutOrStdout(), "%s: the authority; keep its key away from machines that serve\n%s: signs nodes; give it and its key to control planes\n",
				filepath.Join(dir, rootName+".pem"), filepath.Join(dir, nodesName+".pem"))
			return err
		},
	}
	f := cmd.Flags()
	f.StringVar(&dir, "dir", "pki", "folder to make it in")
	f.StringVar(&name, "name", "Signalbox", "what the authority calls itself")
	f.IntVar(&days, "days", 3650, "how many days the root is good for")
	f.IntVar(&nodeDays, "node-ca-days", 1825, "how many days the authority for nodes is good for")
	return cmd
}

func newPKINodeCA() *cobra.Command {
	var dir string
	var days int
	cmd := &cobra.Command{
		Use:   "node-ca NAME",
		Short: "Make another authority for nodes, to replace the one there is",
		Long: `Makes another authority that signs nodes (NAME.pem, NAME.key), below the root in
the folder. It overwrites nothing. Control planes trust every authority in
--node-ca-cert and sign by the first, so it takes the place of the old one while
everything runs.`,
		Example: "  signalbox pki node-ca nodes-ca-2 --dir /etc/signalbox/pki",
		Args:    oneName,
		RunE: func(cmd *cobra.Command, args []string) error {
			root, err := loadRoot(dir, args[0])
			if err != nil {
				return err
			}
			nodes, err := root.NewNodeAuthority(args[0], time.Now(), time.Duration(days)*day)
			if err != nil {
				return err
			}
			certFile, keyFile := inFolder(dir, args[0])
			if err := nodes.Save(certFile, keyFile); err != nil {
				return err
			}
			_, err = fmt.Fprintf(cmd.OutOrStdout(), "%s\n%s\n", certFile, keyFile)
			return err
		},
	}
	f := cmd.Flags()
	f.StringVar(&dir, "dir", "pki", "folder with the authority")
	f.IntVar(&days, "node-ca-days", 1825, "how many days it is good for")
	return cmd
}

// loadRoot reads the root of a folder, to sign what goes into files of a name.
func loadRoot(dir, name string) (*pki.Authority, error) {
	if filepath.Base(name) != name || name == "." || name == ".." {
		return nil, &usageError{fmt.Errorf("NAME %q is the name of files too, and must have no slash", name)}
	}
	root, err := pki.Load(inFolder(dir, rootName))
	if err != nil {
		return nil, fmt.Errorf("the authority in --dir, which `signalbox pki init` makes: %w", err)
	}
	return root, nil
}

func newPKIIssue() *cobra.Command {
	var (
		dir   string
		party pki.Party
		days  int
	)
	cmd := &cobra.Command{
		Use:   "issue NAME",
		Short: "Make a certificate for a server or a client",
		Long: `Makes NAME.pem and NAME.key, signed by the root in the folder. With --host the
certificate is good for a server reached at these names and addresses, and for a
client; without, for a client only. It overwrites nothing: issue to a new folder
with --out to renew, and put the files in place of the old; they are read again
while everything runs.`,
		Example: `  signalbox pki issue cp1 --host cp1.internal,10.0.0.1
  signalbox pki issue etcd-client`,
		Args: cobra.ExactArgs(1),
	}
	var out string
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		party.Name = args[0]
		root, err := loadRoot(dir, party.Name)
		if err != nil {
			return err
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
		cert, err := root.Issue(party, key.Public(), time.Now(), time.Duration(days)*day)
		if err != nil {
			return &usageError{fmt.Errorf("--days %d: %w", days, err)}
		}
		certFile, keyFile := inFolder(out, party.Name)
		if err := pki.WritePair(certFile, cert, keyFile, private); err != nil {
			return err
		}
		_, err = fmt.Fprintf(cmd.OutOrStdout(), "%s\n%s\n", certFile, keyFile)
		return err
	}
	f := cmd.Flags()
	f.StringVar(&dir, "dir", "pki", "folder with the authority")
	f.StringVar(&out, "out", "", "folder to write to, if not --dir")
	f.StringSliceVar(&party.Hosts, "host", nil, "DNS name or IP address that the server is reached at; may be repeated")
	f.IntVar(&days, "days", 90, "how many days it is good for")
	return cmd
}

// inFolder is where a certificate and its key are.
func inFolder(dir, name string) (cert, key string) {
	return filepath.Join(dir, name+".pem"), filepath.Join(dir, name+".key")
}
