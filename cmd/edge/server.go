package main

import (
	"context"
	"fmt"
	"io"
	"strconv"
	"strings"
	"time"

	"github.com/approovia/edge/proxy/admin"
	"github.com/approovia/edge/proxy/control"
	"github.com/spf13/cobra"
)

func serverCommand() *cobra.Command {
	c := group("server", "Show and change the servers of the running edge",
		serverList(), serverDrain(),
		serverChange("ready BACKEND/SERVER", "Let a server take traffic again", "  edge server ready service-a/vm2", 0, inState(control.Ready)),
		serverChange("maint BACKEND/SERVER", "Take a server out: no traffic, no checks", "  edge server maint service-a/vm2", 0, inState(control.Maint)),
		serverChange("weight BACKEND/SERVER WEIGHT", "Change a server's share of the traffic, 0 to 256", "  edge server weight service-a/vm2 10", 1,
			func(args []string) (control.Change, error) {
				n, err := strconv.Atoi(args[0])
				if err != nil {
					return control.Change{}, fmt.Errorf("weight %q is not a whole number from 0 to 256", args[0])
				}
				return control.Change{Weight: &n}, nil
			}),
		serverChange("set BACKEND/SERVER HOST:PORT", "Change a server's address", "  edge server set service-a/vm2 10.0.0.12:8003", 1,
			func(args []string) (control.Change, error) { return control.Change{Address: &args[0]}, nil }),
	)
	c.Long = "Show and change the servers of the running edge. A change holds until it is taken back, also across reload and restart."
	return c
}

func serverList() *cobra.Command {
	c := &cobra.Command{
		Use:     "list",
		Short:   "List all servers",
		Example: "  edge server list\n  edge server list --json",
		Args:    cobra.NoArgs,
	}
	to := remoteFlags(c)
	asJSON := jsonFlag(c)
	c.RunE = func(c *cobra.Command, _ []string) error {
		return to.ask(c.Context(), askLimit, func(ctx context.Context, client *admin.Client) error {
			r, err := client.Report(ctx)
			if err != nil {
				return err
			}
			if *asJSON {
				return printJSON(c.OutOrStdout(), r.Backends)
			}
			return printServers(c.OutOrStdout(), r.Backends, time.Now())
		})
	}
	return c
}

// serverChange makes the command of one kind of change, which takes more arguments than the server's name.
func serverChange(use, short, example string, more int, change func(args []string) (control.Change, error)) *cobra.Command {
	c := &cobra.Command{Use: use, Short: short, Example: example, Args: cobra.ExactArgs(1 + more)}
	to := remoteFlags(c)
	asJSON := jsonFlag(c)
	c.RunE = func(c *cobra.Command, args []string) error {
		backend, server, err := serverName(args[0])
		if err != nil {
			return err
		}
		wish, err := change(args[1:])
		if err == nil {
			err = wish.Validate()
		}
		if err != nil {
			return usageError{err}
		}
		return to.ask(c.Context(), askLimit, func(ctx context.Context, client *admin.Client) error {
			s, err := client.ChangeServer(ctx, backend, server, wish, nil)
			if err != nil {
				return err
			}
			if *asJSON {
				return printJSON(c.OutOrStdout(), s)
			}
			fmt.Fprintf(c.OutOrStdout(), "%s/%s: %s, weight %d, at %s\n", backend, server, s.Server.Operator, s.Server.Weight, s.Server.Address)
			return nil
		})
	}
	return c
}

func inState(s control.OperatorState) func([]string) (control.Change, error) {
	return func([]string) (control.Change, error) { return control.Change{State: &s}, nil }
}

func serverDrain() *cobra.Command {
	c := &cobra.Command{
		Use:   "drain BACKEND/SERVER",
		Short: "Give a server no new request and wait until it has finished the others",
		Long: "Give a server no new request and wait until it has finished the others; then it may be stopped without loss. If the time\n" +
			"is up before, the exit status is 1 and the server stays in the state drain.",
		Example: "  edge server drain service-a/vm2 --timeout 2m",
		Args:    cobra.ExactArgs(1),
	}
	to := remoteFlags(c)
	timeout := c.Flags().Duration("timeout", 30*time.Second, "how long to wait; 0s does not wait")
	asJSON := jsonFlag(c)
	c.RunE = func(c *cobra.Command, args []string) error {
		backend, server, err := serverName(args[0])
		if err != nil {
			return err
		}
		if *timeout < 0 {
			return usageError{fmt.Errorf("timeout %s is negative", *timeout)}
		}
		return to.ask(c.Context(), *timeout+askLimit, func(ctx context.Context, client *admin.Client) error {
			state := control.Drain
			s, err := client.ChangeServer(ctx, backend, server, control.Change{State: &state}, nil)
			if err != nil {
				return err
			}
			left, err := emptied(ctx, client, backend, server, *timeout, c.ErrOrStderr())
			if err != nil {
				return err
			}
			if *asJSON {
				err = printJSON(c.OutOrStdout(), map[string]any{"generation": s.Generation, "inflight": left})
			} else {
				fmt.Fprintf(c.OutOrStdout(), "%s/%s: drain, %s\n", backend, server, inWords(left))
			}
			if err == nil && *timeout > 0 && left != (control.Inflight{}) {
				err = fmt.Errorf("%s/%s is not empty after %s", backend, server, *timeout)
			}
			return err
		})
	}
	return c
}

// emptied waits until nothing is in flight on a server or the time is up, with a line to progress for each change, and returns what is
// left.
func emptied(ctx context.Context, client *admin.Client, backend, server string, timeout time.Duration, progress io.Writer) (control.Inflight, error) {
	const every = 100 * time.Millisecond
	deadline := time.After(timeout)
	look := time.NewTicker(every)
	defer look.Stop()
	told := control.Inflight{}
	for {
		left, err := client.Inflight(ctx, backend, server)
		if err != nil || left == (control.Inflight{}) || timeout == 0 {
			return left, err
		}
		if left != told {
			fmt.Fprintf(progress, "%s/%s: %s\n", backend, server, inWords(left))
			told = left
		}
		select {
		case <-ctx.Done():
			return left, context.Cause(ctx)
		case <-deadline:
			return left, nil
		case <-look.C:
		}
	}
}

func inWords(n control.Inflight) string {
	if n == (control.Inflight{}) {
		return "nothing in flight"
	}
	return fmt.Sprintf("%d requests and %d tunnels in flight", n.HTTP, n.Tunnels)
}

// serverName cuts BACKEND/SERVER.
func serverName(s string) (backend, server string, err error) {
	backend, server, ok := strings.Cut(s, "/")
	if !ok || backend == "" || server == "" {
		return "", "", usageError{fmt.Errorf("%q is not of the form BACKEND/SERVER (edge server list shows them)", s)}
	}
	return backend, server, nil
}
