# METADATA
# title: SCIM 2.0 without a stricter profile
# description: |
#   Allows what RFC 7644 allows, in every spelling that the parser understands. It is for
#   tenants whose identity service cannot follow the stricter profile yet. As there, the
#   violations are the requirements of the route that the request does not satisfy.
# related_resources:
# - ref: https://www.rfc-editor.org/rfc/rfc7644
#   description: SCIM 2.0, the protocol
# - ref: https://www.rfc-editor.org/rfc/rfc7643
#   description: SCIM 2.0, the core schema
# schemas:
# - input: schema.input
# custom:
#   profile: rfc7644
#   section: "3"
package rfc7644

import data.lib

# METADATA
# title: The verdict on one request
# description: It has the same form in every profile.
# entrypoint: true
verdict := {"allow": true, "violations": []} if count(violations) == 0

verdict := lib.refusal(violations, _places, _texts) if count(violations) > 0

_places[id] := at(id) if some id in violations

_texts[id] := text(id) if some id in violations

# METADATA
# title: Requirements that the request does not satisfy
violations := required - satisfied

# METADATA
# title: Requirements for the request
# description: |
#   Those of every request and those of its route. An unknown route does not satisfy
#   "RFC7644-3.2-operation".
required := {
	"RFC7644-2-client",
	"RFC7644-2-scope",
	"RFC7644-3.2-operation",
} | _of_route

default _of_route := set()

_of_route := {"RFC7644-3.3-userName"} if input.route in {"POST /Users", "PUT /Users/{id}"}

_of_route := {"RFC7644-3.3-displayName"} if input.route in {"POST /Groups", "PUT /Groups/{id}"}

_of_route := {
	"RFC7644-3.5.2-operations",
	"RFC7644-3.5.2-op",
	"RFC7644-3.5.2.2-path",
} if {
	input.route in {"PATCH /Users/{id}", "PATCH /Groups/{id}"}
}

# METADATA
# title: The request is authenticated
# description: RFC 7644 §2 leaves the scheme open; this service accepts OAuth 2.0 bearer tokens.
satisfied contains "RFC7644-2-client" if lib.authenticated

# METADATA
# title: The token grants SCIM
# description: Other scopes are allowed too.
satisfied contains "RFC7644-2-scope" if {
	is_array(input.client.scopes)
	"scim" in input.client.scopes
}

# METADATA
# title: The service has the operation
satisfied contains "RFC7644-3.2-operation" if input.route in lib.routes

# METADATA
# title: A complete user has a userName
# description: It is the only attribute of a user that a client must send (RFC 7643 §4.1.1).
satisfied contains "RFC7644-3.3-userName" if lib.filled(input.resource.userName)

# METADATA
# title: A complete group has a displayName
# description: RFC 7643 §4.2 requires it.
satisfied contains "RFC7644-3.3-displayName" if lib.filled(input.resource.displayName)

# METADATA
# title: A PATCH has operations
satisfied contains "RFC7644-3.5.2-operations" if lib.some_of(input.raw)

# METADATA
# title: The op is add, remove or replace
# description: In any letter case; the canonical operation has it in lower case.
satisfied contains "RFC7644-3.5.2-op" if {
	is_array(input.raw)
	every operation in input.raw { _holds("RFC7644-3.5.2-op", operation) }
}

# METADATA
# title: A remove has a path
satisfied contains "RFC7644-3.5.2.2-path" if {
	is_array(input.raw)
	every operation in input.raw { _holds("RFC7644-3.5.2.2-path", operation) }
}

_holds("RFC7644-3.5.2-op", operation) if {
	some kind in {"add", "remove", "replace"}
	lib.is_kind(operation, kind)
}

_holds("RFC7644-3.5.2.2-path", operation) if not lib.is_kind(operation, "remove")

_holds("RFC7644-3.5.2.2-path", operation) if lib.filled(operation.path)

# METADATA
# title: The operations that violate a rule
# description: |
#   -1 for the whole request. The first hundred operations come first; the others only if
#   all of these are right.
at(id) := indexes if {
	indexes := _at_fault(id, array.slice(_concerned[id], 0, 100))
	count(indexes) > 0
} else := indexes if {
	indexes := _at_fault(id, _concerned[id])
	count(indexes) > 0
} else := [-1]

_at_fault(id, list) := [i |
	some i in list
	not _holds(id, input.raw[i])
]

_concerned["RFC7644-3.5.2-op"] := _operations

_concerned["RFC7644-3.5.2.2-path"] := _operations

_operations := [i |
	is_array(input.raw)
	some i, _ in input.raw
]

# METADATA
# title: The text of a violation
text(id) := _details[id]

# Status and scimType: RFC 7644 §3.12 (Tables 8 and 9), RFC 6750 §3.1.
_details := {
	"RFC7644-2-client": {
		"message": "the request is not authenticated",
		"fix": "send an access token as Authorization: Bearer",
		"status": 401,
		"scimType": "",
	},
	"RFC7644-2-scope": {
		"message": "the access token does not grant the scope \"scim\"",
		"fix": "ask the token endpoint for scope=scim",
		"status": 403,
		"scimType": "",
	},
	"RFC7644-3.2-operation": {
		"message": "the service has no such operation",
		"fix": "use an operation of RFC 7644 section 3.2 on an endpoint that /ResourceTypes lists",
		"status": 403,
		"scimType": "",
	},
	"RFC7644-3.3-userName": {
		"message": "a user needs a userName",
		"fix": "send userName as a string that is not empty",
		"status": 400,
		"scimType": "invalidValue",
	},
	"RFC7644-3.3-displayName": {
		"message": "a group needs a displayName",
		"fix": "send displayName as a string that is not empty",
		"status": 400,
		"scimType": "invalidValue",
	},
	"RFC7644-3.5.2-operations": {
		"message": "a PATCH needs operations",
		"fix": "send Operations as an array with at least one operation",
		"status": 400,
		"scimType": "invalidSyntax",
	},
	"RFC7644-3.5.2-op": {
		"message": "the op is add, remove or replace",
		"fix": "send one of \"add\", \"remove\" and \"replace\" as op",
		"status": 400,
		"scimType": "invalidSyntax",
	},
	"RFC7644-3.5.2.2-path": {
		"message": "a remove needs a path",
		"fix": "name the attribute to remove as path",
		"status": 400,
		"scimType": "noTarget",
	},
}
