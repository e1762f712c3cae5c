package abi_test

import (
	"encoding/json"
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/scimward/scimward/plugins/abi"
)

// TestRequestVector reads the published request document. A changed name breaks every existing
// plugin.
func TestRequestVector(t *testing.T) {
	const doc = `{"abi":"1.0","op":"revoke","request_id":"01J","idempotency_key":"k","attempt":2,"deadline_ms":9800,"dry_run":true,"tenant":"acme","app":"wiki",` +
		`"event":{"type":"user.deactivated","id":"evt_9","occurred_at":"2026-11-21T20:22:00Z"},` +
		`"subject":{"scim_id":"2819c223","external_id":"u42","user_name":"bjensen","emails":["b@example.com"],"attributes":{"employeeNumber":"7"}},` +
		`"kinds":["web_session","pat"],"cursors":{"pat":"page=3"},` +
		`"credentials":[{"ref":"c1","source":"cookie","name":"sid","prefix":"pat_","sha256":"00"}],"config":{"base_url":"https://api.example"}}`
	var r abi.Request
	if err := json.Unmarshal([]byte(doc), &r); err != nil {
		t.Fatal(err)
	}
	again, err := json.Marshal(r)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(doc, string(again)); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

// TestResultVector reads the published result document.
func TestResultVector(t *testing.T) {
	const doc = `{"kinds":[{"kind":"pat","state":"partial","found":5,"count":3,"remaining":2,"cursor":"p2","retry_after_ms":1000,"code":"c","message":"m",` +
		`"evidence":[{"id":"t1","action":"DELETE /t/1","status":204}]}],"error":{"code":"c","message":"m","retryable":true}}`
	var r abi.Result
	if err := json.Unmarshal([]byte(doc), &r); err != nil {
		t.Fatal(err)
	}
	again, err := json.Marshal(r)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(doc, string(again)); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

// TestOrder: the order contains every kind once. Kinds that bypass the proxy come first, the account
// before refresh tokens, sessions last.
func TestOrder(t *testing.T) {
	order := abi.Order()
	for _, k := range abi.CredentialKinds() {
		if !slices.Contains(order, k) {
			t.Errorf("Order() lacks %s, want every kind", k)
		}
	}
	if n := len(slices.Compact(slices.Sorted(slices.Values(order)))); n != 7 || len(order) != 7 {
		t.Errorf("%d kinds, %d of them different, want 7", len(order), n)
	}
	at := func(k abi.Kind) int { return slices.Index(order, k) }
	if at(abi.KindSSHKey) > 1 || at(abi.KindDevice) > 1 || at(abi.KindAccount) != 2 || at(abi.KindWebSession) != 6 {
		t.Errorf("Order() = %v, want SSH keys and devices first and the account before refresh tokens", order)
	}
}
