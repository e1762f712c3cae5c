package main

import (
	"fmt"
	"io"
	"os"

	"github.com/spf13/cobra"

	"github.com/scimward/scimward/sidecar/config"
	"github.com/scimward/scimward/sidecar/suggest"
)

func newApp() *cobra.Command {
	return groupOf("app", "work on the entry of an application",
		groupOf("routes", "find the routes of an application that change accounts", newRoutesSuggest()))
}

func newRoutesSuggest() *cobra.Command {
	c := &cobra.Command{
		Use:   "suggest --openapi FILE",
		Short: "propose local_writes from an OpenAPI document",
		Long: `Reads an OpenAPI document (3.0, 3.1, or Swagger 2.0, as YAML or JSON) and prints the local_writes of an
application: what creates, changes or deletes accounts, their e-mail addresses and passwords, and groups
and their members. Where a request may also carry what the identity service does not supply, the entry
names the fields to deny. Each entry has its reason and a confidence as a comment. Entries of low
confidence are comments: read them, and remove the # of those that apply.

The document says what an operation is called, and not what it does, and it may lack operations. Compare
the proposal with the application. FILE - is standard input. Nothing is fetched: references to other
files count as unknown, and such a request is denied as a whole.

With --app or -c, operations that the configuration denies already are left out, and entries that cover
no operation of the document are named on standard error.`,
		Args: noArgs,
	}
	file := c.Flags().String("openapi", "", "`FILE` with the OpenAPI document (required)")
	f, asJSON := appFlags(c), jsonFlag(c)
	c.RunE = func(c *cobra.Command, _ []string) error {
		if *file == "" {
			return usage(fmt.Errorf("--openapi is missing: name the OpenAPI document of the application"))
		}
		configured, err := f.localWrites(c)
		if err != nil {
			return err
		}
		doc, err := readOpenAPI(c, *file)
		if err != nil {
			return err
		}
		s := doc.Suggest(configured)
		for _, entry := range s.Absent {
			_, _ = fmt.Fprintf(c.ErrOrStderr(), "scimward: the configuration denies %s, which the document does not have\n",
				oneLine(entry))
		}
		_, _ = fmt.Fprintln(c.ErrOrStderr(), "scimward:", s.Summary())
		return result(c, *asJSON, s, s.YAML())
	}
	return c
}

// localWrites returns what the configuration of the app has, nil if no flag names one.
func (f appReading) localWrites(c *cobra.Command) ([]config.LocalWrite, error) {
	if !c.Flags().Changed("app") && !c.Flags().Changed("config") && !c.Flags().Changed("tenant") {
		return nil, nil
	}
	cfg, err := config.LoadLenient(*f.file)
	if err != nil {
		return nil, explain(err)
	}
	tenant, err := tenantOf(cfg, *f.tenant)
	if err != nil {
		return nil, err
	}
	app, err := f.name(cfg)
	if err != nil {
		return nil, err
	}
	for t, a := range cfg.AllApps() {
		if t.Name == tenant && a.Name == app {
			return a.LocalWrites, nil
		}
	}
	return nil, usage(fmt.Errorf("tenant %s has no app %q", tenant, app))
}

func readOpenAPI(c *cobra.Command, file string) (*suggest.Document, error) {
	in := c.InOrStdin()
	if file != "-" {
		f, err := os.Open(file)
		if err != nil {
			return nil, fmt.Errorf("reading the OpenAPI document: %w", err)
		}
		defer f.Close() //nolint:errcheck // read only
		in = f
	}
	b, err := io.ReadAll(io.LimitReader(in, suggest.MaxBytes+1))
	if err != nil {
		return nil, fmt.Errorf("reading the OpenAPI document: %w", err)
	}
	doc, err := suggest.Read(b)
	if err != nil {
		return nil, fmt.Errorf("reading the OpenAPI document %s: %w", file, err)
	}
	return doc, nil
}
