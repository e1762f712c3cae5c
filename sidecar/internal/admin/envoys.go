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
