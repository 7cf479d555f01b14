package main

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"github.com/spf13/cobra"

	"signalbox/controlplane/pki"
)

func newPKIExport() *cobra.Command {
	var (
		dir, out    string
		etcd, nodes bool
	)
	cmd := &cobra.Command{
		Use:   "export",
		Short: "Copy what a machine needs to have of the authorities",
		Long: `Copies ca.pem, by which everybody knows servers, to another folder; with --etcd
also etcd-ca.pem, by which members of etcd and their clients know each other; with
--node-authority also nodes-ca.pem and nodes-ca.key, by which control planes sign
nodes. ca.key and etcd-ca.key stay where they are. It overwrites nothing; what is
there already is left.`,
		Example: `  signalbox pki export --dir pki --out for-cp1 --etcd --node-authority
  signalbox pki issue cp1 --dir pki --out for-cp1 --host cp1.internal
  signalbox pki issue etcd-client --dir pki --out for-cp1 --authority etcd-ca`,
		Args: noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if out == "" {
				return &usageError{errors.New("--out names the folder to copy to")}
			}
			if err := os.MkdirAll(out, 0o755); err != nil {
				return err
			}
			public := []string{rootName}
			if etcd {
				public = append(public, etcdName)
			}
			for _, name := range public {
				cert, _ := inFolder(dir, name)
				if err := copyPublic(cert, out); err != nil {
					return err
				}
			}
			if !nodes {
				return nil
			}
			authority, err := pki.Load(inFolder(dir, nodesName))
			if err != nil {
				return fmt.Errorf("the authority for nodes in --dir: %w", err)
			}
			certFile, keyFile := inFolder(out, nodesName)
			if _, err := pki.Load(certFile, keyFile); err == nil {
				return nil
			}
			return authority.Save(certFile, keyFile)
		},
	}
	f := cmd.Flags()
	f.StringVar(&dir, "dir", "pki", "folder with the authorities")
	f.StringVar(&out, "out", "", "folder to copy to")
	f.BoolVar(&etcd, "etcd", false, "for a member of etcd or a control plane: etcd's authority, too, without its key")
	f.BoolVar(&nodes, "node-authority", false, "for a control plane: the authority for nodes, too, with its key")
	return cmd
}

// copyPublic copies a file that everybody may read, unless it is there already.
func copyPublic(file, folder string) error {
	text, err := os.ReadFile(file) //nolint:gosec // the operator's own file
	if err != nil {
		return fmt.Errorf("the authority in --dir, which `signalbox pki init` makes: %w", err)
	}
	to := filepath.Join(folder, filepath.Base(file))
	switch there, err := os.ReadFile(to); { //nolint:gosec // the same
	case err == nil && bytes.Equal(there, text):
		return nil
	case err == nil:
		return fmt.Errorf("%s is of another authority, and is not overwritten", to)
	}
	return os.WriteFile(to, text, 0o644) //nolint:gosec // it is public
}
