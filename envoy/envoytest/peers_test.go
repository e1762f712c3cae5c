package envoytest_test

import (
	"bytes"
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/scimward/scimward/envoy/envoybin/foreign"
)

// peerReport is one check of a peer.
type peerReport struct{ Check, Outcome, Detail string }

// deviation is a report that stays, with the section that settles it. Detail is part of the report's.
type deviation struct{ Peer, Check, Outcome, Detail, RFC, Why string }

// covers: the peer's check may have the name of its phase before it.
func (d deviation) covers(peer string, r peerReport) bool {
	return d.Peer == peer && d.Outcome == r.Outcome && strings.HasSuffix(r.Check, d.Check) &&
		strings.Contains(r.Detail, d.Detail)
}

// TestSCIMPeers runs SCIM clients and checkers of other authors against a tenant with the profile
// rfc7644, through Envoy. What they report is listed in testdata/peers/deviations.json with the RFC
// section that settles it, and the documents name that section. A listed deviation that no longer
// occurs fails too.
func TestSCIMPeers(t *testing.T) {
	listed := deviations(t)
	w := newWorld(t, func(text string) string {
		return strings.Replace(text, "    requests_per_second", "    profile: rfc7644\n    requests_per_second", 1)
	})
	packages := foreign.Python(t, "testdata/peers/requirements.txt")
	for peer, least := range map[string]int{"scim2-tester": 120, "scim-sanity": 24, "scim2-cli": 15} {
		t.Run(peer, func(t *testing.T) {
			good := 0
			seen := map[deviation]bool{}
			for _, r := range askPeer(t, w, packages, peer) {
				if r.Outcome == "ok" {
					good++
					continue
				}
				i := slices.IndexFunc(listed, func(d deviation) bool { return d.covers(peer, r) })
				if i < 0 {
					t.Errorf("%s: %s: %s\nmend it, or list it with the RFC section that settles it", r.Check, r.Outcome, r.Detail)
					continue
				}
				seen[listed[i]] = true
			}
			for _, d := range listed {
				if d.Peer == peer && !seen[d] {
					t.Errorf("%s: %s no longer occurs: remove it from the list", d.Check, d.Outcome)
				}
			}
			if good < least {
				t.Errorf("%d checks were good, want at least %d: the test proves too little", good, least)
			}
		})
	}
}

// deviations reads the list. Each entry must say what settles it, and the documents must say it too.
func deviations(t *testing.T) []deviation {
	t.Helper()
	var documents []byte
	for _, name := range []string{"scim-choices.md", "scim-divergences.md"} {
		text, err := os.ReadFile(filepath.Join("../../docs", name))
		if err != nil {
			t.Fatal(err)
		}
		documents = append(documents, text...)
	}
	text, err := os.ReadFile("testdata/peers/deviations.json")
	if err != nil {
		t.Fatal(err)
	}
	var list []deviation
	d := json.NewDecoder(bytes.NewReader(text))
	d.DisallowUnknownFields()
	if err := d.Decode(&list); err != nil {
		t.Fatal(err)
	}
	for _, d := range list {
		if d.Check == "" || d.Detail == "" || d.Why == "" || !strings.HasPrefix(d.RFC, "RFC ") ||
			!bytes.Contains(documents, []byte(d.RFC)) {
			t.Errorf("%+v: want a check, a detail, a reason and an RFC section that the documents name", d)
		}
	}
	return list
}

// askPeer runs a peer and returns what it reports.
func askPeer(t *testing.T, w *world, packages, peer string) []peerReport {
	t.Helper()
	token, err := w.Acme.Client.AccessToken(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.CommandContext(t.Context(), "python3", "-B", "testdata/peers/peers.py", peer)
	cmd.Env = append(os.Environ(), "PYTHONPATH="+packages,
		"SCIM_URL="+w.Acme.URL+"/scim/v2", "SCIM_TOKEN="+token, "SSL_CERT_FILE="+w.CAFile)
	var stderr strings.Builder
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	var reports []peerReport
	if err == nil {
		err = json.Unmarshal(out, &reports)
	}
	if err != nil {
		t.Fatalf("running %s: %v\n%s", peer, err, stderr.String())
	}
	return reports
}
