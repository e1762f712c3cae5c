package plugins_test

import (
	"bytes"
	"encoding/binary"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/google/go-cmp/cmp"

	"github.com/scimward/scimward/plugins"
	"github.com/scimward/scimward/plugins/abi"
)

// outputs lists outputs of revoke for the kind web_session, and the host's verdicts. Everything
// malformed is not done.
func outputs() []struct{ name, out, state, code string } {
	return []struct{ name, out, state, code string }{
		{"revoked", `{"kinds":[{"kind":"web_session","state":"revoked","count":2}]}`, "revoked", ""},
		{"nothing", `{"kinds":[{"kind":"web_session","state":"nothing_to_revoke"}]}`, "nothing_to_revoke", ""},
		{"partial", `{"kinds":[{"kind":"web_session","state":"partial","cursor":"p2","remaining":3}]}`, "partial", ""},
		{"unsupported", `{"kinds":[{"kind":"web_session","state":"unsupported"}]}`, "unsupported", ""},
		{"failed", `{"kinds":[{"kind":"web_session","state":"failed","code":"app_denied"}]}`, "failed", "app_denied"},
		{"unknown field", `{"kinds":[{"kind":"web_session","state":"revoked","colour":"red"}],"v":2}`, "revoked", ""},
		{"last of two wins", `{"kinds":[{"kind":"web_session","state":"revoked"},{"kind":"web_session","state":"retry","code":"x"}]}`, "retry", "x"},
		{"empty output", ``, "retry", abi.CodeNotReported},
		{"no kinds", `{"kinds":[]}`, "retry", abi.CodeNotReported},
		{"null", `null`, "retry", abi.CodeNotReported},
		{"other kind", `{"kinds":[{"kind":"pat","state":"revoked"}]}`, "retry", abi.CodeNotReported},
		{"kind in other case", `{"kinds":[{"kind":"Web_Session","state":"revoked"}]}`, "retry", abi.CodeNotReported},
		{"no kind", `{"kinds":[{"state":"revoked"}]}`, "retry", abi.CodeNotReported},
		{"state empty", `{"kinds":[{"kind":"web_session","state":""}]}`, "failed", abi.CodeContract},
		{"state absent", `{"kinds":[{"kind":"web_session"}]}`, "failed", abi.CodeContract},
		{"state unknown", `{"kinds":[{"kind":"web_session","state":"done"}]}`, "failed", abi.CodeContract},
		{"state in other case", `{"kinds":[{"kind":"web_session","state":"Revoked"}]}`, "failed", abi.CodeContract},
		{"state of wrong type", `{"kinds":[{"kind":"web_session","state":true}]}`, "retry", abi.CodeContract},
		{"would_revoke outside a dry run", `{"kinds":[{"kind":"web_session","state":"would_revoke"}]}`, "failed", abi.CodeContract},
		{"revoked but some remain", `{"kinds":[{"kind":"web_session","state":"revoked","remaining":1}]}`, "failed", abi.CodeContract},
		{"negative count", `{"kinds":[{"kind":"web_session","state":"revoked","count":-1}]}`, "failed", abi.CodeContract},
		{"fraction", `{"kinds":[{"kind":"web_session","state":"revoked","count":1.5}]}`, "retry", abi.CodeContract},
		{"huge number", `{"kinds":[{"kind":"web_session","state":"revoked","count":1e400}]}`, "retry", abi.CodeContract},
		{"long cursor", `{"kinds":[{"kind":"web_session","state":"partial","cursor":"` + strings.Repeat("x", 2000) + `"}]}`, "failed", abi.CodeContract},
		{"array", `[]`, "retry", abi.CodeContract},
		{"text", `revoked`, "retry", abi.CodeContract},
		{"cut short", `{"kinds":[{"kind":"web_session","state":"revoked"`, "retry", abi.CodeContract},
		{"two documents", `{"kinds":[{"kind":"web_session","state":"revoked"}]}{}`, "retry", abi.CodeContract},
		{"kinds of wrong type", `{"kinds":"all"}`, "retry", abi.CodeContract},
		{"kinds as object", `{"kinds":{"web_session":"revoked"}}`, "retry", abi.CodeContract},
		{"error, retryable", `{"error":{"code":"maintenance","message":"m","retryable":true}}`, "retry", "maintenance"},
		{"error, final", `{"error":{"code":"licence","message":"m"}}`, "failed", "licence"},
		{"error beside an outcome", `{"kinds":[{"kind":"web_session","state":"revoked"}],"error":{"code":"x"}}`, "revoked", ""},
	}
}

// TestJudgeOutput: each output document gets its state and code.
func TestJudgeOutput(t *testing.T) {
	for _, tt := range outputs() {
		t.Run(tt.name, func(t *testing.T) {
			res := plugins.Judge(request(""), "", 0, []byte(tt.out))
			if len(res.Kinds) != 1 || string(res.Kinds[0].State) != tt.state || res.Kinds[0].Code != tt.code ||
				res.Kinds[0].Kind != abi.KindWebSession {
				t.Errorf("got %s, want %s %q", asJSON(t, res), tt.state, tt.code)
			}
		})
	}
}

// TestJudgeMergesReports: reports count, the last one of a kind wins, and the output overrides
// them.
func TestJudgeMergesReports(t *testing.T) {
	req := request("", abi.KindWebSession, abi.KindPAT, abi.KindDevice)
	report := func(kind abi.Kind, state abi.State, count int) []byte {
		return []byte(asJSON(t, abi.KindResult{Kind: kind, State: state, Count: count}))
	}
	reports := [][]byte{
		report(abi.KindWebSession, abi.StatePartial, 1), report(abi.KindWebSession, abi.StateRevoked, 5),
		report(abi.KindPAT, abi.StateRevoked, 1), []byte("no JSON"), []byte(`{"state":"revoked"}`),
	}
	tests := []struct {
		name, code string
		ret        int32
		out        string
		want       []string // state and code of each kind
	}{
		{"killed after reports", abi.CodeDeadline, 0, "", []string{"revoked ", "revoked ", "retry deadline"}},
		{"output of a guest that trapped is not read", abi.CodeTrap, 0, `{"kinds":[{"kind":"device","state":"revoked"}]}`, []string{"revoked ", "revoked ", "retry trap"}},
		{"export failed", "", 2, `{"kinds":[{"kind":"device","state":"revoked"}]}`, []string{"revoked ", "revoked ", "retry contract"}},
		{"output overrides", "", 0, `{"kinds":[{"kind":"pat","state":"retry","code":"x"},{"kind":"device","state":"nothing_to_revoke"}]}`, []string{"revoked ", "retry x", "nothing_to_revoke "}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			res := plugins.Judge(req, tt.code, tt.ret, []byte(tt.out), reports...)
			var got []string
			for _, k := range res.Kinds {
				got = append(got, string(k.State)+" "+k.Code)
			}
			if diff := cmp.Diff(tt.want, got); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
			if res.Kinds[0].Count != 5 {
				t.Errorf("count %d, want 5 from the last report", res.Kinds[0].Count)
			}
		})
	}
}

// TestJudgeDryRun: a dry run cannot revoke, and would_revoke is valid only in a dry run.
func TestJudgeDryRun(t *testing.T) {
	req := request("")
	req.DryRun = true
	for state, want := range map[abi.State]abi.State{
		abi.StateRevoked: abi.StateFailed, abi.StatePartial: abi.StateFailed,
		abi.StateWouldRevoke: abi.StateWouldRevoke, abi.StateNothingToRevoke: abi.StateNothingToRevoke,
		abi.StateRetry: abi.StateRetry,
	} {
		out := asJSON(t, abi.Result{Kinds: []abi.KindResult{{Kind: abi.KindWebSession, State: state}}})
		if got := plugins.Judge(req, "", 0, []byte(out)).Kinds[0].State; got != want {
			t.Errorf("%s in a dry run is %s, want %s", state, got, want)
		}
	}
}

// TestJudgeBoundsAndRedacts: long texts are cut and secrets are removed.
func TestJudgeBoundsAndRedacts(t *testing.T) {
	r := abi.KindResult{
		Kind: abi.KindWebSession, State: abi.StateRetry, Code: strings.Repeat("c", 500), RetryAfterMS: 1 << 50,
		Message:  "said planted-secret " + strings.Repeat("m", 5000),
		Evidence: slices.Repeat([]abi.Evidence{{ID: "planted-secret", Action: strings.Repeat("a", 5000), Status: 204}}, 300),
	}
	res := plugins.Judge(request(""), "", 0, []byte(asJSON(t, abi.Result{Kinds: []abi.KindResult{r}})))
	got := res.Kinds[0]
	if len(got.Code) > 64 || len(got.Message) > abi.MessageBytes || len(got.Evidence) != abi.EvidenceMax ||
		got.RetryAfterMS != time.Hour.Milliseconds() || len(got.Evidence[0].Action) > 512 {
		t.Errorf("outcome %s, want every text and number within its bound", asJSON(t, got))
	}
	if strings.Contains(asJSON(t, res), "planted-secret") {
		t.Errorf("result %s, want no secret", asJSON(t, res))
	}
}

// TestJudgeIdentify: an answer of identify counts only if it follows the contract.
func TestJudgeIdentify(t *testing.T) {
	now := time.Date(2026, 11, 21, 20, 0, 0, 0, time.UTC)
	tests := []struct {
		name string
		ret  int32
		out  string
		code string // of the error; "" none
	}{
		{"known", 0, `{"subject":{"user_name":"ann"},"kind":"pat","cache_s":10}`, ""},
		{"not known", 0, `{"subject":null}`, ""},
		{"subject without a name", 0, `{"subject":{}}`, abi.CodeContract},
		{"subject of wrong type", 0, `{"subject":"ann"}`, abi.CodeContract},
		{"endless name", 0, `{"subject":{"user_name":"` + strings.Repeat("a", 9000) + `"}}`, abi.CodeContract},
		{"no document", 0, ``, abi.CodeContract},
		{"error", 0, `{"error":{"code":"app_error","message":"m"}}`, abi.CodeAppError},
		{"export failed", 2, `{"subject":null}`, abi.CodeContract},
		{"no such operation", 3, ``, abi.CodeUnsupported},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			got, err := plugins.JudgeIdentify(tt.ret, []byte(tt.out), now)
			if code(err) != tt.code || (err != nil && got.Subject != nil) {
				t.Errorf("%+v, %v, want %q", got, err, tt.code)
			}
		})
	}
	got, err := plugins.JudgeIdentify(0, []byte(`{"subject":{"user_name":"ann"},"issued_at":"2099-01-01T00:00:00Z"}`), now)
	if err != nil || got.IssuedAt != nil {
		t.Errorf("issued in the future: %+v, %v, want not known", got, err)
	}
}

// TestJudgeVerify: a contradiction or a missing answer never proves that no credential is left.
func TestJudgeVerify(t *testing.T) {
	tests := []struct {
		name, answers string
		want          int
	}{
		{"none alive", `{"kind":"pat","live":0}`, 0},
		{"some alive", `{"kind":"pat","live":2}`, 2},
		{"not named", `{"kind":"ssh_key","live":0}`, abi.LiveUnknown},
		{"kind in other case", `{"kind":"PAT","live":0}`, abi.LiveUnknown},
		{"negative", `{"kind":"pat","live":-7}`, abi.LiveUnknown},
		{"the same twice", `{"kind":"pat","live":0},{"kind":"pat","live":0}`, 0},
		{"two numbers", `{"kind":"pat","live":0},{"kind":"pat","live":2},{"kind":"pat","live":1}`, 2},
		{"zero, then negative", `{"kind":"pat","live":0},{"kind":"pat","live":-1}`, abi.LiveUnknown},
		{"negative, then zero", `{"kind":"pat","live":-1},{"kind":"pat","live":0}`, abi.LiveUnknown},
		{"negative, then a number", `{"kind":"pat","live":-1},{"kind":"pat","live":3}`, 3},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			req := request("", abi.KindPAT, abi.KindDevice, abi.KindPAT)
			got, err := plugins.JudgeVerify(req, 0, []byte(`{"kinds":[`+tt.answers+`]}`))
			want := []abi.Liveness{{Kind: abi.KindPAT, Live: tt.want}, {Kind: abi.KindDevice, Live: abi.LiveUnknown}}
			if diff := cmp.Diff(want, got.Kinds); diff != "" || err != nil {
				t.Errorf("%v (-want +got):\n%s", err, diff)
			}
		})
	}
	req := request("", abi.KindPAT)
	for _, out := range []string{``, `[]`, `{"kinds":[{"kind":"pat","live":"0"}]}`, `{"kinds":[{"kind":"pat","live":0}],"error":{"code":"x"}}`} {
		if got, err := plugins.JudgeVerify(req, 0, []byte(out)); err == nil || len(got.Kinds) > 0 {
			t.Errorf("%s: %+v, %v, want an error", out, got, err)
		}
	}
}

// TestJudgeCleansTexts looks at every text of a guest that reaches a job, its evidence or the log.
func TestJudgeCleansTexts(t *testing.T) {
	const jwt = "eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiJhZGEifQ.c2lnbmF0dXJl"
	dirty := "odd\x00text \xff planted-secret Bearer abc123 " + jwt + " /x?key=9f8e Cookie: a=b; c=d" +
		strings.Repeat("é", 600)
	result := abi.KindResult{
		Kind: abi.KindPAT, State: abi.StateFailed, Code: dirty, Message: dirty,
		Evidence: []abi.Evidence{{ID: dirty, Action: dirty}},
	}
	req, fault := request("", abi.KindPAT), &abi.Error{Code: dirty, Message: dirty}
	judge := func(res abi.Result) abi.KindResult {
		return plugins.Judge(req, "", 0, []byte(asJSON(t, res))).Kinds[0]
	}
	verify := func(res abi.VerifyResult) (abi.VerifyResult, error) {
		return plugins.JudgeVerify(req, 0, []byte(asJSON(t, res)))
	}
	r, failed := judge(abi.Result{Kinds: []abi.KindResult{result}}), judge(abi.Result{Error: fault})
	unknown := judge(abi.Result{Kinds: []abi.KindResult{{Kind: abi.KindPAT, State: abi.State(dirty)}}})
	live, err := verify(abi.VerifyResult{Kinds: []abi.Liveness{{Kind: abi.KindPAT, Probe: dirty}}})
	if err != nil {
		t.Fatal(err)
	}
	_, err = verify(abi.VerifyResult{Error: fault})
	const code, id, action = 64, 256, 512 // bounds in bytes
	for name, field := range map[string]struct {
		text  string
		bound int
	}{
		"code": {r.Code, code}, "message": {r.Message, abi.MessageBytes},
		"evidence id": {r.Evidence[0].ID, id}, "evidence action": {r.Evidence[0].Action, action},
		"error code": {failed.Code, code}, "error message": {failed.Message, abi.MessageBytes},
		"unknown state":   {unknown.Message, len(`unknown state ""`) + 2*code}, // quoting may double a character
		"probe":           {live.Kinds[0].Probe, id},
		"error of verify": {fmt.Sprint(err), len("plugins: : ") + code + abi.MessageBytes},
	} {
		text := field.text
		if !strings.Contains(text, "odd") || !utf8.ValidString(text) || len(text) > field.bound {
			t.Errorf("%s: %d bytes, %q, want odd in it, valid UTF-8 and at most %d bytes", name, len(text), text, field.bound)
		}
		for _, secret := range []string{"planted-secret", "abc123", "eyJ", "key=9f8e", "a=b", "c=d", "\x00"} {
			if strings.Contains(text, secret) {
				t.Errorf("%s = %q, want it without %q", name, text, secret)
			}
		}
	}
}

// FuzzResult: for any output, each requested kind has one outcome in a known state and within the
// bounds. It is done only if the output or report says so.
func FuzzResult(f *testing.F) {
	for _, o := range outputs() {
		f.Add([]byte(o.out), []byte(`{"kind":"pat","state":"revoked"}`), false)
	}
	known := []abi.State{
		abi.StateRevoked, abi.StateNothingToRevoke, abi.StatePartial, abi.StateRetry,
		abi.StateFailed, abi.StateUnsupported, abi.StateWouldRevoke,
	}
	req := request("", abi.KindWebSession, abi.KindPAT)
	f.Fuzz(func(t *testing.T, out, report []byte, dry bool) {
		r := req
		r.DryRun = dry
		res := plugins.Judge(r, "", 0, out, report)
		if len(res.Kinds) != 2 || res.Kinds[0].Kind != abi.KindWebSession || res.Kinds[1].Kind != abi.KindPAT {
			t.Fatalf("kinds %+v, want each requested kind once", res.Kinds)
		}
		for _, k := range res.Kinds {
			if !slices.Contains(known, k.State) || (dry && k.State == abi.StateRevoked) || k.Count < 0 ||
				len(k.Evidence) > abi.EvidenceMax || len(k.Message) > abi.MessageBytes {
				t.Fatalf("outcome %+v, want it within the bounds", k)
			}
			if k.State == abi.StateRevoked && !bytes.Contains(out, []byte("revoked")) &&
				!bytes.Contains(report, []byte("revoked")) &&
				!bytes.Contains(out, []byte(`\u`)) && !bytes.Contains(report, []byte(`\u`)) {
				t.Fatalf("revoked, want another state: neither output %q nor report %q says so", out, report)
			}
		}
		if _, err := json.Marshal(res); err != nil {
			t.Fatal(err)
		}
		if got, err := plugins.JudgeIdentify(0, out, time.Unix(0, 0)); err == nil && got.Subject != nil &&
			*got.Subject == (abi.Identity{}) {
			t.Fatal("identify returns a subject without a name, want an error")
		}
	})
}

func wire(length uint32, typ byte, payload string) []byte {
	b := binary.LittleEndian.AppendUint32(nil, length)
	return append(append(b, typ, 1, 0, 0, 0), payload...)
}

func frames() map[string][]byte {
	return map[string][]byte{
		"cancel": wire(5, 4, ""), "report": wire(7, 6, "{}"), "empty": nil, "header cut": {5, 0},
		"length zero": wire(0, 4, ""), "length four": wire(4, 4, ""), "payload cut": wire(9, 6, "{}"),
		"no such type": wire(5, 99, ""), "type zero": wire(5, 0, ""), "cancel with payload": wire(6, 4, "x"),
		"report above its bound": wire(5000, 6, strings.Repeat("x", 4995)), "four gigabytes": wire(0xffffffff, 1, ""),
	}
}

// TestFrames: a valid frame is written as it was read, and a broken one is an error.
func TestFrames(t *testing.T) {
	for name, b := range frames() {
		t.Run(name, func(t *testing.T) {
			got, err := plugins.Reframe(b)
			if ok := name == "cancel" || name == "report"; ok != (err == nil) {
				t.Errorf("%v, want accepted %v", err, ok)
			} else if ok && !bytes.Equal(got, b) {
				t.Errorf("Reframe(%x) = %x, want the same bytes", b, got)
			}
		})
	}
}

// FuzzFrame: a frame that can be read is written as the same bytes.
func FuzzFrame(f *testing.F) {
	for _, b := range frames() {
		f.Add(b)
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		got, err := plugins.Reframe(b)
		if err == nil && !bytes.HasPrefix(b, got) {
			t.Fatalf("Reframe(%x) = %x, want the same bytes", b, got)
		}
	})
}

// TestWorkerProtocol sends the worker what a broken host would send: it ends with 1 and neither
// hangs nor panics. At the end of its input it ends with 0.
func TestWorkerProtocol(t *testing.T) {
	tests := []struct {
		name string
		in   []byte
		want int
	}{
		{"end of input", nil, 0},
		{"garbage", []byte("GET / HTTP/1.1\r\n\r\n"), 1},
		{"frame for a host", wire(5, 10, ""), 1},
		{"call before a module", wire(11, 3, "\x02\x00\x00\x00{}"), 1},
		{"load without a head", wire(7, 1, "{}"), 1},
		{"head longer than the frame", wire(11, 1, "\xff\xff\xff\xff{}"), 1},
		{"head that is no JSON", wire(11, 1, "\x02\x00\x00\x00]]"), 1},
		{"cancel of no call", wire(5, 4, ""), 0},
		{"reply to no call", wire(11, 9, "\x02\x00\x00\x00{}"), 0},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			var out bytes.Buffer
			if got := plugins.RunWorker(t.Context(), bytes.NewReader(tt.in), &out); got != tt.want {
				t.Errorf("exit code %d, want %d", got, tt.want)
			}
		})
	}
}

// TestAListIsNoProbe: an answer of verify counts as a probe only if it says so and names the credential
// that it tried, and only if every answer for the kind agrees.
func TestAListIsNoProbe(t *testing.T) {
	tests := []struct {
		name, answers string
		method        abi.Method
		with          abi.Kind
	}{
		{"a probe", `{"kind":"pat","live":0,"method":"probed","with":"pat"}`, abi.MethodProbed, abi.KindPAT},
		{"with another kind", `{"kind":"pat","live":0,"method":"probed","with":"api_token"}`, abi.MethodProbed, abi.KindAPIToken},
		{"nothing said", `{"kind":"pat","live":0}`, "", ""},
		{"a list", `{"kind":"pat","live":0,"method":"listed","with":"pat"}`, "", ""},
		{"a probe with nothing", `{"kind":"pat","live":0,"method":"probed"}`, "", ""},
		{"a probe with an unknown kind", `{"kind":"pat","live":0,"method":"probed","with":"jwt"}`, "", ""},
		{"a probe with the account", `{"kind":"pat","live":0,"method":"probed","with":"account"}`, "", ""},
		{"an unknown method", `{"kind":"pat","live":0,"method":"Probed","with":"pat"}`, "", ""},
		{"a list and a probe", `{"kind":"pat","live":0},{"kind":"pat","live":0,"method":"probed","with":"pat"}`, "", ""},
		{"a probe and a list", `{"kind":"pat","live":0,"method":"probed","with":"pat"},{"kind":"pat","live":0}`, "", ""},
		{"two probes", `{"kind":"pat","live":0,"method":"probed","with":"pat"},{"kind":"pat","live":0,"method":"probed","with":"pat"}`, abi.MethodProbed, abi.KindPAT},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			req := abi.Request{Op: abi.OpVerify, Kinds: []abi.Kind{abi.KindPAT}}
			got, err := plugins.JudgeVerify(req, 0, []byte(`{"kinds":[`+tt.answers+`]}`))
			if err != nil || len(got.Kinds) != 1 || got.Kinds[0].Method != tt.method || got.Kinds[0].With != tt.with {
				t.Errorf("%+v, %v, want %s with %q", got, err, tt.method, tt.with)
			}
		})
	}
}
