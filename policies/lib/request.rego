# METADATA
# title: Checks that every profile uses
# description: |
#   Each rule proves one fact. It is undefined if the value is absent or has another
#   type. No rule searches for a fault.
# schemas:
# - input: schema.input
package lib

# METADATA
# title: The value is a string that is not blank
# description: Undefined for every other type.
filled(value) if {
	is_string(value)
	trim_space(value) != ""
}

# METADATA
# title: The value is a list with at least one element
some_of(list) if {
	is_array(list)
	count(list) > 0
}

# METADATA
# title: The caller is a known OAuth client
# description: The access token names its client and its issuer (RFC 9068 §2.2).
authenticated if {
	is_string(input.client.id)
	input.client.id != ""
	is_string(input.client.issuer)
	input.client.issuer != ""
}

# METADATA
# title: The operation has this kind, in any letter case
# description: |
#   Entra ID sends "Add" and "Remove". This selects the rules that check an operation;
#   another rule checks its spelling.
is_kind(operation, kind) if {
	is_string(operation.op)
	lower(operation.op) == kind
}

# METADATA
# title: The parser changed nothing of these kinds
# description: It reports each change as a deviation with a code. Undefined if the deviations cannot be read.
without(codes) if {
	is_array(input.deviations)
	every deviation in input.deviations { differs(deviation, codes) }
}

# METADATA
# title: The deviation has a code, and none of these
differs(deviation, codes) if {
	is_string(deviation.code)
	not deviation.code in codes
}

# METADATA
# title: The answer to a request that violates rules
# description: |
#   `allow`, and one violation for each operation that violates a rule: rule, op (-1 for
#   the whole request), message, fix, status, scimType, mode. `places` has the operations
#   and `details` the text of each of the violations.
refusal(violations, places, details) := {
	"allow": count([id | some id in violations; mode(id) == "enforce"]) == 0,
	"violations": [violation |
		some id in violations
		some op in places[id]
		violation := {
			"rule": id,
			"op": op,
			"message": details[id].message,
			"fix": details[id].fix,
			"status": details[id].status,
			"scimType": details[id].scimType,
			"mode": mode(id),
		}
	],
}

# METADATA
# title: The rules that are enforced for every client
# description: No overlay lets a caller in without a token, with another scope, or to an unknown operation.
always := {
	"IL1-3.1-scope",
	"IL1-3.2.1-oauth",
	"IL1-3.2.2-operation",
	"RFC7644-2-client",
	"RFC7644-2-scope",
	"RFC7644-3.2-operation",
	"AL-4.1-scope",
}

# METADATA
# title: The mode in which a rule runs for the client
# description: |
#   The overlays of a client may say warn or observe. Without them, for every other value,
#   and for the rules of `always`, the rule is enforced.
mode(id) := answer if {
	not id in always
	answer := input.modes[id]
	answer in {"warn", "observe"}
} else := "enforce"

# METADATA
# title: The refusal of a token with other scopes than scim
# description: It names them. 403 is the status of RFC 6750 §3.1.
scope_refused := {
	"message": _scope_message,
	"fix": "ask the token endpoint for scope=scim and nothing else",
	"status": 403,
	"scimType": "",
}

_scope_message := message if {
	message := sprintf("the access token grants %v; the profile accepts the scope \"scim\" only", [input.client.scopes])
} else := "the access token has no scope; the profile accepts the scope \"scim\" only"

# METADATA
# title: The SCIM operations of this service
# description: Method and path template, as in RFC 7644 §3.2.
routes := {
	"GET /ServiceProviderConfig",
	"GET /ResourceTypes",
	"GET /ResourceTypes/{id}",
	"GET /Schemas",
	"GET /Schemas/{id}",
	"GET /Users",
	"POST /Users",
	"GET /Users/{id}",
	"PUT /Users/{id}",
	"PATCH /Users/{id}",
	"DELETE /Users/{id}",
	"GET /Groups",
	"POST /Groups",
	"GET /Groups/{id}",
	"PUT /Groups/{id}",
	"PATCH /Groups/{id}",
	"DELETE /Groups/{id}",
}
