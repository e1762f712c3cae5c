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
# title: The mode in which a rule runs for the client
# description: |
#   The overlays of a client may say warn or observe. Without them, and for every other
#   value, the rule is enforced.
mode(id) := answer if {
	answer := input.modes[id]
	answer in {"warn", "observe"}
} else := "enforce"

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
