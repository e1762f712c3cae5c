package main

import (
	"errors"
	"fmt"
	"io"
	"net/url"
	"strings"

	"github.com/spf13/cobra"

	"github.com/scimward/scimward/sidecar/config"
)

// reading are the flags of a command that asks the running scimward about one tenant.
type reading struct{ file, tenant *string }

func readFlags(c *cobra.Command) reading {
	return reading{
		configFlag(c), c.Flags().String("tenant", "", "`NAME` of the tenant; not needed when there is only one"),
	}
}

// admin returns a client, and the path of a route of the tenant.
func (f reading) admin(route string, query url.Values) (*adminClient, string, error) {
	admin, err := newAdminClient(*f.file)
	if err != nil {
		return nil, "", err
	}
	tenant, err := tenantOf(admin.cfg, *f.tenant)
	if err != nil {
		return nil, "", err
	}
	path := "/v1/tenants/" + url.PathEscape(tenant) + "/" + route
	if len(query) > 0 {
		path += "?" + query.Encode()
	}
	return admin, path, nil
}

// get asks for a route of the tenant.
func (f reading) get(c *cobra.Command, route string, query url.Values) (answer, error) {
	admin, path, err := f.admin(route, query)
	if err != nil {
		return answer{}, err
	}
	return admin.get(c.Context(), path)
}

// stream is get for an answer of any length.
func (f reading) stream(c *cobra.Command, route string, query url.Values) (io.ReadCloser, error) {
	admin, path, err := f.admin(route, query)
	if err != nil {
		return nil, err
	}
	return admin.stream(c.Context(), path)
}

// appReading are the flags of a command that asks about one app of a tenant.
type appReading struct {
	reading
	app *string
}

func appFlags(c *cobra.Command) appReading {
	return appReading{
		readFlags(c), c.Flags().String("app", "", "`NAME` of the app; not needed when the tenant has only one"),
	}
}

// get asks for a route of the app.
func (f appReading) get(c *cobra.Command, route string, query url.Values) (answer, error) {
	admin, err := newAdminClient(*f.file)
	if err != nil {
		return answer{}, err
	}
	app, err := f.name(admin.cfg)
	if err != nil {
		return answer{}, err
	}
	return f.reading.get(c, "apps/"+url.PathEscape(app)+"/"+route, query)
}

// name is the app that --app names, or the only one of the tenant.
func (f appReading) name(cfg *config.Config) (string, error) {
	if *f.app != "" {
		return *f.app, nil
	}
	tenant, err := tenantOf(cfg, *f.tenant)
	if err != nil {
		return "", err
	}
	var names []string
	for t, a := range cfg.AllApps() {
		if t.Name == tenant {
			names = append(names, a.Name)
		}
	}
	if len(names) != 1 {
		return "", usage(fmt.Errorf("name the app with --app: there are %s", strings.Join(names, ", ")))
	}
	return names[0], nil
}

// tenantOf returns the named tenant, or the only one if no name is given.
func tenantOf(cfg *config.Config, named string) (string, error) {
	if named == "" && len(cfg.Tenants) == 0 {
		return "", usage(errors.New("name the tenant with --tenant: the file cannot be read, so its tenants are not known"))
	}
	if named == "" && len(cfg.Tenants) != 1 {
		return "", usage(fmt.Errorf("name the tenant with --tenant: there are %s", tenantNames(cfg)))
	}
	if named == "" {
		named = cfg.Tenants[0].Name
	}
	return named, nil
}

// tenantNames lists the tenants for a message, the first 20 of them.
func tenantNames(cfg *config.Config) string {
	var names []string
	for i := range cfg.Tenants[:min(len(cfg.Tenants), 20)] {
		names = append(names, cfg.Tenants[i].Name)
	}
	if more := len(cfg.Tenants) - len(names); more > 0 {
		names = append(names, fmt.Sprintf("and %d more", more))
	}
	return strings.Join(names, ", ")
}
