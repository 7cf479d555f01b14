package main

import (
	"fmt"

	"github.com/spf13/cobra"
)

const about = `Signalbox is a clustered control plane with stateless proxy nodes.

Operators write routes; control planes keep them in etcd and stream every change
to any number of nodes; nodes carry the traffic and report what they carried.

To try it all in one process:   signalbox up
To run the parts:               signalbox etcd | controlplane | gateway | node
To operate a cluster:           signalbox route | listener | instance | nodes | key | events
To take others' places:         signalbox chp | nodepass | import
To keep it:                     signalbox backup | restore, and signalbox etcd status | ...

Every flag can be given as an environment variable (--api-listen as
SIGNALBOX_API_LISTEN) or as a line of a YAML file (api-listen: ...) named by
--config. A flag wins over the environment, and that over the file.`

// newRoot returns the command line, with every command there is.
func newRoot() *cobra.Command {
	root := &cobra.Command{
		Use:           "signalbox",
		Short:         "A clustered control plane with stateless proxy nodes",
		Long:          about,
		Version:       version,
		SilenceUsage:  true,
		SilenceErrors: true,
		PersistentPreRunE: func(cmd *cobra.Command, _ []string) error {
			given := givenFlags(cmd)
			if err := fillFlags(cmd); err != nil {
				return err
			}
			return checkCompanions(cmd, given)
		},
	}
	root.SetVersionTemplate("signalbox {{.Version}}\n")
	root.SetFlagErrorFunc(func(cmd *cobra.Command, err error) error {
		return &usageError{fmt.Errorf("%w\nSee '%s --help'", wrongFlag(err), cmd.CommandPath())}
	})
	root.PersistentFlags().String("config", "", "YAML file with flags by their names")
	root.AddGroup(
		&cobra.Group{ID: "run", Title: "To run it:"},
		&cobra.Group{ID: "operate", Title: "To operate it:"},
	)
	for _, c := range []*cobra.Command{newUp(), newControlPlane(), newGateway(), newNode(), newEtcd(), newDemo(), newCHP(), newNodePass()} {
		c.GroupID = "run"
		root.AddCommand(c)
	}
	for _, c := range clientCommands() {
		c.GroupID = "operate"
		root.AddCommand(c)
	}
	for _, c := range []*cobra.Command{newPKI(), newRestore(), newHealth()} {
		c.GroupID = "operate"
		root.AddCommand(c)
	}
	root.AddCommand(newVersion())
	finish(root)
	return root
}

// finish makes every wrong command line a wrong usage: commands that only hold
// others, and arguments of the wrong number.
func finish(cmd *cobra.Command) {
	switch args := cmd.Args; {
	case cmd.HasSubCommands() && cmd.Name() != "completion":
		run := cmd.RunE
		cmd.Args = cobra.ArbitraryArgs
		cmd.RunE = func(c *cobra.Command, given []string) error {
			switch {
			case len(given) > 0:
				return &usageError{fmt.Errorf("%q is not a command of %q\nSee '%s --help'", given[0], c.CommandPath(), c.CommandPath())}
			case run != nil:
				return run(c, given)
			}
			return c.Help()
		}
	case args != nil:
		cmd.Args = func(c *cobra.Command, given []string) error {
			if err := args(c, given); err != nil {
				return &usageError{fmt.Errorf("%w\nSee '%s --help'", err, c.CommandPath())}
			}
			return nil
		}
	}
	for _, sub := range cmd.Commands() {
		finish(sub)
	}
}

func newVersion() *cobra.Command {
	return &cobra.Command{
		Use:   "version",
		Short: "Print the version",
		Args:  noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			_, err := fmt.Fprintln(cmd.OutOrStdout(), "signalbox", version)
			return err
		},
	}
}

// noArgs refuses arguments.
func noArgs(cmd *cobra.Command, args []string) error {
	if len(args) > 0 {
		return fmt.Errorf("%q takes no arguments, and was given %q", cmd.CommandPath(), args)
	}
	return nil
}
