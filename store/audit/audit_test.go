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

// seal makes r the successor of prev and returns its encoding.
func seal(r *audit.Record, prev audit.Hash) ([]byte, error) {
	draft, err := audit.Encode(r)
	if err != nil {
		return nil, err
	}
	place := audit.Place{N: r.N, Seq: r.Seq, Tenant: r.Tenant, Time: r.Time, Prev: prev}
	sealed, err := place.Seal(draft)
	r.Prev, r.Hash = prev, sealed.Hash
	return sealed.Encoded, err
}

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
		if _, err := seal(&r, prev); err != nil {
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
	got, err := seal(&r, audit.Hash{1, 2})
	want := `{"n":7,"seq":9,"tenant":"acme","time":"2026-01-02T02:04:05.000000006Z","actor":"client:\u003cc\u003e",` +
		`"client":"c","jti":"j","request":"r","remote":"192.0.2.1","method":"PATCH","path":"/Users/1",` +
		`"action":"user.patch","decision":"il1@1","outcome":"done","resource":"1","attrs":["active","é\u0026"],` +
		`"detail":"d\n","prev":"0102000000000000000000000000000000000000000000000000000000000000",` +
		`"hash":"7fd65d0bb583f6b59b2ab5bdfe24d1d967fd9504dcffcc7f3c287c5b0391888f"}`
	if diff := cmp.Diff(want, string(got)); err != nil || diff != "" {
		t.Errorf("Seal: %v, want no error (-want +got):\n%s", err, diff)
	}
}

// sealedRight seals a draft of r in another place. The result must be what Encode makes of the whole record.
func sealedRight(t *testing.T, r audit.Record, tenant string) {
	t.Helper()
	draft, err := audit.Encode(&r)
	if err != nil {
		return // a year that JSON does not allow
	}
	place := audit.Place{N: 8, Seq: 9, Tenant: tenant, Time: time.Unix(1, 20), Prev: audit.Hash{1, 2}}
	got, err := place.Seal(draft)
	if err != nil {
		t.Fatalf("Seal(%s): %v", draft, err)
	}
	r.N, r.Seq, r.Tenant, r.Time, r.Prev, r.Hash = 8, 9, tenant, place.Time.UTC(), place.Prev, got.Hash
	want, err := audit.Encode(&r)
	if diff := cmp.Diff(string(want), string(got.Encoded)); err != nil || diff != "" {
		t.Errorf("Seal: %v, want no error (-want +got):\n%s", err, diff)
	}
	decoded, err := audit.Decode(got.Encoded)
	if err != nil || decoded.Resource != got.Resource {
		t.Errorf("Seal: resource %q, in the record %q, %v", got.Resource, decoded.Resource, err)
	}
	c := audit.Chain{Tenant: decoded.Tenant, N: 7, Head: place.Prev}
	if err := c.Next(&decoded); err != nil {
		t.Errorf("the chain refuses the sealed record: %v", err)
	}
}

// tricky are texts that look like parts of an encoded record.
var tricky = []string{
	"", `,"actor":`, `"x","actor":"y`, `,"resource":"z"`, `,"attrs":`, `,"prev":"`, `","hash":"`, `"}`, `\`, `\","actor":"`,
	"é\u2028<&>", "\xff", "\n",
}

// TestSeal: text inside a field does not change what a sealed record says.
func TestSeal(t *testing.T) {
	for _, x := range tricky {
		for _, y := range tricky {
			sealedRight(t, audit.Record{
				Tenant: x, Actor: y, Path: x, Resource: y, Attrs: []string{x, y}, Detail: x, Claimed: y, Reason: x,
			}, y)
		}
	}
	sealedRight(t, audit.Record{}, "acme")
}

// TestDecodeStamp: the stamp of a record is that of Decode, whatever its tenant is called.
func TestDecodeStamp(t *testing.T) {
	for _, tenant := range []string{"acme", `,"actor":`, `","seq":9,"actor":"`} {
		b, err := audit.Encode(&audit.Record{N: 1, Seq: 7, Tenant: tenant, Time: time.Unix(8, 9), Actor: "system"})
		if err != nil {
			t.Fatal(err)
		}
		before := bytes.Clone(b)
		if seq, at, err := audit.DecodeStamp(b); seq != 7 || !at.Equal(time.Unix(8, 9)) || err != nil {
			t.Errorf("DecodeStamp of tenant %q = %d, %s, %v, want 7 and %s", tenant, seq, at, err, time.Unix(8, 9))
		}
		if !bytes.Equal(b, before) {
			t.Errorf("DecodeStamp changed the record to %s", b)
		}
	}
	if _, _, err := audit.DecodeStamp([]byte(`{"seq":7}`)); err == nil {
		t.Error("DecodeStamp of what is no record: no error")
	}
}

// TestSealRefuses: Seal refuses what is not an encoded record.
func TestSealRefuses(t *testing.T) {
	good, err := audit.Encode(&audit.Record{})
	if err != nil {
		t.Fatal(err)
	}
	for name, draft := range map[string]string{
		"empty": "", "not JSON": "{", "short": string(good[:len(good)/2]), "without its end": string(good[:len(good)-1]),
		"no actor":      strings.Replace(string(good), `"actor"`, `"actress"`, 1),
		"no resource":   strings.Replace(string(good), `"resource"`, `"thing"`, 1),
		"no attributes": strings.Replace(string(good), `"attrs"`, `"things"`, 1),
		"a number":      strings.Replace(string(good), `"resource":""`, `"resource":1`, 1),
		"another tail":  strings.Replace(string(good), `"prev"`, `"next"`, 1),
	} {
		place := audit.Place{N: 1, Tenant: "acme", Time: time.Unix(1, 0)}
		if got, err := place.Seal([]byte(draft)); err == nil {
			t.Errorf("%s: Seal = %s, want an error", name, got.Encoded)
		}
	}
}

// FuzzSeal is TestSeal with any text.
func FuzzSeal(f *testing.F) {
	for _, x := range tricky {
		f.Add(x, x, x)
	}
	f.Fuzz(func(t *testing.T, x, y, z string) {
		sealedRight(t, audit.Record{
			Tenant: x, Actor: y, Path: z, Resource: x, Attrs: []string{y, z}, Detail: x, Claimed: y, Reason: z,
		}, y)
	})
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
			if _, err := seal(&r[1], r[0].Hash); err != nil {
				panic(err)
			}
			return r
		}, 3},
		{"log position back", func(r []audit.Record) []audit.Record {
			r[4].Seq = 1
			if _, err := seal(&r[4], r[3].Hash); err != nil {
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
		_, err1 := seal(&r, r.Prev)
		_, err2 := seal(&r2, r2.Prev)
		if r.Hash != r2.Hash || err1 != nil || err2 != nil {
			t.Errorf("Seal = %s (%v) and %s (%v), want equal hashes", r.Hash, err1, r2.Hash, err2)
		}
	})
}
