package main

import (
	"encoding/json"
	"fmt"
	"runtime"

	"github.com/spf13/cobra"
)

func newVersion() *cobra.Command {
	c := &cobra.Command{Use: "version", Short: "print the version of this program", Args: noArgs}
	asJSON := jsonFlag(c)
	c.RunE = func(c *cobra.Command, _ []string) error {
		text := "scimward " + version()
		if *asJSON {
			b, err := json.Marshal(map[string]string{
				"version": version(), "go": runtime.Version(), "platform": runtime.GOOS + "/" + runtime.GOARCH,
			})
			if err != nil {
				return err
			}
			text = string(b)
		}
		_, err := fmt.Fprintln(c.OutOrStdout(), text)
		return err
	}
	return c
}
