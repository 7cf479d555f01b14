package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"google.golang.org/grpc"
	"google.golang.org/protobuf/types/known/timestamppb"

	signalboxv1 "signalbox/proto/gen/signalbox/v1"
	"signalbox/proto/rules"
)

func newKey() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "key",
		Short: "Make, list and end API keys",
		Long:  "API keys let callers in. Their scopes are:\n\n  " + strings.Join(rules.Scopes(), "\n  ") + "\n\nadmin implies all of them, and KIND:write implies KIND:read.",
		Example: `  signalbox key create hub --scope routes:write
  signalbox key create node-1 --scope node --node node-1
  signalbox key list
  signalbox key delete hub`,
	}
	cmd.AddCommand(newKeyCreate(), newKeyList(), newKeyDelete())
	return cmd
}

func newKeyCreate() *cobra.Command {
	var (
		c       client
		scopes  []string
		node    string
		expires time.Duration
		file    string
	)
	cmd := &cobra.Command{
		Use:   "create NAME",
		Short: "Make a key and print its secret, which is not shown again",
		Args:  oneName,
		RunE: func(cmd *cobra.Command, args []string) error {
			key := &signalboxv1.ApiKey{Name: args[0], Scopes: scopes, Node: node}
			if expires != 0 {
				key.ExpireTime = timestamppb.New(time.Now().Add(expires))
			}
			return c.call(cmd.Context(), func(ctx context.Context, conn grpc.ClientConnInterface) error {
				answer, err := signalboxv1.NewApiKeyServiceClient(conn).CreateApiKey(ctx, &signalboxv1.CreateApiKeyRequest{Key: key})
				if err != nil {
					return err
				}
				if file != "" {
					if err := writeSecret(file, answer.GetSecret()); err != nil {
						return fmt.Errorf("key %s is made, but its secret is lost: %w", args[0], err)
					}
					answer.Secret = ""
					return c.print(cmd.OutOrStdout(), answer, func(w io.Writer) { _, _ = fmt.Fprintf(w, "key %s made, its secret is in %s\n", args[0], file) })
				}
				return c.print(cmd.OutOrStdout(), answer, func(w io.Writer) { _, _ = fmt.Fprintln(w, answer.GetSecret()) })
			})
		},
	}
	f := cmd.Flags()
	f.StringSliceVar(&scopes, "scope", nil, "what the key may do; may be repeated")
	f.StringVar(&node, "node", "", "the one node that a key with scope node is for")
	f.StringVar(&file, "secret-file", "", "file to write the secret to, for its owner alone, instead of printing it")
	f.DurationVar(&expires, "expires", 0, "how long the key is valid, as 720h; for ever if not given")
	c.add(f)
	return cmd
}

// writeSecret writes a file that its owner alone can read, whole or not at all.
func writeSecret(file, secret string) error {
	f, err := os.CreateTemp(filepath.Dir(file), ".key-") // its mode is 0600
	if err != nil {
		return err
	}
	_, err = fmt.Fprintln(f, secret)
	if err = errors.Join(err, f.Close()); err == nil {
		err = os.Rename(f.Name(), file)
	}
	if err != nil {
		_ = os.Remove(f.Name())
	}
	return err
}

func newKeyList() *cobra.Command {
	var c client
	cmd := &cobra.Command{
		Use:   "list",
		Short: "Show all keys, without their secrets",
		Args:  noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			return c.call(cmd.Context(), func(ctx context.Context, conn grpc.ClientConnInterface) error {
				all, err := allKeys(ctx, signalboxv1.NewApiKeyServiceClient(conn), pageSize)
				if err != nil {
					return err
				}
				return c.print(cmd.OutOrStdout(), all, func(w io.Writer) {
					_, _ = fmt.Fprintln(w, "NAME\tSCOPES\tNODE\tEXPIRES\tMADE")
					for _, k := range all.GetKeys() {
						expires := "never"
						if k.GetExpireTime() != nil {
							expires = k.GetExpireTime().AsTime().Format(time.RFC3339)
						}
						_, _ = fmt.Fprintf(w, "%s\t%s\t%s\t%s\t%s\n", k.GetName(), strings.Join(k.GetScopes(), " "), k.GetNode(), expires,
							k.GetMeta().GetCreateTime().AsTime().Format(time.RFC3339))
					}
				})
			})
		},
	}
	c.add(cmd.Flags())
	return cmd
}

// allKeys gathers all pages.
func allKeys(ctx context.Context, api signalboxv1.ApiKeyServiceClient, size int32) (*signalboxv1.ListApiKeysResponse, error) {
	all := new(signalboxv1.ListApiKeysResponse)
	return all, pages(func(token string) (string, error) {
		page, err := api.ListApiKeys(ctx, &signalboxv1.ListApiKeysRequest{PageSize: size, PageToken: token})
		all.Keys, all.Version = append(all.Keys, page.GetKeys()...), page.GetVersion()
		return page.GetNextPageToken(), err
	})
}

func newKeyDelete() *cobra.Command {
	var c client
	cmd := &cobra.Command{
		Use:   "delete NAME",
		Short: "End a key on every control plane at once",
		Args:  oneName,
		RunE: func(cmd *cobra.Command, args []string) error {
			return c.call(cmd.Context(), func(ctx context.Context, conn grpc.ClientConnInterface) error {
				answer, err := signalboxv1.NewApiKeyServiceClient(conn).DeleteApiKey(ctx, &signalboxv1.DeleteApiKeyRequest{Name: args[0]})
				if err != nil {
					return err
				}
				return c.print(cmd.OutOrStdout(), answer, func(w io.Writer) { _, _ = fmt.Fprintf(w, "key %s ended\n", args[0]) })
			})
		},
	}
	c.add(cmd.Flags())
	return cmd
}
