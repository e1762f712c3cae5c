package bundles

// SetStep calls f before each step on disk. An error stops there, as a crash would.
func (m *Manager) SetStep(f func(step string) error) { m.step = f }

// WaitBefore is waitBefore.
var WaitBefore = waitBefore
