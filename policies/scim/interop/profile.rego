# METADATA
# title: SCIM 2.0 Interoperability Profile, draft 01
# description: |
#   RFC 7644 without the forms that implementations read differently: a PATCH names its
#   attributes by path, a list is an array, unknown attributes are refused, and nobody
#   updates by PUT. The rules of rfc7644 apply, and these in addition.
# related_resources:
# - ref: https://datatracker.ietf.org/doc/draft-zollner-scim-interop-profile/
#   description: The draft
# schemas:
# - input: schema.input
# custom:
#   profile: scim-interop-01
#   section: "4"
package scim.interop

import data.lib
import data.rfc7644

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
# description: Those of rfc7644, and those of the route.
required := rfc7644.required | _of_route

default _of_route := set()

_of_route := {"IOP-5.3-unknown"} if input.route in {"POST /Users", "POST /Groups"}

_of_route := {"IOP-5.3-unknown", "IOP-6.5-patch"} if input.route in {"PUT /Users/{id}", "PUT /Groups/{id}"}

_of_route := {
	"IOP-5.3-unknown",
	"IOP-6.5.1.1-path",
	"IOP-6.5.2.2-array",
} if {
	input.route in {"PATCH /Users/{id}", "PATCH /Groups/{id}"}
}

# METADATA
# title: What RFC 7644 requires
satisfied contains id if some id in rfc7644.satisfied

# METADATA
# title: The schemas have every attribute and URN of the request
# description: |
#   The parser refuses an unknown one, unless an overlay names it. Then it is dropped, and
#   the deviation says so.
# custom:
#   requirement: IOP-5.3-unknown
satisfied contains "IOP-5.3-unknown" if lib.without({"UNKNOWN_DROPPED", "UNKNOWN_SCHEMA"})

# METADATA
# title: Every operation has a path
# custom:
#   requirement: IOP-6.5.1.1-path
satisfied contains "IOP-6.5.1.1-path" if {
	is_array(input.raw)
	every operation in input.raw { _named(operation) }
}

_named(operation) if lib.filled(operation.path)

# METADATA
# title: The value of a list is an array
# description: The parser takes one element without its array, and the deviation says so.
# custom:
#   requirement: IOP-6.5.2.2-array
satisfied contains "IOP-6.5.2.2-array" if lib.without(_single)

_single := {"MEMBER_OBJECT", "MEMBER_STRING", "VALUE_OBJECT"}

# METADATA
# title: The operations that violate a rule
# description: -1 for the whole request. At most a hundred.
at(id) := rfc7644.at(id) if startswith(id, "RFC7644-")

at("IOP-6.5.1.1-path") := _first([i |
	some i, operation in input.raw
	not _named(operation)
])

at("IOP-6.5.2.2-array") := _first([deviation.op |
	some deviation in input.deviations
	not lib.differs(deviation, _single)
])

at(id) := [-1] if id in {"IOP-5.3-unknown", "IOP-6.5-patch"}

_first(list) := array.slice(list, 0, 100) if count(list) > 0

_first([]) := [-1]

# METADATA
# title: The text of a violation
text(id) := rfc7644.text(id) if startswith(id, "RFC7644-")

text(id) := _details[id]

# Status and scimType: the sections of the draft, and RFC 7644 §3.12.
_details := {
	"IOP-5.3-unknown": {
		"message": "the request has an attribute or a schema URN that the schemas do not have",
		"fix": "leave it out; /Schemas lists what exists",
		"status": 400,
		"scimType": "invalidSyntax",
	},
	"IOP-6.5-patch": {
		"message": "the profile updates resources by PATCH; PUT would replace the whole resource",
		"fix": "send PATCH with the attributes that change",
		"status": 403,
		"scimType": "",
	},
	"IOP-6.5.1.1-path": {
		"message": "an operation has no path",
		"fix": "send one operation for each attribute, and name the attribute as path",
		"status": 400,
		"scimType": "invalidSyntax",
	},
	"IOP-6.5.2.2-array": {
		"message": "the value of a list is an array of its elements",
		"fix": "send the element in an array, and a member as an object with its id as value",
		"status": 400,
		"scimType": "invalidSyntax",
	},
}
