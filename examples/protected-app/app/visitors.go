package app

import (
	"crypto/sha256"
	"maps"
	"time"
)

// visit makes a session of nobody and returns its secret. An empty secret is generated.
func (s *state) visit(secret string) (string, error) {
	if secret == "" {
		secret = prefixOf(KindWebSession) + randomText()
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	now := s.now()
	maps.DeleteFunc(s.visitors, func(_ digest, end time.Time) bool { return !now.Before(end) })
	if len(s.visitors) >= maxCredentials {
		return "", errFull
	}
	s.visitors[sha256.Sum256([]byte(secret))] = now.Add(sessionTTL)
	return secret, nil
}

// visitor reports whether secret is a session of nobody.
func (s *state) visitor(secret string) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	end, ok := s.visitors[sha256.Sum256([]byte(secret))]
	return ok && s.now().Before(end)
}

// takeOver frees the id of a session, of a user or of nobody, so that it can be issued to another user. It
// reports whether there was one.
func (s *state) takeOver(secret string) bool {
	d := digest(sha256.Sum256([]byte(secret)))
	s.mu.Lock()
	defer s.mu.Unlock()
	_, ok := s.visitors[d]
	delete(s.visitors, d)
	if c := s.live[s.secrets[d]]; c != nil && c.Kind == KindWebSession {
		delete(s.live, c.ID)
		delete(s.secrets, d)
		ok = true
	}
	return ok
}
