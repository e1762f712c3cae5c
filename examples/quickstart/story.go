package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"path/filepath"
	"strings"
	"time"

	"github.com/scimward/scimward/examples/identity-service/idp"
	"github.com/scimward/scimward/examples/quickstart/stack"
)

const (
	ada = "ada@acme.example"
	bob = "bob@acme.example"
	eve = "eve@elsewhere.example" // the identity service does not provision her

	patience = 10 * time.Minute // limit for the whole story, which takes seconds
)

// story contains the chapters in order. Each chapter needs the previous ones.
type story struct {
	s *stack.Stack
	d *display

	user     idp.User // ada in acme
	group    idp.Group
	person   *stack.Person // ada
	namesake *stack.Person // user of the same name in globex
	old      *stack.Person // ada with the credentials from before the deactivation
	streams  []*stack.Stream
	ssh      *stack.Stream
	page     string // file of the evidence page
}

func (st *story) play(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	for _, chapter := range []struct {
		title string
		play  func(context.Context) error
	}{
		{"The identity service finds its way in", st.trust},
		{"A person is provisioned", st.provision},
		{"The person works", st.work},
		{"What the profile forbids is refused", st.forbidden},
		{"A deactivation that is refused is not forgotten", st.refusedDeactivation},
		{"The person is deactivated", st.deactivate},
		{"What the application issued is revoked, then verified", st.revoked},
		{"The person comes back", st.reactivate},
		{"The person is deleted, and a new user gets the name", st.recreate},
		{"An operator locks a person by hand", st.lockByHand},
		{"Proof", st.proof},
	} {
		st.d.chapter(chapter.title)
		if err := chapter.play(ctx); err != nil {
			return fmt.Errorf("%s: %w", strings.ToLower(chapter.title), err)
		}
	}
	st.d.timeline()
	return nil
}

func (st *story) trust(ctx context.Context) error {
	m, err := st.s.Acme.Client.Discover(ctx)
	if err != nil {
		return err
	}
	st.d.ok("metadata discovered (RFC 8414)", m.TokenEndpoint)
	if _, err := st.s.Acme.Client.Assertion(ctx); err != nil {
		return err
	}
	st.d.ok("assertion signed (RFC 7523)", "key "+st.s.Acme.Keys.KeyID())
	if _, err := st.s.Acme.Client.AccessToken(ctx); err != nil {
		return err
	}
	st.d.ok("access token issued", "scope scim, five minutes")
	return nil
}

func (st *story) provision(ctx context.Context) (err error) {
	acme, globex := st.s.Acme, st.s.Globex
	st.user, err = acme.Client.CreateUser(ctx, idp.User{
		UserName: ada, ExternalID: "e-1001", DisplayName: "Ada", GivenName: "Ada", FamilyName: "Example", Email: ada,
	})
	if err != nil {
		return err
	}
	st.d.ok("user created", st.user.ID)
	change := idp.Op{Op: "replace", Path: "displayName", Value: "Ada E."}
	if err := acme.Client.PatchUser(ctx, st.user.ID, change); err != nil {
		return err
	}
	st.d.ok("user updated", "displayName")
	if st.group, err = acme.Client.CreateGroup(ctx, idp.Group{DisplayName: "Engineers"}); err != nil {
		return err
	}
	if err := acme.Client.AddMembers(ctx, st.group.ID, st.user.ID); err != nil {
		return err
	}
	st.d.ok("group created, member added", st.group.ID)
	other, err := globex.Client.CreateUser(ctx, idp.User{
		UserName: ada, ExternalID: "e-1001", DisplayName: "Another Ada", Email: ada,
	})
	if err != nil {
		return err
	}
	st.d.ok("the other tenant has a user of the same name", other.ID)
	// Each application makes its own account.
	return errors.Join(acme.Account(ctx, ada), globex.Account(ctx, ada))
}

func (st *story) work(ctx context.Context) (err error) {
	st.person, st.namesake = st.s.Person(st.s.Acme, ada), st.s.Person(st.s.Globex, ada)
	for _, p := range []*stack.Person{st.person, st.namesake} {
		if status, err := p.SignIn(ctx); err != nil || status != http.StatusOK {
			return fmt.Errorf("signing in at %s: status %d: %w", p.Tenant.Name, status, err)
		}
	}
	st.d.ok("signed in", "")
	if err := st.person.IssueAll(ctx); err != nil {
		return err
	}
	if err := st.useAll(ctx, st.person, served); err != nil {
		return err
	}
	st.d.ok("one credential of each kind works", strings.Join(st.person.Kinds(), ", ")+", ssh_key")
	for _, open := range []func(context.Context) (*stack.Stream, error){
		st.person.OpenWebSocket, st.person.OpenEvents, st.person.OpenDownload,
	} {
		s, err := open(ctx)
		if err != nil {
			return err
		}
		st.streams = append(st.streams, s)
	}
	if st.ssh, err = st.person.OpenSSH(); err != nil {
		return err
	}
	st.d.ok("open", "a WebSocket, an event stream, a download, an SSH session")
	return nil
}

// use uses a credential. It tries again while the answer is 503, because on a busy machine the
// application may identify it too late.
func (st *story) use(ctx context.Context, p *stack.Person, kind string) (status int, body []byte, err error) {
	tries := 0
	err = stack.Poll(ctx, 200*time.Millisecond, func() (bool, error) {
		var err error
		status, body, err = p.Use(ctx, kind)
		tries++
		return status != http.StatusServiceUnavailable || tries == 50, err
	})
	return status, body, err
}

// useAll uses each credential once and fails on the first answer that is not ok.
func (st *story) useAll(ctx context.Context, p *stack.Person, ok func(kind string, status int) bool) error {
	for _, kind := range p.Kinds() {
		status, body, err := st.use(ctx, p, kind)
		if err != nil {
			return err
		}
		if !ok(kind, status) {
			return fmt.Errorf("%s: status %d: %s", kind, status, body)
		}
	}
	return nil
}

func served(_ string, status int) bool { return status == http.StatusOK }

// locked reports whether status is the answer of the proxy for a locked user.
func locked(_ string, status int) bool { return status == http.StatusUnauthorized }

// refused reports whether the proxy or the application refused a credential. The application has
// its own status for a deleted one.
func refused(_ string, status int) bool { return status/100 == 4 }

func (st *story) forbidden(ctx context.Context) error {
	if err := st.stranger(ctx); err != nil {
		return err
	}
	status, body, err := st.person.Do(ctx, "web_session", http.MethodPost, "/account/email")
	if err != nil {
		return err
	}
	if status != http.StatusForbidden {
		return fmt.Errorf("a local account edit was answered with %d: %s", status, body)
	}
	st.d.ok("a local account edit is refused", strings.TrimSpace(string(body)))
	status, body, err = st.s.Acme.Client.Raw(ctx, http.MethodPatch, "/Groups/"+st.group.ID, map[string]any{
		"schemas":    []string{idp.PatchURN},
		"Operations": []any{map[string]any{"op": "replace", "path": "members", "value": []any{}}},
	})
	if err != nil {
		return err
	}
	var answer struct {
		Detail string `json:"detail"`
	}
	err = json.Unmarshal(body, &answer)
	if err != nil || status != http.StatusBadRequest || !strings.Contains(answer.Detail, "IL1-") {
		return fmt.Errorf("a forbidden PATCH was answered with %d: %s", status, body)
	}
	st.d.ok("a forbidden PATCH shape is refused", answer.Detail)
	return nil
}

func (st *story) deactivate(ctx context.Context) error {
	st.old = st.person.Clone()
	st.d.zero = time.Now()
	st.d.mark(st.d.zero, "PATCH active=false sent")
	if err := st.s.Acme.Client.Deactivate(ctx, st.user.ID); err != nil {
		return err
	}
	st.d.mark(time.Now(), "seen at: answered 200, the lock is durable and in force")
	err := st.useAll(ctx, st.old, func(kind string, status int) bool {
		st.d.mark(time.Now(), "seen at: %s refused at the proxy", kind)
		return locked(kind, status)
	})
	if err != nil {
		return err
	}
	kinds := len(st.old.Kinds())
	st.d.ok("the next request is refused", fmt.Sprintf("%d of %d kinds, at the proxy", kinds, kinds))
	if status, err := st.old.SignIn(ctx); err != nil || status != http.StatusUnauthorized {
		return fmt.Errorf("signing in again: status %d: %w", status, err)
	}
	st.d.ok("signing in again is refused", "")
	for _, s := range st.streams {
		if err := st.ended(ctx, s); err != nil {
			return err
		}
	}
	st.d.ok("open streams have ended", "")
	if status, _, err := st.use(ctx, st.namesake, "web_session"); err != nil || status != http.StatusOK {
		return fmt.Errorf("the namesake in the other tenant: status %d: %w", status, err)
	}
	st.d.ok("the namesake in the other tenant works on", "")
	return nil
}

func (st *story) ended(ctx context.Context, s *stack.Stream) error {
	select {
	case <-s.Done():
		st.d.mark(s.Ended, "%s ended", s.Name)
		return nil
	case <-ctx.Done():
		return fmt.Errorf("the %s is still open: %w", s.Name, ctx.Err())
	}
}

// offboarding contains the members of an offboarding in an evidence report that the story reads.
type offboarding struct {
	BlockedAt  *time.Time `json:"blocked_at"`
	VerifiedAt *time.Time `json:"verified_at"`
	Kinds      []struct {
		Kind       string     `json:"kind"`
		State      string     `json:"state"`
		VerifiedAt *time.Time `json:"verified_at"`
		VerifiedBy string     `json:"verified_by"`
		How        []struct {
			At time.Time `json:"at"`
		} `json:"how"`
	} `json:"kinds"`
}

// scimward runs a command of the sidecar with the stack's configuration.
func (st *story) scimward(ctx context.Context, args ...string) ([]byte, error) {
	var stderr bytes.Buffer
	cmd := st.s.Command(ctx, append(args, "-c", st.s.Config)...)
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		return out, fmt.Errorf("scimward %s: %w: %s%s", args[0], err, out, stderr.Bytes())
	}
	return out, nil
}

// verified waits until the newest offboarding of the user is verified. It calls show with each
// state.
func (st *story) verified(ctx context.Context, show func(offboarding)) error {
	var status string
	err := stack.Poll(ctx, 50*time.Millisecond, func() (bool, error) {
		out, err := st.scimward(ctx, "evidence", st.user.ID, "--tenant", "acme", "--json")
		if err != nil {
			return false, err
		}
		var report struct {
			Status       string        `json:"status"`
			Offboardings []offboarding `json:"offboardings"`
		}
		if err := json.Unmarshal(out, &report); err != nil {
			return false, fmt.Errorf("reading the evidence: %w", err)
		}
		if len(report.Offboardings) == 0 {
			return false, errors.New("reading the evidence: it has no deactivation")
		}
		last := report.Offboardings[len(report.Offboardings)-1]
		status = report.Status
		show(last)
		return status == "verified" && last.VerifiedAt != nil, nil
	})
	if err != nil {
		return fmt.Errorf("the revocation is %q: %w", status, err)
	}
	return nil
}

func (st *story) revoked(ctx context.Context) error {
	shown := map[string]bool{}
	err := st.verified(ctx, func(o offboarding) {
		if o.BlockedAt != nil && !shown["blocked"] {
			shown["blocked"] = true
			st.d.mark(*o.BlockedAt, "blocked at, by the evidence: every request is refused from here on")
		}
		for _, k := range o.Kinds {
			if k.VerifiedAt == nil || shown[k.Kind] {
				continue
			}
			shown[k.Kind] = true
			for _, h := range k.How {
				st.d.mark(h.At, "%s revoked in the application", k.Kind)
			}
			st.d.mark(*k.VerifiedAt, "%s verified", k.Kind)
			st.d.ok(k.Kind, k.State+", then verified by "+k.VerifiedBy)
		}
	})
	if err != nil {
		return err
	}
	if err := st.ended(ctx, st.ssh); err != nil {
		return err
	}
	if s, err := st.old.OpenSSH(); err == nil {
		s.Close()
		return errors.New("the SSH key still opens sessions")
	}
	st.d.ok("the SSH session ended, its key opens no other", "")
	// Ask the application directly, without the proxy.
	tenant := *st.old.Tenant
	tenant.URL = "http://" + tenant.App.Addresses().HTTP
	inside := st.old.Clone()
	inside.Tenant = &tenant
	delete(inside.Credentials, "jwt") // a signed token cannot be revoked, so only the proxy refuses it
	if err := st.useAll(ctx, inside, refused); err != nil {
		return fmt.Errorf("in the application: %w", err)
	}
	st.d.ok("asked around the proxy, the application refuses them too", "")
	return nil
}

func (st *story) reactivate(ctx context.Context) error {
	if err := st.s.Acme.Client.Reactivate(ctx, st.user.ID); err != nil {
		return err
	}
	st.d.ok("reactivated", "")
	if err := st.useAll(ctx, st.old, refused); err != nil {
		return fmt.Errorf("after the reactivation: %w", err)
	}
	st.d.ok("every old credential is still dead", "")
	if err := st.signInAgain(ctx); err != nil {
		return err
	}
	st.d.ok("a new sign-in works", "")
	return nil
}

// signInAgain waits until the plugin has enabled the application's account again.
func (st *story) signInAgain(ctx context.Context) error {
	var status int
	err := stack.Poll(ctx, 50*time.Millisecond, func() (bool, error) {
		var err error
		status, err = st.person.SignIn(ctx)
		return status == http.StatusOK, err
	})
	if err != nil {
		return fmt.Errorf("signing in again: status %d: %w", status, err)
	}
	status, body, err := st.use(ctx, st.person, "web_session")
	if err != nil || status != http.StatusOK {
		return fmt.Errorf("using the new session: status %d %s: %w", status, body, err)
	}
	return nil
}

func (st *story) recreate(ctx context.Context) error {
	before := st.person.Clone()
	before.Credentials = map[string]string{"web_session": st.person.Credentials["web_session"]}
	acme := st.s.Acme
	if err := acme.Client.DeleteUser(ctx, st.user.ID); err != nil {
		return err
	}
	if err := st.useAll(ctx, before, locked); err != nil {
		return fmt.Errorf("after the deletion: %w", err)
	}
	st.d.ok("deleted", "the session is refused at once")
	again, err := acme.Client.CreateUser(ctx, idp.User{
		UserName: ada, ExternalID: "e-2002", DisplayName: "Ada the Second", Email: ada,
	})
	if err != nil {
		return err
	}
	if again.ID == st.user.ID {
		return errors.New("the new user has the id of the old one")
	}
	st.d.ok("created with the same userName", again.ID)
	if err := st.useAll(ctx, before, refused); err != nil {
		return fmt.Errorf("after the new creation: %w", err)
	}
	st.d.ok("the old credentials do not work for the new person", "")
	if err := st.verified(ctx, func(offboarding) {}); err != nil {
		return err
	}
	if err := st.signInAgain(ctx); err != nil {
		return err
	}
	st.d.ok("the new person signs in", "")
	// Create one more user for KEEP=1.
	_, err = acme.Client.CreateUser(ctx, idp.User{
		UserName: bob, ExternalID: "e-1002", DisplayName: "Bob", Email: bob,
	})
	return errors.Join(err, acme.Account(ctx, bob))
}

func (st *story) proof(ctx context.Context) error {
	file := filepath.Join(filepath.Dir(st.s.Config), "evidence.json")
	if _, err := st.scimward(ctx, "evidence", st.user.ID, "--tenant", "acme", "--json", "-o", file); err != nil {
		return err
	}
	keys, err := st.s.SaveJWKS(ctx, st.s.Acme)
	if err != nil {
		return err
	}
	out, err := st.s.Command(ctx, "evidence", "verify", file, "--jwks", keys).CombinedOutput()
	if err != nil {
		return fmt.Errorf("verifying the evidence: %w: %s", err, out)
	}
	st.d.ok("the report verifies offline", strings.TrimSpace(strings.TrimPrefix(string(out), file+": ")))
	text, err := st.scimward(ctx, "evidence", st.user.ID, "--tenant", "acme")
	if err != nil {
		return err
	}
	st.d.printf("\n%s", text)
	_, err = st.scimward(ctx, "evidence", st.user.ID, "--tenant", "acme", "--html", "-o", st.page)
	return err
}
