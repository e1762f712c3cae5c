package config

import (
	"fmt"
	"net/url"
)

// DecisionLog configures the records of decisions: one for each SCIM request, and for each refused request of an
// application. They have ids and codes, and no names, tokens or bodies. The newest 4,096 stay in memory for
// `scimward decision log`; further destinations are files and services. Each destination has a ring. A full ring drops
// the newest record, counts it, and says so with a record of the gap.
type DecisionLog struct {
	// File is a file that gets the records, one line of JSON each, with mode 0600. Empty means none.
	File string `yaml:"file"`
	// FileMaxMiB is the size in MiB at which the next file begins. Zero means 100. At most 10240.
	FileMaxMiB int `yaml:"file_max_mib"`
	// FileKeep is how many former files stay, as FILE.1, FILE.2 and so on. Zero means 5. At most 100.
	FileKeep int `yaml:"file_keep"`
	// Stdout writes the records to standard output too. Default false.
	Stdout bool `yaml:"stdout"`
	// HTTP is a service that takes OPA's decision logs: POST with a gzipped JSON array.
	HTTP DecisionService `yaml:"http"`
	// OTLP is an OpenTelemetry collector. It gets log records as JSON over OTLP/HTTP.
	OTLP DecisionService `yaml:"otlp"`
	// Buffer is how many records wait for each destination. Zero means 8192. 128 to 1048576.
	Buffer int `yaml:"buffer"`
	// ApplicationAllows records one of so many allowed requests of applications. 1 records all. Zero means none:
	// refused ones are always recorded.
	ApplicationAllows int `yaml:"application_allows"`
}

// DecisionService is a service that takes records of decisions. What it does not take after eight tries is dropped
// and counted.
type DecisionService struct {
	// URL is the whole URL, "https://HOST/PATH" (http on loopback only). Empty means none.
	URL string `yaml:"url"`
	// TokenFile is a file with a bearer token. It is read for each batch. Empty means none.
	TokenFile string `yaml:"token_file"`
	// CAFile is a PEM file with the authorities of the service. Empty means those of the system.
	CAFile string `yaml:"ca_file"`
}

// Decisions says what is recorded of a tenant's decisions.
type Decisions struct {
	// Log says whether they are recorded: on or off. Default on.
	Log string `yaml:"log"`
	// Erase lists what the records leave out: client, resource, subject, lock, rules, deviations. Empty means
	// nothing.
	Erase []string `yaml:"erase"`
}

// DecisionFields are the values of Decisions.Erase.
func DecisionFields() []string {
	return []string{"client", "resource", "subject", "lock", "rules", "deviations"}
}

func (c checker) decisionLog(d *DecisionLog) {
	within(c, "decision_log.file_max_mib", d.FileMaxMiB, 1, 10_240)
	within(c, "decision_log.file_keep", d.FileKeep, 1, 100)
	within(c, "decision_log.buffer", d.Buffer, 128, 1<<20)
	within(c, "decision_log.application_allows", d.ApplicationAllows, 0, 1_000_000)
	c.decisionService("decision_log.http", &d.HTTP)
	c.decisionService("decision_log.otlp", &d.OTLP)
}

// decisions checks what is recorded of a tenant.
func (c checker) decisions(path string, d *Decisions) {
	c.oneOf(path+".log", d.Log, "on", "off")
	for i, f := range d.Erase {
		c.oneOf(fmt.Sprintf("%s.erase[%d]", path, i), f, DecisionFields()...)
	}
}

func (c checker) decisionService(path string, s *DecisionService) {
	if s.URL == "" {
		if s.TokenFile != "" || s.CAFile != "" {
			c.fail(path+".url", "name the service", "required")
		}
		return
	}
	u, err := url.Parse(s.URL)
	switch {
	case err != nil || u.Host == "" || u.User != nil || u.Fragment != "":
		c.fail(path+".url", "write https://HOST/PATH", "it is not the URL of a service")
	case u.Scheme == "https":
	case u.Scheme != "http" || !address(u.Hostname()).IsLoopback():
		c.fail(path+".url", "use https; http is for loopback only", "the records would travel in plain")
	}
	c.secret(path+".token_file", s.TokenFile)
	c.file(path+".ca_file", s.CAFile)
}

func (d *DecisionLog) complete(dir folder) {
	or(&d.FileMaxMiB, 100)
	or(&d.FileKeep, 5)
	or(&d.Buffer, 8192)
	dir.abs(&d.File, &d.HTTP.TokenFile, &d.HTTP.CAFile, &d.OTLP.TokenFile, &d.OTLP.CAFile)
}
