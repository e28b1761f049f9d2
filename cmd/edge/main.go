// Command edge is one program with several jobs: the reverse proxy that faces
// the clients, the commands that ask and steer a running one, and the checks
// and demonstrations around it.
//
// This package answers which words a person types and which rooms they call:
// flags, verbs, exit status, signals, and the wiring of proxy, mesh, admin API
// and metrics into one process. It decides nothing about a request.
package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"

	"github.com/approovia/edge/configs"
	"github.com/approovia/edge/proxy/control"
	"github.com/spf13/cobra"
)

// The exit statuses of every command.
const (
	exitOK     = 0
	exitFailed = 1
	exitUsage  = 2 // wrong usage, or an invalid configuration
)

func main() {
	os.Exit(edge(context.Background(), os.Args[1:], os.Stdout, os.Stderr))
}

// edge runs one command line and returns the exit status.
func edge(ctx context.Context, args []string, stdout, stderr io.Writer) int {
	began := false // the words were right, the command itself has begun
	root := commands()
	root.PersistentPreRun = func(*cobra.Command, []string) { began = true }
	root.SetArgs(args)
	root.SetOut(stdout)
	root.SetErr(stderr)
	cmd, err := root.ExecuteContextC(ctx)
	if err == nil {
		return exitOK
	}
	if !began {
		err = usageError{err}
	}
	explain(stderr, cmd, err)
	return exitStatus(err)
}

// commands are all the words there are.
func commands() *cobra.Command {
	root := group("edge", "A reverse proxy with its own WireGuard mesh",
		demoCommand(), runCommand(), checkCommand(), schemaCommand(), reloadCommand(), statusCommand(), serverCommand(), meshCommand(), versionCommand())
	root.Example = "  edge demo                   # the whole system on this machine, to try\n" +
		"  edge check -c edge.yaml\n" +
		"  edge run -c edge.yaml"
	root.SilenceErrors, root.SilenceUsage = true, true
	return root
}

// group is a command that only holds others.
func group(name, short string, commands ...*cobra.Command) *cobra.Command {
	c := &cobra.Command{
		Use:   name,
		Short: short,
		Args: func(c *cobra.Command, args []string) error {
			if len(args) == 0 {
				return nil
			}
			hint := ""
			if near := c.SuggestionsFor(args[0]); len(near) > 0 {
				hint = fmt.Sprintf("; did you mean %q?", near[0])
			}
			return fmt.Errorf("unknown command %q%s", args[0], hint)
		},
		RunE: func(c *cobra.Command, _ []string) error {
			c.SetOut(c.ErrOrStderr())
			return errors.Join(usageError{errors.New("a command is missing")}, c.Help())
		},
		SuggestionsMinimumDistance: 2,
	}
	c.AddCommand(commands...)
	return c
}

// usageError is something typed wrong.
type usageError struct{ error }

func (e usageError) Unwrap() error { return e.error }

// refusedError is a configuration that a running edge did not take; each line has its place in front.
type refusedError []string

func (e refusedError) Error() string { return strings.Join(e, "\n") }

// explain tells what went wrong. What begins with a place in a file is left as it is, for editors that jump there.
func explain(w io.Writer, cmd *cobra.Command, err error) {
	var (
		usage   usageError
		refused refusedError
	)
	switch {
	case errors.As(err, &usage):
		fmt.Fprintf(w, "edge: %v\nedge: see %s --help\n", usage, cmd.CommandPath())
	case len(places(err)) > 0:
		fmt.Fprintln(w, places(err))
	case errors.As(err, &refused):
		fmt.Fprintln(w, refused)
	default:
		fmt.Fprintf(w, "edge: %v\n", err)
	}
}

func exitStatus(err error) int {
	var (
		usage   usageError
		refused refusedError
	)
	if errors.As(err, &usage) || errors.As(err, &refused) || len(places(err)) > 0 || errors.Is(err, control.ErrInvalid) {
		return exitUsage
	}
	return exitFailed
}

// places are the configuration errors in err, none if it is of another kind.
func places(err error) configs.Errors {
	var all configs.Errors
	if errors.As(err, &all) {
		return all
	}
	var one *configs.Error
	if errors.As(err, &one) {
		return configs.Errors{one}
	}
	return nil
}

// printJSON prints v for programs.
func printJSON(w io.Writer, v any) error {
	e := json.NewEncoder(w)
	e.SetIndent("", "  ")
	e.SetEscapeHTML(false)
	if err := e.Encode(v); err != nil {
		return fmt.Errorf("print as JSON: %w", err)
	}
	return nil
}

// jsonFlag gives a command that prints data its --json.
func jsonFlag(c *cobra.Command) *bool {
	return c.Flags().Bool("json", false, "print JSON")
}
