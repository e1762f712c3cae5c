package admin

import (
	"fmt"
	"strings"
	"time"

	"github.com/scimward/scimward/sidecar/internal/client"
)

// UnusableClient is a client that nobody disabled and that cannot come in: nobody is deactivated through it.
type UnusableClient struct {
	Tenant string `json:"tenant"`
	Client string `json:"client"`
	Fault  string `json:"fault"`
	Fix    string `json:"fix"`
}

// stateOf returns the state of a client. fault says why it is unusable, and fix what mends an expired or unusable
// one.
func (h *Handler) stateOf(c *client.Client) (state, fault, fix string) {
	now, t := h.opts.Now(), h.opts.Clients.Directory.Tenant(c.Tenant)
	set := fmt.Sprintf("`scimward client set %s --tenant %s", c.ID, c.Tenant)
	if c.Proof.External != "" {
		set += " --token-issuer " + c.Issuer
	}
	switch {
	case c.Held():
		enable := strings.Replace(set, " set ", " enable ", 1) + "`"
		return "disabled", "a command disabled it before the configuration file named it", enable
	case c.Disabled:
		return "disabled", "", ""
	case !c.Expires.IsZero() && !now.Before(c.Expires) && c.Command:
		return "expired", "", set + " --expires never`, or disable it"
	case !c.Expires.IsZero() && !now.Before(c.Expires):
		return "expired", "", "write a later expires in the configuration file, or disabled: true"
	case c.Fault != "":
		return "unusable", c.Fault, set + " --dialect NAME`"
	case !c.Usable(now):
		return "unusable", "the store does not have it as the configuration file does", "send SIGHUP to scimward"
	case c.Proof.Static && t != nil && !t.StaticTokens:
		return "unusable", "the tenant refuses static tokens: static_tokens: allow is not in its configuration",
			"write static_tokens: allow at the tenant, or disable the client"
	}
	return "enabled", "", ""
}

// unusableClients returns the clients of all tenants that cannot come in, and how many more there are.
func (h *Handler) unusableClients() (list []UnusableClient, more int) {
	list = []UnusableClient{}
	if h.opts.Clients.Directory == nil {
		return list, 0
	}
	for _, tenant := range h.opts.Tenants() {
		var keyless map[string]error
		if h.opts.Clients.Keyless != nil {
			keyless = h.opts.Clients.Keyless(tenant)
		}
		for _, c := range h.opts.Clients.Directory.List(tenant) {
			u := UnusableClient{Tenant: tenant, Client: c.ID}
			var state string
			switch state, u.Fault, u.Fix = h.stateOf(c); {
			case state == "expired":
				u.Fault = "it expired on " + c.Expires.UTC().Format(time.DateOnly)
			case state == "enabled" && c.Proof.Static && len(client.Tokens(c)) == 0:
				u.Fault = "it has no static token"
				u.Fix = fmt.Sprintf("`scimward token create --client %s --tenant %s`, or disable the client", c.ID, tenant)
			case state == "enabled" && c.Proof.External == "" && keyless[c.ID] != nil && c.Command:
				u.Fault = keyless[c.ID].Error()
				u.Fix = fmt.Sprintf("`scimward client check %s --tenant %s`", c.ID, tenant)
			}
			switch {
			case u.Fault == "":
			case len(list) == maxLeavers:
				more++
			default:
				list = append(list, u)
			}
		}
	}
	return list, more
}
