package plugins_test

import (
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"html"
	"log/slog"
	"maps"
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"slices"
	"strings"
	"testing"
	"unicode"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/scimward/scimward/plugins"
	"github.com/scimward/scimward/plugins/abi"
)

// encoders are what applications do to a text that they repeat.
func encoders() map[string]func(string) string {
	escape := func(some func(r rune) bool, form string) func(string) string {
		return func(s string) string {
			var out strings.Builder
			for _, r := range s {
				if r < 0x10000 && some(r) {
					fmt.Fprintf(&out, form, r)
				} else {
					out.WriteRune(r)
				}
			}
			return out.String()
		}
	}
	all := func(rune) bool { return true }
	odd := func(r rune) bool { return !unicode.IsLetter(r) && !unicode.IsDigit(r) }
	return map[string]func(string) string{
		"upper": strings.ToUpper, "lower": strings.ToLower,
		"JSON": func(s string) string {
			b, _ := json.Marshal(s)
			return strings.Trim(string(b), `"`)
		},
		"JSON, slashes":     func(s string) string { return strings.NewReplacer(`\`, `\\`, `"`, `\"`, "/", `\/`).Replace(s) },
		"JSON, all":         escape(all, `\u%04X`),
		"JSON, some":        escape(odd, `\u%04x`),
		"HTML":              html.EscapeString,
		"HTML, decimal":     escape(odd, "&#%d;"),
		"HTML, hexadecimal": escape(all, "&#X%x;"),
		"query":             url.QueryEscape, "path": url.PathEscape,
		"lower escapes": func(s string) string { return strings.ToLower(url.QueryEscape(s)) },
		"hexadecimal":   func(s string) string { return hex.EncodeToString([]byte(s)) },
		"base64":        func(s string) string { return base64.StdEncoding.EncodeToString([]byte(s)) },
		"basic":         func(s string) string { return base64.URLEncoding.EncodeToString([]byte("user:" + s + "@x")) },
	}
}

// TestRedactionFindsEveryForm: a secret is removed and noticed after any encoding, alone and twice, among
// any neighbours, and nothing else of the text changes.
func TestRedactionFindsEveryForm(t *testing.T) {
	const seed = 20261127
	random := rand.New(rand.NewPCG(seed, seed))
	pick := func(alphabet string, n int) string {
		var out strings.Builder
		letters := []rune(alphabet)
		for range n {
			out.WriteRune(letters[random.IntN(len(letters))])
		}
		return out.String()
	}
	forms := encoders()
	names := slices.Sorted(maps.Keys(forms))
	for i := range 20_000 {
		secret := "Kk" + pick(`abcXYZ019-_./&<>"'\%+= ~üÉ€`, 6+random.IntN(20)) + "zZ"
		text, how := secret, []string{}
		for step := range random.IntN(3) {
			name := names[random.IntN(len(names))]
			if digits := name == "hexadecimal" || name == "base64" || name == "basic"; digits && step > 0 {
				continue // of what is encoded already: another text
			}
			text, how = forms[name](text), append(how, name)
		}
		before, after := pick("m,:{}[] 7", 5), pick(`m,:{}[] 7"<`, 5)
		got, touched := plugins.Redact(secret, before+text+after)
		exact := !slices.Contains(how, "basic") // which leaves digits of the neighbours
		if want := before + "***" + after; exact && got != want || !touched {
			t.Fatalf("%d: %q %q: %q became %q, touched %v, want %q", i, secret, how, before+text+after, got, touched, want)
		}
	}
}

// TestRedactionLeavesOthersAlone: a text without the secret stays as it is.
func TestRedactionLeavesOthersAlone(t *testing.T) {
	for _, text := range []string{
		"", "rob", `{"user":"rob-0815","path":"\/a\u0026b","html":"&lt;b&gt;","q":"%2Fx+y"}`, "0815-toke", "\xff\xfe%zz&#;",
	} {
		if got, touched := plugins.Redact("0815-token", text); got != text || touched {
			t.Errorf("Redact(%q) = %q, %v, want it unchanged", text, got, touched)
		}
	}
}

// TestRedactionNeverChangesAName: an answer of identify in which a secret is part of a name is a fault. It
// is counted, and the log names plugin and secret without the value.
func TestRedactionNeverChangesAName(t *testing.T) {
	tests := []struct {
		name, secret, credential, answer string
		fault                            string // the name of the secret; "" if the answer counts
	}{
		{"the credential", "s3cr3t-admin-value", "0815-token", `{"User":"rob-0815-token"}`, "credential in cookie sid"},
		{"the admin's secret", "0815-token", "another-credential", `{"User":"rob-0815-token"}`, "secret admin"},
		{"another case", "0815-TOKEN", "another-credential", `{"User":"rob-0815-token"}`, "secret admin"},
		{"escaped", "0815/token", "another-credential", `{"User":"rob-0815\/token"}`, "secret admin"},
		{"escaped by number", "0815&token", "another-credential", `{"User":"rob-0815\u0026token"}`, "secret admin"},
		{"beside the name", "0815-token", "another-credential", `{"User":"rob","Session":"0815-token"}`, ""},
		{"asterisks of the application", "0815-token", "another-credential", `{"User":"rob***"}`, ""},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			var logs syncBuffer
			metrics := prometheus.NewRegistry()
			app := http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { fmt.Fprint(w, tt.answer) })
			h := hostile(t, app, func(o *plugins.Options) {
				o.Logger, o.Metrics = slog.New(slog.NewJSONHandler(&logs, nil)), metrics
				if err := os.WriteFile(o.Plugins[0].Grant.Secrets["admin"], []byte(tt.secret), 0o600); err != nil {
					t.Fatal(err)
				}
			})
			got, err := ask(t, h, tt.credential)
			if tt.fault == "" {
				if err != nil || !strings.HasPrefix(got, "rob") {
					t.Errorf("got %q, %v, want the owner", got, err)
				}
				return
			}
			if code(err) != abi.CodeRedacted || !strings.Contains(err.Error(), tt.fault) {
				t.Errorf("got %q, %v, want code redacted and %q", got, err, tt.fault)
			}
			if n := sum(t, metrics, "scimward_plugin_redacted_names_total"); n != 1 {
				t.Errorf("%v counted, want 1", n)
			}
			log := logs.String()
			if !strings.Contains(log, `"secret":"`+tt.fault+`"`) || !strings.Contains(log, `"plugin":"hostile"`) ||
				strings.Contains(log, "0815") {
				t.Errorf("log %s, want plugin and %q without the value", log, tt.fault)
			}
		})
	}
}

// TestRedactedNameIsNotAsked: a guest that builds a request from a redacted answer is refused, because the
// 404 for "rob-***" would count as "nothing to revoke".
func TestRedactedNameIsNotAsked(t *testing.T) {
	var asked []string
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		asked = append(asked, r.URL.Path)
		fmt.Fprintf(w, `{"id":"rob-%s"}`, adminSecret)
	}))
	defer srv.Close()
	call := gate(t, srv.URL, nil).Call(false, "")
	users := srv.URL + "/api/users"
	if errno, _, body := call.Send(t.Context(), get(users), nil); errno != 0 || string(body) != `{"id":"rob-***"}` {
		t.Fatalf("the list: %d, %s, want it without the secret", errno, body)
	}
	for name, req := range map[string]abi.HTTPRequest{
		"path": get(users + "/rob-***"), "escaped": get(users + "/rob-%2A%2A%2A"), "query": get(users + "?id=rob-%2a**"),
		"header": {Method: "GET", URL: users, Headers: map[string]string{"x-user": "rob-***"}},
	} {
		if errno, meta, _ := call.Send(t.Context(), req, nil); errno != abi.ErrnoDenied || meta.Code != abi.CodeRedacted {
			t.Errorf("%s: %d, %+v, want it refused with code redacted", name, errno, meta)
		}
	}
	body := []byte(`{"id":"rob-***"}`)
	post := abi.HTTPRequest{Method: "POST", URL: users}
	if errno, meta, _ := call.Send(t.Context(), post, body); errno != abi.ErrnoDenied || meta.Code != abi.CodeRedacted {
		t.Errorf("body: %d, %+v, want it refused with code redacted", errno, meta)
	}
	if len(asked) != 1 {
		t.Errorf("the application saw %q, want the list only", asked)
	}
}

// sum adds up a metric, over those of its labels that have one of the values.
func sum(t *testing.T, r prometheus.Gatherer, name string, values ...string) (total float64) {
	t.Helper()
	families, err := r.Gather()
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range families {
		if f.GetName() != name {
			continue
		}
		for _, m := range f.GetMetric() {
			matches := 0
			for _, l := range m.GetLabel() {
				if slices.Contains(values, l.GetValue()) {
					matches++
				}
			}
			if matches == len(values) {
				total += m.GetCounter().GetValue() + m.GetGauge().GetValue()
			}
		}
	}
	return total
}
