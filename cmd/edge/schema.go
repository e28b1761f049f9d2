package main

import (
	"github.com/approovia/edge/configs"
	"github.com/spf13/cobra"
)

func schemaCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "schema",
		Short: "Print the JSON Schema of edge.yaml, for editors",
		Long: "Print the JSON Schema of edge.yaml. An editor that speaks YAML completes and explains keys by it, with this as the\n" +
			"file's first line:\n\n  # yaml-language-server: $schema=edge.schema.json",
		Example: "  edge schema > edge.schema.json",
		Args:    cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			_, err := c.OutOrStdout().Write(configs.Schema())
			return err
		},
	}
}
