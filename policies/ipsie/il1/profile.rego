# METADATA
# title: IPSIE Identity Lifecycle 1 profile for SCIM 2.0
# description: |
#   Proofs of the profile's requirements. The violations are the requirements of the route
#   that the request does not satisfy. An absent value, or one of another type, proves
#   nothing, so it violates the requirement.
#
#   Rules read the operations as they were sent and in canonical form. So they can refuse
#   a shape that the profile forbids, even if its meaning is clear.
# related_resources:
# - ref: https://github.com/openid/ipsie
#   description: The working group's repository with the text of the profile
# - ref: https://www.rfc-editor.org/rfc/rfc7644
#   description: SCIM 2.0, the protocol
# schemas:
# - input: schema.input
# custom:
#   profile: ipsie-il1
#   section: "3.0"
package ipsie.il1

import data.lib

# METADATA
# title: The verdict on one request
# description: |
#   `allow`, and one violation for each requirement that is not satisfied, or one for each
#   operation (see `lib.refusal`).
# entrypoint: true
verdict := {"allow": true, "violations": []} if count(violations) == 0

verdict := lib.refusal(violations, _places, _texts) if count(violations) > 0

_places[id] := _at(id) if some id in violations

_texts[id] := _text(id) if some id in violations

# METADATA
# title: Requirements that the request does not satisfy
violations := required - satisfied

# METADATA
# title: Requirements for the request
# description: |
#   Those of every request and those of its route. An unknown route does not satisfy
#   "IL1-3.2.2-operation".
required := {
	"IL1-3.1-scope",
	"IL1-3.2.1-oauth",
	"IL1-3.2.2-operation",
} | _of_route

default _of_route := set()

_of_route := {
	"IL1-3.2.3-userName",
	"IL1-3.2.3-externalId",
	"IL1-3.2.3-email",
} if {
	input.route == "POST /Users"
}

_of_route := {
	"IL1-3.2.3-userName",
	"IL1-3.2.3-externalId",
	"IL1-3.2.3-email",
	"IL1-3.2.4-patch",
} if {
	input.route == "PUT /Users/{id}"
}

_of_route := {"IL1-3.2.3-keep-externalId", "IL1-3.2.3-keep-email"} if input.route == "PATCH /Users/{id}"

_of_route := {"IL1-3.3.3-patch"} if input.route == "PUT /Groups/{id}"

_of_route := {
	"IL1-3.3.3-operations",
	"IL1-3.3.3-target",
	"IL1-3.3.3-members",
	"IL1-3.3.3-op",
	"IL1-3.3.3-add-path",
	"IL1-3.3.3-add-value",
	"IL1-3.3.3-remove-path",
	"IL1-3.3.3-remove-value",
} if {
	input.route == "PATCH /Groups/{id}"
}

# METADATA
# title: The token has the scope scim and no other
# description: A leaked token with more scopes would open more than provisioning (IL1 §3.1).
# custom:
#   requirement: IL1-3.1-scope
satisfied contains "IL1-3.1-scope" if input.client.scopes == ["scim"]

# METADATA
# title: The operation is authenticated by OAuth 2.0
# description: The SCIM endpoints accept no other credential (IL1 §3.2.1).
# custom:
#   requirement: IL1-3.2.1-oauth
satisfied contains "IL1-3.2.1-oauth" if lib.authenticated

# METADATA
# title: The service has the operation
# description: IL1 §3.2.2, §3.3 and §3.4 list the operations. PUT exists, and other rules refuse it.
# custom:
#   requirement: IL1-3.2.2-operation
satisfied contains "IL1-3.2.2-operation" if input.route in lib.routes
