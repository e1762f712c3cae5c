# METADATA
# title: IPSIE account lifecycle profile for SCIM 2.0, draft 00
# description: |
#   The successor of IL1, in levels AL1 and AL2. It includes the SCIM interoperability
#   profile (draft-schreiber-scim-ipsie-profile-00 §4.2), whose rules apply with their own ids.
# related_resources:
# - ref: https://openid.net/specs/ipsie-al-scim-profile-1_0.html
#   description: The draft
# schemas:
# - input: schema.input
# custom:
#   profile: ipsie-al-draft-00
#   section: "4"
package ipsie.al

import data.lib
import data.scim.interop

# METADATA
# title: The verdict on one request
# description: It has the same form in every profile.
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
# description: Those of the interoperability profile, and those of every request and of the route.
required := (interop.required | {"AL-4.1-scope"}) | _of_route

default _of_route := set()

_of_route := {"AL-6.1.2-password"} if input.route in {"POST /Users", "PUT /Users/{id}"}

# METADATA
# title: What the interoperability profile requires
satisfied contains id if some id in interop.satisfied

# METADATA
# title: The token has the scope scim and no other
# description: It grants no broader permission (draft-schreiber-scim-ipsie-profile-00 §4.1).
# custom:
#   requirement: AL-4.1-scope
satisfied contains "AL-4.1-scope" if input.client.scopes == ["scim"]

# METADATA
# title: The request has no password
# description: |
#   The parser refuses one, unless an overlay drops it. Then the deviation says so.
# custom:
#   requirement: AL-6.1.2-password
satisfied contains "AL-6.1.2-password" if lib.without({"PASSWORD_DROPPED"})

_at(id) := interop.at(id) if not startswith(id, "AL-")

_at(id) := [-1] if startswith(id, "AL-")

_text(id) := interop.text(id) if not startswith(id, "AL-")

_text("AL-4.1-scope") := lib.scope_refused

_text("AL-6.1.2-password") := {
	"message": "the request has a password, which the profile forbids",
	"fix": "leave password out",
	"status": 400,
	"scimType": "invalidSyntax",
}
