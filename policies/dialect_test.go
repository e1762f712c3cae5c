package policies_test

import (
	"slices"
	"strings"
	"testing"

	"github.com/scimward/scimward/policies"
	"github.com/scimward/scimward/policies/gendocs/page"
	"github.com/scimward/scimward/store/scim"
	"github.com/scimward/scimward/store/scim/shapes"
)

// TestOverlays: each overlay is complete, names rules that exist in modes that exist, and relaxes nothing that
// lets a stranger in or loses an account's identity.
func TestOverlays(t *testing.T) {
	want := []string{
		"entra", "entra-aadOptscim062020", "google", "jumpcloud", "okta", "onelogin", "pingone", "sailpoint",
	}
	if got := policies.OverlayNames(); !slices.Equal(got, want) {
		t.Errorf("overlays %q, want %q", got, want)
	}
	for _, o := range policies.Overlays() {
		t.Run(o.Name, func(t *testing.T) {
			if o.Title == "" || len(o.Notes) == 0 {
				t.Errorf("%+v has no title or no notes", o)
			}
			for _, n := range o.Notes {
				if n.Accepts == "" || n.Why == "" || n.Cost == "" {
					t.Errorf("incomplete note %+v", n)
				}
			}
			if err := o.Parse.Check(); err != nil {
				t.Error(err)
			}
			if slices.Contains(o.Parse.Accept, scim.DevPasswordDropped) != (o.Name == "okta") {
				t.Error("only a provider that always sends a password may have it dropped")
			}
			for profile, rules := range o.Rules {
				known, _ := rulesOf(t, profile)
				for rule, mode := range rules {
					if !known[rule] || mode != policies.ModeWarn && mode != policies.ModeObserve {
						t.Errorf("%s of %s: no such rule, or mode %q", rule, profile, mode)
					}
					if strings.Contains(rule, "-scope") || strings.Contains(rule, "-oauth") || strings.Contains(rule, "keep-") {
						t.Errorf("%s relaxes %s", profile, rule)
					}
				}
			}
		})
	}
}

// TestDialectJoinsOverlays: a client may do what any of its overlays allows, and the weakest mode counts.
func TestDialectJoinsOverlays(t *testing.T) {
	if _, err := policies.NewDialect("ipsie-il1", "nobody"); err == nil || !strings.Contains(err.Error(), "entra") {
		t.Errorf("an unknown overlay: %v, want an error that lists the overlays", err)
	}
	d, err := policies.NewDialect("ipsie-il1", "okta", "entra")
	if err != nil {
		t.Fatal(err)
	}
	if got := d.Overlays(); !slices.Equal(got, []string{"entra", "okta"}) {
		t.Errorf("overlays %q, want both, sorted", got)
	}
	for _, rule := range []string{"IL1-3.2.4-patch", "IL1-3.3.3-remove-value"} {
		if d.Modes()[rule] != policies.ModeWarn {
			t.Errorf("%s is %q, want warn", rule, d.Modes()[rule])
		}
	}
	for _, code := range []string{scim.DevPasswordDropped, scim.DevBooleanString} {
		if !slices.Contains(d.Parse().Accept, code) {
			t.Errorf("the parser does not accept %s", code)
		}
	}
	var none *policies.Dialect
	if none.Overlays() != nil || len(none.Modes()) > 0 || len(none.Parse().Accept) > 0 {
		t.Error("the nil dialect relaxes something")
	}
}

// TestShapes: what an identity service really sends passes under its overlay in every profile, unless no mode
// of the parser accepts it. No overlay knows the attributes that a customer made up. Without an overlay, every
// deviation that needs a guess is refused.
func TestShapes(t *testing.T) {
	e := newEngine(t)
	for _, s := range shapes.All() {
		refused := s.Refused != nil || len(s.Mode.UnknownAttributes) > 0 ||
			slices.ContainsFunc(s.Mode.UnknownSchemas, func(urn string) bool { return strings.HasPrefix(urn, "urn:example:") })
		for _, profile := range policies.Profiles() {
			for _, sender := range s.Senders {
				if !slices.Contains(policies.OverlayNames(), sender) {
					t.Fatalf("%s names the sender %q, want an overlay", s.Name, sender)
				}
				v, err := page.Judge(e, &s, profile, sender)
				if err != nil {
					t.Fatal(err)
				}
				if v.Word != "" && (v.Word == page.Refuse) != refused {
					t.Errorf("%s under %s with %s: %v", s.Name, profile, sender, v)
				}
			}
			strict, err := page.Judge(e, &s, profile)
			if err != nil {
				t.Fatal(err)
			}
			if strict.Word == page.Warn || s.Strict != nil && strict.Word == page.Allow {
				t.Errorf("%s under %s without overlay: %v, want a refusal", s.Name, profile, strict)
			}
		}
	}
}
