package main

import (
	"context"
	"fmt"
	"time"

	"github.com/approovia/edge/proxy/admin"
	"github.com/spf13/cobra"
)

func reloadCommand() *cobra.Command {
	c := &cobra.Command{
		Use:   "reload",
		Short: "Have the running edge read its configuration again",
		Long: "Have the running edge read its configuration again, and print its verdict. A configuration that is refused changes\n" +
			"nothing; its errors are printed and the exit status is 2.",
		Example: "  edge reload\n  edge reload --admin unix:/run/edge/admin.sock --json",
		Args:    cobra.NoArgs,
	}
	to := remoteFlags(c)
	asJSON := jsonFlag(c)
	c.RunE = func(c *cobra.Command, _ []string) error {
		return to.ask(c.Context(), reloadLimit, func(ctx context.Context, client *admin.Client) error {
			r, err := client.Reload(ctx)
			if err != nil {
				return err
			}
			if *asJSON {
				if err := printJSON(c.OutOrStdout(), r); err != nil {
					return err
				}
			} else {
				for _, w := range r.Warnings {
					fmt.Fprintf(c.ErrOrStderr(), "warning: %s\n", w)
				}
			}
			if !r.OK {
				return refusedError(append(r.Errors, fmt.Sprintf("refused: generation %d stays in force", r.Generation)))
			}
			if !*asJSON {
				fmt.Fprintf(c.OutOrStdout(), "generation %d is in force (%s)\n", r.Generation, time.Duration(r.Took).Round(time.Microsecond))
			}
			return nil
		})
	}
	return c
}
