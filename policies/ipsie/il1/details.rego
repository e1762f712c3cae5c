package ipsie.il1

import data.lib

# The indexes of the operations that violate a rule, or -1 for the whole request if the
# rule is not about operations or the operations cannot be read. A thousand wrong
# operations must not cost more than a thousand right ones. So the first hundred come
# first, and the others only if all of these are right.
_at(id) := indexes if {
	indexes := _at_fault(id, array.slice(_concerned[id], 0, 100))
	count(indexes) > 0
} else := indexes if {
	indexes := _at_fault(id, _concerned[id])
	count(indexes) > 0
} else := [-1]

_at_fault(id, list) := [input.canonical[i].raw |
	some i in list
	not _holds(id, input.canonical[i])
] if {
	id in _of_canonical
}

_at_fault(id, list) := [i |
	some i in list
	not _holds(id, input.raw[i])
] if {
	not id in _of_canonical
}

# The rules about the operations that the service applies. The others are about those that were sent.
_of_canonical := {"IL1-3.3.3-target", "IL1-3.3.3-members"}

# The one-line proofs of group.rego, for one operation. Each costs a call, but only when a
# request violates the rule.
_holds("IL1-3.3.3-op", operation) if operation.op in {"add", "remove"}

_holds("IL1-3.3.3-add-path", operation) if operation.path == "members"

_holds("IL1-3.3.3-remove-value", operation) if operation.has_value == false

_holds("IL1-3.3.3-target", operation) if operation.target == "members"

# The operations that a rule is about. A rule that is not here is about the request.
_concerned["IL1-3.3.3-target"] := _applied

_concerned["IL1-3.3.3-members"] := _applied

_applied := [i |
	is_array(input.canonical)
	some i, _ in input.canonical
]

_concerned["IL1-3.3.3-op"] := [i |
	is_array(input.raw)
	some i, _ in input.raw
]

_concerned["IL1-3.3.3-add-path"] := _adds

_concerned["IL1-3.3.3-add-value"] := _adds

_concerned["IL1-3.3.3-remove-path"] := _removes

_concerned["IL1-3.3.3-remove-value"] := _removes

_text(id) := _details[id] if id != "IL1-3.1-scope"

_text("IL1-3.1-scope") := lib.scope_refused

# Status and scimType: RFC 7644 §3.12 (Tables 8 and 9), RFC 6750 §3.1.
_details := {
	"IL1-3.2.1-oauth": {
		"message": "the request is not authenticated by an OAuth 2.0 access token",
		"fix": "exchange a signed JWT for an access token and send it as Authorization: Bearer",
		"status": 401,
		"scimType": "",
	},
	"IL1-3.2.2-operation": {
		"message": "the profile has no such operation",
		"fix": "use the operations of sections 3.2 to 3.4 of the profile",
		"status": 403,
		"scimType": "",
	},
	"IL1-3.2.3-userName": {
		"message": "a user needs a userName",
		"fix": "send userName as a string that is not empty",
		"status": 400,
		"scimType": "invalidValue",
	},
	"IL1-3.2.3-externalId": {
		"message": "a user needs an externalId, the enterprise's unique identifier of the account's owner",
		"fix": "send externalId as a string that is not empty",
		"status": 400,
		"scimType": "invalidValue",
	},
	"IL1-3.2.3-email": {
		"message": "a user needs an email address",
		"fix": "send emails as an array with at least one element that has a value",
		"status": 400,
		"scimType": "invalidValue",
	},
	"IL1-3.2.3-keep-externalId": {
		"message": "the externalId of a user cannot be removed",
		"fix": "replace it, or leave the operation out",
		"status": 400,
		"scimType": "mutability",
	},
	"IL1-3.2.3-keep-email": {
		"message": "the last email address of a user cannot be removed",
		"fix": "replace it, or leave the operation out",
		"status": 400,
		"scimType": "mutability",
	},
	"IL1-3.2.4-patch": {
		"message": "the profile updates users by PATCH; PUT would replace the whole user",
		"fix": "send PATCH /Users/{id} with the attributes that change",
		"status": 403,
		"scimType": "",
	},
	"IL1-3.3.3-patch": {
		"message": "the profile changes group members by PATCH; PUT would replace the whole group",
		"fix": "send PATCH /Groups/{id} with add and remove operations on members",
		"status": 403,
		"scimType": "",
	},
	"IL1-3.3.3-operations": {
		"message": "a group PATCH needs operations",
		"fix": "send Operations as an array with at least one operation",
		"status": 400,
		"scimType": "invalidSyntax",
	},
	"IL1-3.3.3-target": {
		"message": "a group PATCH adds or removes members and changes no other attribute of the group",
		"fix": "remove the operation from the request; send only op add or remove with path members",
		"status": 400,
		"scimType": "mutability",
	},
	"IL1-3.3.3-members": {
		"message": "a group PATCH does not replace the list of members",
		"fix": "send an add for each new member, and a remove for each that leaves",
		"status": 400,
		"scimType": "invalidSyntax",
	},
	"IL1-3.3.3-op": {
		"message": "the op of a group PATCH is exactly \"add\" or \"remove\"",
		"fix": "send \"op\":\"add\" or \"op\":\"remove\", in lower case",
		"status": 400,
		"scimType": "invalidSyntax",
	},
	"IL1-3.3.3-add-path": {
		"message": "the path of an add is exactly \"members\"",
		"fix": "send \"path\":\"members\"",
		"status": 400,
		"scimType": "invalidPath",
	},
	"IL1-3.3.3-add-value": {
		"message": "the value of an add is an array of objects, each with the id of the member as its value",
		"fix": "send \"value\":[{\"value\":\"{id}\"}]",
		"status": 400,
		"scimType": "invalidValue",
	},
	"IL1-3.3.3-remove-path": {
		"message": "the path of a remove is \"members\" for all members, or members[value eq \"{id}\"] for one",
		"fix": "send one remove for each member, with path members[value eq \"{id}\"]",
		"status": 400,
		"scimType": "invalidPath",
	},
	"IL1-3.3.3-remove-value": {
		"message": "a remove has no value",
		"fix": "send one remove for each member, with path members[value eq \"{id}\"] and without value",
		"status": 400,
		"scimType": "invalidSyntax",
	},
}
