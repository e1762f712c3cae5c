package policies

import (
	"fmt"
	"strings"
)

// maxRuleID bounds the bytes of an id of a tenant's rule, without its prefix.
const maxRuleID = 64

// errRuleID says what an id is. It does not show the id, which a rule may compute from a request.
var errRuleID = fmt.Errorf("the id of a rule has 1 to %d of the characters A-Z a-z 0-9 . _ -", maxRuleID)

// isRuleID reports whether s may be the id of a tenant's rule. Lists of ids in headers, logs and the audit trail are
// divided by blanks and commas.
func isRuleID(s string) bool {
	return s != "" && len(s) <= maxRuleID && !strings.ContainsFunc(s, func(r rune) bool {
		return !strings.ContainsRune("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789._-", r)
	})
}
