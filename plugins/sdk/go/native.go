//go:build !wasip1

package revoker

func register(Plugin) {}

// App plays the application in a native test.
type App func(AppRequest) AppResponse

// AppRequest is a request as the application would see it, placeholders unreplaced.
type AppRequest struct {
	Method string
	URL    string
	Path   string // with the query
	Header map[string]string
	Body   []byte
}

// AppResponse is the fake application's answer. Status 0 plays a broken connection.
type AppResponse struct {
	Status int
	Header map[string]string
	Body   string
}

// Harness runs a plugin natively, through the same JSON documents as the host.
type Harness struct {
	// Requests lists what the plugin sent.
	Requests []AppRequest
	// Logs lists what it logged.
	Logs []string
}

// Test returns a harness for p against app.
func Test(p Plugin, app App) *Harness { return nil }

// Revoke runs revoke.
func (h *Harness) Revoke(req Request) []Result { return nil }

// Verify runs verify; a kind that is absent is unknown.
func (h *Harness) Verify(req Request) map[Kind]int { return nil }

// Identify runs identify with one credential.
func (h *Harness) Identify(req Request) (Owner, error) { return Owner{}, nil }

// Health runs health.
func (h *Harness) Health() Health { return Health{} }
