package main

import (
	"encoding/json"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"github.com/scimward/scimward/policies"
	"github.com/scimward/scimward/sidecar"
	"github.com/scimward/scimward/sidecar/config"
)

// completePolicies completes the values of --profile and --dialect of commands that write a configuration.
func completePolicies(c *cobra.Command) {
	for flag, names := range map[string][]string{"profile": policies.Profiles(), "dialect": policies.OverlayNames()} {
		if c.Flags().Lookup(flag) != nil {
			// It fails only if it is called twice.
			// It fails only if it is called twice.
			_ = c.RegisterFlagCompletionFunc(flag, cobra.FixedCompletions(names, cobra.ShellCompDirectiveNoFileComp))
		}
	}
}

// completeNames completes the values of --tenant and --app from the configuration that -c names. Without a
// readable configuration there is nothing to complete.
func completeNames(c *cobra.Command) {
	for flag, names := range map[string]func(*config.Config, string) []string{
		"tenant": func(cfg *config.Config, _ string) (out []string) {
			for i := range cfg.Tenants {
				out = append(out, cfg.Tenants[i].Name)
			}
			return out
		},
		"app": func(cfg *config.Config, tenant string) (out []string) {
			for t, a := range cfg.AllApps() {
				if tenant == "" || t.Name == tenant {
					out = append(out, a.Name)
				}
			}
			slices.Sort(out)
			return slices.Compact(out)
		},
	} {
		if c.Flags().Lookup(flag) == nil || c.Flags().Lookup("config") == nil {
			continue
		}
		complete := func(c *cobra.Command, _ []string, _ string) ([]string, cobra.ShellCompDirective) {
			cfg, err := config.LoadLenient(c.Flags().Lookup("config").Value.String())
			if err != nil {
				return nil, cobra.ShellCompDirectiveError
			}
			tenant := ""
			if f := c.Flags().Lookup("tenant"); f != nil {
				tenant = f.Value.String()
			}
			return names(cfg, tenant), cobra.ShellCompDirectiveNoFileComp
		}
		_ = c.RegisterFlagCompletionFunc(flag, complete) // it fails only if it is called twice
	}
}

// completeUsers completes USER with the leavers who still have access, whom operators look for. It asks
// the running process.
func completeUsers(c *cobra.Command) {
	if !strings.Contains(c.Use, " USER") || c.Flags().Lookup("config") == nil {
		return
	}
	c.ValidArgsFunction = func(c *cobra.Command, args []string, _ string) ([]string, cobra.ShellCompDirective) {
		if len(args) > 0 {
			return nil, cobra.ShellCompDirectiveNoFileComp
		}
		admin, err := newAdminClient(c.Flags().Lookup("config").Value.String())
		if err != nil {
			return nil, cobra.ShellCompDirectiveError
		}
		got, err := admin.get(c.Context(), "/v1/status")
		if err != nil {
			return nil, cobra.ShellCompDirectiveError
		}
		var s sidecar.Status
		if err := json.Unmarshal(got.body, &s); err != nil {
			return nil, cobra.ShellCompDirectiveError
		}
		var names []string
		for i := range s.Leavers {
			names = append(names, s.Leavers[i].UserName)
		}
		return names, cobra.ShellCompDirectiveNoFileComp
	}
}

// completeClients completes CLIENT, TOKEN and --client with those of the tenant. It asks the running process.
func completeClients(c *cobra.Command) {
	if c.Flags().Lookup("tenant") == nil || c.Flags().Lookup("config") == nil {
		return
	}
	names := func(c *cobra.Command, args []string, _ string) ([]string, cobra.ShellCompDirective) {
		if len(args) > 0 {
			return nil, cobra.ShellCompDirectiveNoFileComp
		}
		return namesOfClients(c)
	}
	if c.Flags().Lookup("client") != nil {
		// It fails only if it is called twice.
		// It fails only if it is called twice.
		_ = c.RegisterFlagCompletionFunc("client", func(c *cobra.Command, _ []string, _ string) (
			[]string, cobra.ShellCompDirective,
		) {
			return namesOfClients(c)
		}) // it fails only if it is called twice
	} else if strings.Contains(c.Use, " CLIENT") || strings.Contains(c.Use, " TOKEN") {
		c.ValidArgsFunction = names
	}
}

// namesOfClients returns the clients of the tenant, or for a command on TOKEN the ids of their tokens.
func namesOfClients(c *cobra.Command) ([]string, cobra.ShellCompDirective) {
	file, tenant := c.Flags().Lookup("config").Value.String(), c.Flags().Lookup("tenant").Value.String()
	got, err := reading{&file, &tenant}.get(c, "clients", nil)
	if err != nil {
		return nil, cobra.ShellCompDirectiveError
	}
	var l sidecar.ClientList
	if err := json.Unmarshal(got.body, &l); err != nil {
		return nil, cobra.ShellCompDirectiveError
	}
	var out []string
	for i := range l.Clients {
		switch {
		case strings.Contains(c.Use, " TOKEN"):
			for _, t := range l.Clients[i].Tokens {
				out = append(out, t.ID)
			}
		case l.Clients[i].Client != "":
			out = append(out, l.Clients[i].Client)
		}
	}
	return out, cobra.ShellCompDirectiveNoFileComp
}
