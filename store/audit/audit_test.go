package audit_test

import (
	"bytes"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/scimward/scimward/store/audit"
)

func chain(tb testing.TB, n int) []audit.Record {
	tb.Helper()
	var out []audit.Record
	var prev audit.Hash
	for i := range n {
		r := audit.Record{
			N: uint64(i + 1), Seq: uint64(2 * i), Tenant: "acme", Time: time.Unix(int64(i), 5).UTC(),
			Actor: "client:c", RequestID: fmt.Sprint("r", i), Action: "user.patch", Decision: "ipsie-il1@1",
			Outcome: audit.OutcomeDone, Resource: "u<1>", Attrs: []string{"active"},
		}
		if _, err := r.Seal(prev); err != nil {
			tb.Fatal(err)
		}
		prev = r.Hash
		out = append(out, r)
	}
	return out
}

func stream(tb testing.TB, recs []audit.Record) string {
	tb.Helper()
	var b strings.Builder
	for i := range recs {
		line, err := audit.Encode(&recs[i])
		if err != nil {
			tb.Fatal(err)
		}
		b.Write(line)
		b.WriteByte('\n')
	}
	return b.String()
}

// TestFormat: the encoding of a record never changes.
func TestFormat(t *testing.T) {
	r := audit.Record{
		N: 7, Seq: 9, Tenant: "acme", Time: time.Date(2026, 1, 2, 3, 4, 5, 6, time.FixedZone("", 3600)),
		Actor: "client:<c>", ClientID: "c", JTI: "j", RequestID: "r", Remote: "192.0.2.1", Method: "PATCH",
		Path: "/Users/1", Action: "user.patch", Decision: "il1@1", Outcome: audit.OutcomeDone, Resource: "1",
		Attrs: []string{"active", "é&"}, Detail: "d\n",
	}
	got, err := r.Seal(audit.Hash{1, 2})
	want := `{"n":7,"seq":9,"tenant":"acme","time":"2026-01-02T02:04:05.000000006Z","actor":"client:\u003cc\u003e",` +
		`"client":"c","jti":"j","request":"r","remote":"192.0.2.1","method":"PATCH","path":"/Users/1",` +
		`"action":"user.patch","decision":"il1@1","outcome":"done","resource":"1","attrs":["active","é\u0026"],` +
		`"detail":"d\n","prev":"0102000000000000000000000000000000000000000000000000000000000000",` +
		`"hash":"7fd65d0bb583f6b59b2ab5bdfe24d1d967fd9504dcffcc7f3c287c5b0391888f"}`
	if diff := cmp.Diff(want, string(got)); err != nil || diff != "" {
		t.Errorf("Seal: %v, want no error (-want +got):\n%s", err, diff)
	}
}

// TestVerify: Verify returns the end of a valid chain.
func TestVerify(t *testing.T) {
	recs := chain(t, 5)
	got, err := audit.Verify(strings.NewReader(stream(t, recs)))
	want := audit.Chain{Tenant: "acme", N: 5, Seq: 8, Head: recs[4].Hash}
	if diff := cmp.Diff(want, got); err != nil || diff != "" {
		t.Errorf("Verify: %v, want no error (-want +got):\n%s", err, diff)
	}
}

// TestVerifyFindsAlteration: Verify finds every alteration of a stream, except a missing end.
func TestVerifyFindsAlteration(t *testing.T) {
	for _, c := range []struct {
		name  string
		alter func(r []audit.Record) []audit.Record
		at    uint64
	}{
		{"a field changed", func(r []audit.Record) []audit.Record { r[2].Actor = "client:evil"; return r }, 3},
		{"time changed", func(r []audit.Record) []audit.Record { r[1].Time = r[1].Time.Add(1); return r }, 2},
		{"attribute added", func(r []audit.Record) []audit.Record { r[0].Attrs = append(r[0].Attrs, "userName"); return r }, 1},
		{"one left out", func(r []audit.Record) []audit.Record { return append(r[:2], r[3:]...) }, 3},
		{"first left out", func(r []audit.Record) []audit.Record { return r[1:] }, 1},
		{"two swapped", func(r []audit.Record) []audit.Record { r[1], r[2] = r[2], r[1]; return r }, 2},
		{"one repeated", func(r []audit.Record) []audit.Record { return append(r[:1], r...) }, 2},
		{"another tenant", func(r []audit.Record) []audit.Record { r[3].Tenant = "globex"; return r }, 4},
		{"changed and sealed again", func(r []audit.Record) []audit.Record {
			r[1].Actor = "client:evil"
			if _, err := r[1].Seal(r[0].Hash); err != nil {
				panic(err)
			}
			return r
		}, 3},
		{"log position back", func(r []audit.Record) []audit.Record {
			r[4].Seq = 1
			if _, err := r[4].Seal(r[3].Hash); err != nil {
				panic(err)
			}
			return r
		}, 5},
	} {
		t.Run(c.name, func(t *testing.T) {
			_, err := audit.Verify(strings.NewReader(stream(t, c.alter(chain(t, 5)))))
			var broken *audit.ChainError
			if !errors.As(err, &broken) || broken.N != c.at {
				t.Errorf("Verify = %v, want a ChainError at record %d", err, c.at)
			}
		})
	}
}

// TestDecodeRefuses: malformed lines are errors.
func TestDecodeRefuses(t *testing.T) {
	recs := chain(t, 1)
	good := strings.TrimSpace(stream(t, recs))
	hash := recs[0].Hash.String()
	for name, line := range map[string]string{
		"empty": "", "not JSON": "{", "two records": good + good,
		"unknown field": strings.Replace(good, "{", `{"extra":1,`, 1),
		"short hash":    strings.Replace(good, hash, "00", 1),
		"upper hash":    strings.Replace(good, hash, strings.ToUpper(hash), 1),
		"wrong type":    strings.Replace(good, `"n":1`, `"n":"1"`, 1),
		"negative":      strings.Replace(good, `"n":1`, `"n":-1`, 1),
	} {
		if _, err := audit.Decode([]byte(line)); err == nil {
			t.Errorf("%s: Decode(%.80q) succeeded, want an error", name, line)
		}
	}
}

// TestVerifyBoundsALine: Verify refuses a line that is too long.
func TestVerifyBoundsALine(t *testing.T) {
	if _, err := audit.Verify(strings.NewReader(strings.Repeat("x", 2<<20))); err == nil {
		t.Error("Verify of a line of 2 MiB succeeded, want an error")
	}
}

// FuzzDecode: a decoded record encodes to a form that decodes to the same record.
func FuzzDecode(f *testing.F) {
	recs := chain(f, 3)
	for _, line := range strings.Split(strings.TrimSpace(stream(f, recs)), "\n") {
		f.Add([]byte(line))
	}
	f.Fuzz(func(t *testing.T, line []byte) {
		r, err := audit.Decode(line)
		if err != nil {
			return
		}
		again, err := audit.Encode(&r)
		if err != nil {
			return // a year that JSON does not allow
		}
		r2, err := audit.Decode(again)
		if err != nil {
			t.Fatalf("re-reading %s: %v", again, err)
		}
		twice, err := audit.Encode(&r2)
		if err != nil || !bytes.Equal(again, twice) {
			t.Errorf("encoding %s again = %s, %v, want the same line", again, twice, err)
		}
		_, err1 := r.Seal(r.Prev)
		_, err2 := r2.Seal(r2.Prev)
		if r.Hash != r2.Hash || err1 != nil || err2 != nil {
			t.Errorf("Seal = %s (%v) and %s (%v), want equal hashes", r.Hash, err1, r2.Hash, err2)
		}
	})
}
