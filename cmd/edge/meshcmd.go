package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"github.com/approovia/edge/mesh"
	"github.com/approovia/edge/proxy/admin"
	"github.com/spf13/cobra"
)

func meshCommand() *cobra.Command {
	return group("mesh", "Make keys for the mesh and show its tunnels", meshKeygen(), meshStatus())
}

func meshKeygen() *cobra.Command {
	c := &cobra.Command{
		Use:   "keygen [FILE]",
		Short: "Make a WireGuard key pair",
		Long: "Make a WireGuard key pair. The private key goes to FILE, which must not exist and will be readable by its owner only, and\n" +
			"the public key to the standard output. Without FILE the private key goes to the standard output and the public key to\n" +
			"the standard error output.",
		Example: "  edge mesh keygen /etc/edge/mesh.key",
		Args:    cobra.MaximumNArgs(1),
	}
	asJSON := jsonFlag(c)
	c.RunE = func(c *cobra.Command, args []string) error {
		key, err := mesh.NewPrivateKey()
		if err != nil {
			return err
		}
		pair := struct {
			File    string `json:"file,omitempty"`
			Private string `json:"private_key,omitempty"`
			Public  string `json:"public_key"`
		}{Public: key.Public().String()}
		if len(args) > 0 {
			pair.File = args[0]
			if err := writeKey(pair.File, key); err != nil {
				return err
			}
		} else {
			pair.Private = key.String()
		}
		switch {
		case *asJSON:
			return printJSON(c.OutOrStdout(), pair)
		case pair.File == "":
			fmt.Fprintln(c.OutOrStdout(), pair.Private)
			fmt.Fprintf(c.ErrOrStderr(), "public key: %s\n", pair.Public)
		default:
			fmt.Fprintln(c.OutOrStdout(), pair.Public)
		}
		return nil
	}
	return c
}

// writeKey makes a file that only its owner may read. An existing one is never touched: its key may be in use.
func writeKey(file string, key mesh.Key) error {
	f, err := os.OpenFile(file, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return fmt.Errorf("write key: %w", err)
	}
	_, err = f.WriteString(key.String() + "\n")
	if err = errors.Join(err, f.Sync(), f.Close()); err != nil {
		return errors.Join(fmt.Errorf("write key %s: %w", filepath.Base(file), err), os.Remove(file))
	}
	return nil
}

func meshStatus() *cobra.Command {
	c := &cobra.Command{
		Use:     "status",
		Short:   "Show the tunnels of the running edge",
		Example: "  edge mesh status\n  edge mesh status --json",
		Args:    cobra.NoArgs,
	}
	to := remoteFlags(c)
	asJSON := jsonFlag(c)
	c.RunE = func(c *cobra.Command, _ []string) error {
		return to.ask(c.Context(), askLimit, func(ctx context.Context, client *admin.Client) error {
			m, err := client.Mesh(ctx)
			if err != nil {
				return err
			}
			if *asJSON {
				return printJSON(c.OutOrStdout(), m)
			}
			return printPeers(c.OutOrStdout(), &m, time.Now())
		})
	}
	return c
}
