package main

import (
	"context"
	"log/slog"
	"os"
	"os/signal"
	"syscall"
	"time"

	"github.com/spf13/cobra"
)

func runCommand() *cobra.Command {
	c := &cobra.Command{
		Use:   "run",
		Short: "Run the proxy",
		Long: "Run the proxy until SIGTERM or SIGINT. It then stops accepting and lets what is under way finish; a second signal ends it\n" +
			"at once. SIGHUP reads the configuration again and reopens the log files; a changed configuration file is noticed by\n" +
			"itself. A configuration with a mistake is refused as a whole: at start with exit status 2, later without any effect.\n\n" +
			"The access log goes where global.log.access.to says, everything else to the standard error output.",
		Example: "  edge run -c /etc/edge/edge.yaml\n  edge run -c edge.yaml --drain 2m",
		Args:    cobra.NoArgs,
	}
	file := configFlag(c)
	drain := c.Flags().Duration("drain", 30*time.Second, "how long requests may take to finish after the signal to stop")
	c.RunE = func(c *cobra.Command, _ []string) error {
		level := new(slog.LevelVar)
		log := slog.New(slog.NewTextHandler(c.ErrOrStderr(), &slog.HandlerOptions{Level: level}))
		slog.SetDefault(log)

		d, err := newDaemon(*file, settings{Drain: *drain, Log: log, Level: level, Getenv: os.Getenv})
		if err != nil {
			return err
		}
		return untilSignal(c.Context(), d)
	}
	return c
}

// untilSignal runs d until SIGTERM or SIGINT.
func untilSignal(ctx context.Context, d *daemon) error {
	ctx, stop := signal.NotifyContext(ctx, syscall.SIGTERM, syscall.SIGINT)
	defer stop()
	context.AfterFunc(ctx, stop) // from then on a second signal does what it does by nature: end the process
	hangups := make(chan os.Signal, 1)
	signal.Notify(hangups, syscall.SIGHUP)
	defer signal.Stop(hangups)
	return d.Run(ctx, hangups)
}
