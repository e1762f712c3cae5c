package store

// ForgetLocks empties the lock table, to measure what it held.
func ForgetLocks(s *Store) {
	s.locks.mu.Lock()
	defer s.locks.mu.Unlock()
	s.locks.tenants = map[string]*tenantLocks{}
}
