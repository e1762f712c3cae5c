package main

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"os/exec"
	"strings"
	"time"

	"github.com/scimward/scimward/examples/identity-service/idp"
	"github.com/scimward/scimward/examples/quickstart/stack"
)

// stranger has an account in the application and none in the directory.
func (st *story) stranger(ctx context.Context) error {
	if err := st.s.Acme.Account(ctx, eve); err != nil {
		return err
	}
	p := st.s.Person(st.s.Acme, eve)
	if status, err := p.SignIn(ctx); err != nil || status != http.StatusOK {
		return fmt.Errorf("signing a stranger in: status %d: %w", status, err)
	}
	status, body, err := st.use(ctx, p, "web_session")
	if err != nil || status != http.StatusForbidden {
		return fmt.Errorf("a stranger was answered with %d %s: %w", status, body, err)
	}
	st.d.ok("a person whom nobody provisioned is refused", strings.TrimSpace(string(body)))
	return nil
}

// refusedDeactivation sends a deactivation in a form that the profile refuses, as Entra ID does.
func (st *story) refusedDeactivation(ctx context.Context) error {
	status, body, err := st.s.Acme.Client.Raw(ctx, http.MethodPatch, "/Users/"+st.user.ID, map[string]any{
		"schemas":    []string{idp.PatchURN},
		"Operations": []any{map[string]any{"op": "replace", "path": "active", "value": "False"}},
	})
	if err != nil || status != http.StatusBadRequest {
		return fmt.Errorf("active \"False\" was answered with %d %s: %w", status, body, err)
	}
	st.d.ok(`active "False" is refused, and the person is still in`, "400")
	if status, _, err := st.use(ctx, st.person, "web_session"); err != nil || status != http.StatusOK {
		return fmt.Errorf("the person after a refused deactivation: status %d: %w", status, err)
	}
	line := ""
	err = stack.Poll(ctx, 50*time.Millisecond, func() (bool, error) {
		out, err := st.s.Command(ctx, "status", "-c", st.s.Config).Output()
		if exit := (*exec.ExitError)(nil); !errors.As(err, &exit) || exit.ExitCode() != 1 {
			return false, fmt.Errorf("scimward status with a refused deactivation: %w, want exit code 1: %s", err, out)
		}
		_, list, _ := strings.Cut(string(out), "STILL IN: REFUSED")
		for l := range strings.SplitSeq(list, "\n") {
			if strings.HasPrefix(l, st.user.ID) {
				line = strings.Join(strings.Fields(l), " ")
			}
		}
		return line != "", nil
	})
	if err != nil {
		return fmt.Errorf("looking for the refused deactivation in the status: %w", err)
	}
	st.d.ok("scimward status exits 1 and lists it", line)
	return nil
}
