package main

import (
	"fmt"

	"github.com/approovia/edge/configs"
	"github.com/approovia/edge/proxy"
	"github.com/spf13/cobra"
)

// configFlag gives a command that reads a configuration file its -c.
func configFlag(c *cobra.Command) *string {
	return c.Flags().StringP("config", "c", "edge.yaml", "configuration `FILE`")
}

func checkCommand() *cobra.Command {
	c := &cobra.Command{
		Use:   "check",
		Short: "Tell everything that is wrong with a configuration",
		Long: "Tell everything that is wrong with a configuration, each with file:line:column, and what is allowed and probably not\n" +
			"meant. Nothing is opened and nothing is changed. The exit status is 2 if edge run would refuse it.",
		Example: "  edge check -c /etc/edge/edge.yaml\n  edge check -c edge.yaml --json",
		Args:    cobra.NoArgs,
	}
	file := configFlag(c)
	asJSON := jsonFlag(c)
	c.RunE = func(c *cobra.Command, _ []string) error {
		warnings, errs := check(*file)
		if *asJSON {
			v := verdict{File: *file, OK: len(errs) == 0, Errors: findings(errs), Warnings: findings(warnings)}
			if err := printJSON(c.OutOrStdout(), v); err != nil {
				return err
			}
		} else {
			for _, w := range warnings {
				fmt.Fprintf(c.ErrOrStderr(), "%s: warning: %s\n", w.Pos, w.Msg)
			}
		}
		if len(errs) > 0 {
			return errs
		}
		if !*asJSON {
			fmt.Fprintf(c.OutOrStdout(), "%s: ok\n", *file)
		}
		return nil
	}
	return c
}

// check finds what can be found without opening a socket.
func check(file string) (warnings, errs configs.Errors) {
	cfg, err := load(file)
	if err != nil {
		return cfg.Warnings, placed(err, file)
	}
	if err := proxy.Check(cfg); err != nil {
		errs = placed(err, file)
	}
	if cfg.Mesh != nil {
		_, wrong := meshConfig(cfg.Mesh)
		errs = append(errs, wrong...)
	}
	return cfg.Warnings, errs
}

// load reads a configuration with all that is to be told of it at once: what its text is worth and whether its keys can be read.
func load(file string) (*configs.Config, error) {
	return configs.Load(file, proxy.Expressions, func(cfg *configs.Config) configs.Errors {
		if cfg.Mesh == nil {
			return nil
		}
		return unreadableKeys(cfg.Mesh)
	})
}

// placed is an error as errors with places; one without a place is put at the beginning of the file.
func placed(err error, file string) configs.Errors {
	if errs := places(err); len(errs) > 0 {
		return errs
	}
	return configs.Errors{{Pos: configs.Pos{File: file, Line: 1, Col: 1}, Msg: err.Error(), Err: err}}
}

// verdict is what check prints as JSON.
type verdict struct {
	File     string    `json:"file"`
	OK       bool      `json:"ok"`
	Errors   []finding `json:"errors"`
	Warnings []finding `json:"warnings"`
}

type finding struct {
	File    string `json:"file"`
	Line    int    `json:"line"`
	Column  int    `json:"column"`
	Message string `json:"message"`
}

func findings(errs configs.Errors) []finding {
	all := make([]finding, len(errs))
	for i, e := range errs {
		all[i] = finding{e.Pos.File, e.Pos.Line, e.Pos.Col, e.Msg}
	}
	return all
}
