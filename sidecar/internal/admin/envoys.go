package admin

import "time"

// UpdateEnvoy is what mends an [OutdatedEnvoy].
const UpdateEnvoy = "scimward envoy bootstrap -c FILE > envoy.yaml, then restart Envoy with it"

// OutdatedEnvoy is an Envoy whose configuration is older than scimward's. Requests of the app through
// it get 503, because Envoy could withhold a credential.
type OutdatedEnvoy struct {
	Tenant  string    `json:"tenant"`
	App     string    `json:"app"`
	Address string    `json:"address"` // of its listener
	Seen    time.Time `json:"seen"`    // last check
	Missing []string  `json:"missing"` // what it does not pass on: "header:x-device-credential", "body:/login"
	Fix     string    `json:"fix"`
}

// UnawareEnvoy is an Envoy whose configuration was printed for other hosts than scimward has now. It answers 404 for
// the new ones.
type UnawareEnvoy struct {
	Address string    `json:"address"` // of its listener
	Seen    time.Time `json:"seen"`    // last check
	// Hosts are those that it lacks; absent if its configuration is older than this process.
	Hosts []string `json:"hosts,omitempty"`
	Fix   string   `json:"fix"`
}
