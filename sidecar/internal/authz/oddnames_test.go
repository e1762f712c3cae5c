package authz_test

import (
	"net/http"
	"net/url"
	"os"
	"strings"
	"testing"

	"github.com/scimward/scimward/sidecar/internal/request"
)

// TestOddNamesThatPass: names with escape signs or letters of other alphabets pass in each carrier when no known name
// can be made of the whole.
func TestOddNamesThatPass(t *testing.T) {
	t.Parallel()
	text, err := os.ReadFile("testdata/names/legitimate.txt")
	if err != nil {
		t.Fatal(err)
	}
	_, list, _ := strings.Cut(string(text), "# Names with escape signs and letters of other alphabets\n")
	k := carrierKit(t)
	count := 0
	for name := range strings.Lines(list) {
		if name = strings.TrimSpace(name); name == "" {
			continue
		}
		count++
		escaped := url.QueryEscape(name)
		write := func(options ...func(*request.Request)) request.Request {
			return appReq(http.MethodPost, "/api/me", append(options, of("carriers"))...)
		}
		query := write(body(form, "a=b"))
		query.Query = escaped + "=locked"
		for carrier, r := range map[string]request.Request{
			carriedQuery: query, carriedForm: write(body(form, escaped+"=locked")),
			carriedCookie:    write(body(form, "a=b"), cookie(escaped+"=locked")),
			carriedMultipart: write(multi(part("a", "b"), part(name, "locked"))),
		} {
			if carrier == carriedMultipart && strings.Contains(name, `\`) {
				continue // not read in one way only
			}
			if d := k.Decide(t.Context(), r); !d.Allowed() {
				t.Errorf("%s, %s: %d %s (%s)", carrier, name, d.Status, d.Reason, d.Detail)
			}
		}
	}
	if count < 20 {
		t.Errorf("%d names, want at least 20", count)
	}
}
