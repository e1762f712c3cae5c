package plugins

import (
	"encoding/json"
	"fmt"
	"regexp"
	"slices"
	"strings"
	"time"
	"unicode"

	"github.com/scimward/scimward/plugins/abi"
)

// retUnsupported is the result of an operation that the guest does not have.
const retUnsupported = 3

// The bounds of an outcome's texts in bytes. Package abi has more.
const (
	maxCode   = 64
	maxID     = 256 // of a piece of evidence, and the probe of verify
	maxAction = 512
	maxCursor = 1 << 10
)

// judgeRevoke returns exactly one outcome for each of req.Kinds. An outcome is "revoked" or
// "nothing_to_revoke" only if the guest reported this state in this call. Reports count even if the
// worker was killed later. The output document overrides them, because it comes last.
func judgeRevoke(req abi.Request, out outcome) abi.Result {
	answers := map[abi.Kind]abi.KindResult{}
	for _, report := range out.reports {
		var r abi.KindResult
		if err := json.Unmarshal(report, &r); err == nil {
			answers[r.Kind] = r
		}
	}
	missing := unanswered(out)
	if out.code == "" && out.ret == 0 && len(out.output) > 0 {
		var doc abi.Result
		if err := json.Unmarshal(out.output, &doc); err != nil {
			doc = abi.Result{}
			missing.Code, missing.Message = abi.CodeContract, "the output is not a result document"
		}
		for _, r := range doc.Kinds {
			answers[r.Kind] = r
		}
		if e := doc.Error; e != nil {
			missing.Code, missing.Message = e.Code, e.Message
			if !e.Retryable {
				missing.State = abi.StateFailed
			}
		}
	}
	res := abi.Result{Kinds: []abi.KindResult{}}
	for i, kind := range req.Kinds {
		if slices.Contains(req.Kinds[:i], kind) {
			continue
		}
		r, ok := answers[kind]
		if !ok {
			r = missing
		}
		r.Kind = kind
		res.Kinds = append(res.Kinds, judgeOutcome(r, req.DryRun))
	}
	return res
}

// unanswered returns the outcome of a kind that the guest did not report.
func unanswered(out outcome) abi.KindResult {
	r := abi.KindResult{
		State: abi.StateRetry, Code: out.code, Message: out.note, RetryAfterMS: out.retryAfter.Milliseconds(),
	}
	switch {
	case out.code != "":
	case out.ret == 0:
		r.Code, r.Message = abi.CodeNotReported, "the plugin did not report this kind"
	default:
		r.Code, r.Message = abi.CodeContract, fmt.Sprintf("revoke returned %d", out.ret)
	}
	return r
}

// judgeOutcome checks one outcome against the contract, and bounds and cleans it.
func judgeOutcome(r abi.KindResult, dryRun bool) abi.KindResult {
	if fault := contractFault(r, dryRun); fault != "" {
		return abi.KindResult{Kind: r.Kind, State: abi.StateFailed, Code: abi.CodeContract, Message: fault}
	}
	r.Evidence = r.Evidence[:min(len(r.Evidence), abi.EvidenceMax)]
	for i := range r.Evidence {
		r.Evidence[i].ID = clean(r.Evidence[i].ID, maxID)
		r.Evidence[i].Action = clean(r.Evidence[i].Action, maxAction)
	}
	r.Code, r.Message = clean(r.Code, maxCode), clean(r.Message, abi.MessageBytes)
	r.RetryAfterMS = min(max(r.RetryAfterMS, 0), maxRetryAfter.Milliseconds())
	return r
}

// contractFault says how an outcome breaks the contract, or returns "".
func contractFault(r abi.KindResult, dryRun bool) string {
	if r.Found < 0 || r.Count < 0 || r.Remaining < 0 || len(r.Cursor) > maxCursor {
		return "a count is negative or the cursor is too long"
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
		return fmt.Sprintf("unknown state %q", clean(string(r.State), maxCode))
	}
	return ""
}

// judgeVerify returns one answer for each of req.Kinds. If a guest gives several for a kind, the greatest
// counts, so that a contradiction never proves a revocation. A negative number next to 0, or no answer,
// leaves the kind unknown. The answer is a list unless every answer for the kind is the same probe.
func judgeVerify(req abi.Request, out outcome) (abi.VerifyResult, error) {
	var doc abi.VerifyResult
	if err := decodeAnswer(out, &doc); err != nil {
		return abi.VerifyResult{}, err
	}
	if err := guestError(doc.Error); err != nil {
		return abi.VerifyResult{}, err
	}
	live := map[abi.Kind]abi.Liveness{}
	for _, l := range doc.Kinds {
		if l.Method != abi.MethodProbed || !slices.Contains(abi.CredentialKinds(), l.With) {
			l.Method, l.With = "", ""
		}
		old, twice := live[l.Kind]
		if twice && (old.Method != l.Method || old.With != l.With) {
			old.Method, old.With, l.Method, l.With = "", "", "", ""
		}
		if twice && l.Live <= max(old.Live, 0) && (l.Live >= 0 || old.Live != 0) {
			l = old
		}
		live[l.Kind] = l
	}
	res := abi.VerifyResult{Kinds: []abi.Liveness{}}
	for i, kind := range req.Kinds {
		if slices.Contains(req.Kinds[:i], kind) {
			continue
		}
		l, ok := live[kind]
		if !ok || l.Live < 0 {
			l = abi.Liveness{Live: abi.LiveUnknown, Probe: l.Probe}
		}
		l.Kind, l.Probe = kind, clean(l.Probe, maxID)
		res.Kinds = append(res.Kinds, l)
	}
	return res, nil
}

// judgeIdentify checks the owner that a guest gives for a credential. out is as the guest wrote it, because
// redaction must not change a name.
func judgeIdentify(out outcome, s *session, now time.Time) (abi.IdentifyResult, error) {
	var doc abi.IdentifyResult
	if secret := s.changed.get(); secret != "" {
		return abi.IdentifyResult{}, &Error{Code: abi.CodeRedacted, Message: redactedName(secret)}
	}
	if err := decodeAnswer(out, &doc); err != nil {
		return abi.IdentifyResult{}, s.redactError(err)
	}
	if err := guestError(doc.Error); err != nil {
		return abi.IdentifyResult{}, s.redactError(err)
	}
	if err := judgeIdentity(doc, s); err != nil {
		return abi.IdentifyResult{}, err
	}
	if doc.IssuedAt != nil && doc.IssuedAt.After(now.Add(time.Minute)) {
		doc.IssuedAt = nil // a future time would be newer than every lock, an unknown time counts as old
	}
	doc.Kind = abi.Kind(clean(s.redact.text(string(doc.Kind)), maxCode))
	return doc, nil
}

// judgeIdentity checks the names of a subject.
func judgeIdentity(doc abi.IdentifyResult, s *session) error {
	who := doc.Subject
	if who == nil {
		return nil
	}
	names := []string{who.AppUserID, who.UserName, who.SCIMID}
	if n := len(strings.Join(names, "")); n == 0 || n > 2<<10 {
		return &Error{
			Code: abi.CodeContract, Message: "identify names a subject without a name, or with one that is too long",
		}
	}
	if doc.Anonymous {
		return &Error{Code: abi.CodeContract, Message: "identify names a subject of a session of nobody"}
	}
	for _, name := range names {
		if secret := s.changedBy(name); secret != "" {
			return &Error{Code: abi.CodeRedacted, Message: redactedName(secret)}
		}
	}
	return nil
}

func decodeAnswer(out outcome, v any) error {
	switch {
	case out.code != "":
		return &Error{Code: out.code, Message: out.note}
	case out.ret == retUnsupported:
		return &Error{Code: abi.CodeUnsupported, Message: "the plugin does not have this operation"}
	case out.ret != 0:
		return &Error{Code: abi.CodeContract, Message: fmt.Sprintf("the plugin returned %d", out.ret)}
	}
	if err := json.Unmarshal(out.output, v); err != nil {
		return &Error{Code: abi.CodeContract, Message: "the output is not the operation's document"}
	}
	return nil
}

func guestError(e *abi.Error) error {
	if e == nil {
		return nil
	}
	return &Error{Code: clean(e.Code, maxCode), Message: clean(e.Message, abi.MessageBytes)}
}

var (
	queryShape = regexp.MustCompile(`\?\S+`)
	tokenShape = regexp.MustCompile(`eyJ[A-Za-z0-9_-]{5,}(\.[A-Za-z0-9_-]*){1,4}`)
	// A cookie header contains several values, so the shape matches the rest of the line.
	headerShape     = regexp.MustCompile(`(?i)\b(authorization|cookie)["']?\s*[:=].*`)
	credentialShape = regexp.MustCompile(`(?i)\b(bearer|basic|digest)\s+\S+`)
)

// clean prepares a guest's text for a job and its evidence. The result is valid UTF-8 of at most n bytes,
// without control and invisible characters and anything like a credential. The redactor has removed the secrets that
// the host knows. clean removes secrets that an application repeats in its answers.
func clean(s string, n int) string {
	s = strings.Map(func(r rune) rune {
		if unicode.IsControl(r) || unicode.In(r, unicode.Cf, unicode.Zl, unicode.Zp) {
			return ' '
		}
		return r
	}, strings.ToValidUTF8(s, "\uFFFD"))
	s = queryShape.ReplaceAllString(s, "?[removed]")
	s = tokenShape.ReplaceAllString(s, "[removed]")
	s = headerShape.ReplaceAllString(s, "$1: [removed]")
	s = credentialShape.ReplaceAllString(s, "$1 [removed]")
	return cut(s, n)
}

// cut returns at most the first n bytes of s and ends with a whole character.
func cut(s string, n int) string {
	if len(s) <= n {
		return s
	}
	return strings.ToValidUTF8(s[:n], "")
}
