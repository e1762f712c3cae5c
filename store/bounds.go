package store

import (
	"fmt"
	"slices"
)

// Whatever a user collects, one record must be able to lock the user and to make
// all jobs (commit.go has a record's own bounds): so the names of a user, the names
// of a lock and those that a job carries are bounded.
const (
	maxNames     = 256 // of one user
	maxNameBytes = 1 << 10
	maxNamesSize = 32 << 10
	maxHeld      = 256 // of one attribute in one lock, beside those of now
	maxHeldSize  = 64 << 10
	maxFew       = 20 // in a job
	maxFewSize   = 4 << 10
)

// checkNames refuses a change to more, or longer, names than could be locked. A
// user who has too many already can be changed otherwise.
func checkNames(before, after []name) error {
	if len(minus(after, before)) == 0 {
		return nil
	}
	size := 0
	for _, n := range after {
		if size += len(n.value); len(n.value) > maxNameBytes {
			return fmt.Errorf("%w: %s has more than %d bytes", ErrTooLarge, scimName(n.attr), maxNameBytes)
		}
	}
	if len(after) > maxNames || size > maxNamesSize {
		return fmt.Errorf("%w: more than %d e-mail addresses, or %d bytes of them", ErrTooLarge, maxNames-2, maxNamesSize)
	}
	return nil
}

// few is the beginning of values that a job can carry.
func few(values []string) []string {
	size := 0
	for i, v := range values {
		if size += len(v); i == maxFew || size > maxFewSize {
			return values[:i]
		}
	}
	return values
}

// forgetOldest takes the oldest values out of a lock that holds too many, but none
// of keep.
func (t *Tx) forgetOldest(l *Lock, keep []name) {
	for _, of := range []struct {
		attr   string
		values *[]string
	}{{attrUserName, &l.UserNames}, {attrEmail, &l.Emails}, {attrExternalID, &l.FormerIDs}} {
		n, size := len(*of.values), 0
		for _, v := range *of.values {
			size += len(v)
		}
		*of.values = slices.DeleteFunc(*of.values, func(v string) bool {
			if n <= maxHeld && size <= maxHeldSize || contains(keep, name{of.attr, v}) {
				return false
			}
			n, size = n-1, size-len(v)
			t.w.Delete(key(kindHeld, t.tenant, of.attr, v))
			return true
		})
	}
}
