package plugins

import (
	"encoding/json"
	"fmt"
	"slices"
	"time"

	"github.com/scimward/scimward/plugins/abi"
)

const maxCursor = 1 << 10

// verdictOf turns what a guest said into what the host believes. Whatever happened,
// each kind of req has exactly one outcome, and only a guest that said so in this
// very call, in the ABI's words, makes one "revoked" or "nothing_to_revoke"
// (design: plugins §6.6).
//
// Reports count even when the guest was killed later. The output document overrides
// them, because it is the guest's last word.
func verdictOf(req abi.Request, out outcome, redact redactor) abi.Result {
	said := map[abi.Kind]abi.KindResult{}
	for _, doc := range out.reports {
		var r abi.KindResult
		if err := json.Unmarshal(redact.bytes(doc), &r); err == nil && r.Kind != "" {
			said[r.Kind] = r
		}
	}
	rest := silence(out)
	var doc abi.Result
	if rest.Code == abi.CodeNotReported && len(out.output) > 0 {
		if err := json.Unmarshal(redact.bytes(out.output), &doc); err != nil {
			doc = abi.Result{}
			rest.Code, rest.Message = abi.CodeContract, "the output is no result document"
		}
	}
	for _, r := range doc.Kinds {
		said[r.Kind] = r
	}
	if doc.Error != nil {
		doc.Error = &abi.Error{Code: cut(doc.Error.Code, 64), Message: cut(doc.Error.Message, abi.MessageBytes), Retryable: doc.Error.Retryable}
		rest.Code, rest.Message = doc.Error.Code, doc.Error.Message
		if !doc.Error.Retryable {
			rest.State = abi.StateFailed
		}
	}
	res := abi.Result{Kinds: []abi.KindResult{}, Error: doc.Error}
	for i, kind := range req.Kinds {
		if slices.Contains(req.Kinds[:i], kind) {
			continue
		}
		r, ok := said[kind]
		if !ok {
			r = rest
		}
		r.Kind = kind
		res.Kinds = append(res.Kinds, judge(r, req.DryRun))
	}
	return res
}

// silence is the outcome of a kind the guest said nothing about.
func silence(out outcome) abi.KindResult {
	r := abi.KindResult{State: abi.StateRetry, Code: out.code, Message: cut(out.note, abi.MessageBytes), RetryAfterMS: out.retryAfter.Milliseconds()}
	switch {
	case out.code != "":
	case out.ret == 0:
		r.Code, r.Message = abi.CodeNotReported, "the plugin did not report this kind"
	default:
		r.Code, r.Message = abi.CodeContract, fmt.Sprintf("revoke returned %d", out.ret)
	}
	return r
}

// judge makes one outcome safe to store and act on.
func judge(r abi.KindResult, dryRun bool) abi.KindResult {
	if fault := breach(r, dryRun); fault != "" {
		return abi.KindResult{Kind: r.Kind, State: abi.StateFailed, Code: abi.CodeContract, Message: fault}
	}
	if len(r.Evidence) > abi.EvidenceMax {
		r.Evidence = r.Evidence[:abi.EvidenceMax]
	}
	for i := range r.Evidence {
		r.Evidence[i].ID = cut(r.Evidence[i].ID, 256)
		r.Evidence[i].Action = cut(r.Evidence[i].Action, 512)
	}
	r.Code, r.Message = cut(r.Code, 64), cut(r.Message, abi.MessageBytes)
	r.RetryAfterMS = min(max(r.RetryAfterMS, 0), maxRetryAfter.Milliseconds())
	return r
}

// breach says how an outcome breaks the contract; "" when it does not.
func breach(r abi.KindResult, dryRun bool) string {
	if r.Found < 0 || r.Count < 0 || r.Remaining < 0 || len(r.Cursor) > maxCursor {
		return "a count is negative or the cursor too long"
	}
	switch r.State {
	case abi.StateRevoked, abi.StatePartial:
		if dryRun {
			return fmt.Sprintf("%s in a dry run", r.State)
		}
		if r.State == abi.StateRevoked && r.Remaining > 0 {
			return "revoked, but some remain"
		}
	case abi.StateWouldRevoke:
		if !dryRun {
			return "would_revoke outside a dry run"
		}
	case abi.StateNothingToRevoke, abi.StateRetry, abi.StateFailed, abi.StateUnsupported:
	default:
		return fmt.Sprintf("unknown state %q", cut(string(r.State), 64))
	}
	return ""
}

// judgeVerify keeps what a guest said of the kinds it was asked about. A kind it
// named twice has the greater number; a negative number is no answer.
func judgeVerify(req abi.Request, out outcome, redact redactor) (abi.VerifyResult, error) {
	var doc abi.VerifyResult
	if err := decodeAnswer(out, redact, &doc); err != nil {
		return abi.VerifyResult{}, err
	}
	if err := guestError(doc.Error); err != nil {
		return abi.VerifyResult{}, err
	}
	best := map[abi.Kind]abi.Liveness{}
	for _, l := range doc.Kinds {
		if old, ok := best[l.Kind]; l.Live >= 0 && (!ok || l.Live > old.Live) {
			l.Probe = cut(l.Probe, 256)
			best[l.Kind] = l
		}
	}
	res := abi.VerifyResult{Kinds: []abi.Liveness{}}
	for i, k := range req.Kinds {
		if l, ok := best[k]; ok && !slices.Contains(req.Kinds[:i], k) {
			res.Kinds = append(res.Kinds, l)
		}
	}
	return res, nil
}

// judgeIdentify checks whose credential a guest says it is.
func judgeIdentify(out outcome, redact redactor, now time.Time) (abi.IdentifyResult, error) {
	var doc abi.IdentifyResult
	if err := decodeAnswer(out, redact, &doc); err != nil {
		return abi.IdentifyResult{}, err
	}
	if err := guestError(doc.Error); err != nil {
		return abi.IdentifyResult{}, err
	}
	if s := doc.Subject; s != nil && (s.AppUserID == "" && s.UserName == "" && s.SCIMID == "" || len(s.AppUserID)+len(s.UserName)+len(s.SCIMID) > 2<<10) {
		return abi.IdentifyResult{}, &Error{Code: abi.CodeContract, Message: "identify names a subject without a name"}
	}
	if doc.IssuedAt != nil && doc.IssuedAt.After(now.Add(time.Minute)) {
		doc.IssuedAt = nil // not known counts as old; the future would outlive every epoch
	}
	doc.Kind = abi.Kind(cut(string(doc.Kind), 64))
	return doc, nil
}

func decodeAnswer(out outcome, redact redactor, v any) error {
	switch {
	case out.code != "":
		return &Error{Code: out.code, Message: redact.text(out.note)}
	case out.ret == 3:
		return &Error{Code: abi.CodeUnsupported, Message: "the plugin does not have this operation"}
	case out.ret != 0:
		return &Error{Code: abi.CodeContract, Message: fmt.Sprintf("the plugin returned %d", out.ret)}
	}
	if err := json.Unmarshal(redact.bytes(out.output), v); err != nil {
		return &Error{Code: abi.CodeContract, Message: "the output is not the operation's document"}
	}
	return nil
}

func guestError(e *abi.Error) error {
	if e == nil {
		return nil
	}
	return &Error{Code: cut(e.Code, 64), Message: cut(e.Message, abi.MessageBytes)}
}
