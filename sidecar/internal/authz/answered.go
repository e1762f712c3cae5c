package authz

import (
	"time"

	"github.com/scimward/scimward/sidecar/internal/request"
)

// Answered is a request with its decision and its answer, for the decision log. Who answers the request fills it
// in: the proxy or the SCIM service.
type Answered struct {
	Request  *request.Request
	Decision *Decision
	Service  bool   // the SCIM service answered, else the proxy
	Refused  bool   // by a rule, a bound or a fault; also after an allowing Decision
	Status   int    // of the answer, 0 if the application gives it
	Reason   string // why the request did not succeed
	Route    string // from a fixed set
	Resource string // id of the resource, empty until known
	Decided  time.Duration
	Took     time.Duration
}
