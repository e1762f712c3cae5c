# METADATA
# title: Questions that every profile asks of a request
# description: |
#   Each rule here proves something and is undefined when it cannot: on an absent
#   value and on one of another type alike. None of them searches for a fault.
# schemas:
# - input: schema.input
package lib

# METADATA
# title: The value is a string with something in it
# description: White space alone is nothing. Undefined for every other type.
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
# description: The access token named both its client and the party that issued it (RFC 9068 §2.2).
authenticated if {
	is_string(input.client.id)
	input.client.id != ""
	is_string(input.client.issuer)
	input.client.issuer != ""
}

# METADATA
# title: The operation is of one kind, in any letter case
# description: |
#   Entra ID sends "Add" and "Remove". The comparison decides which rules look at an
#   operation, never whether its spelling is right.
is_kind(operation, kind) if {
	is_string(operation.op)
	lower(operation.op) == kind
}

# METADATA
# title: The SCIM operations that this service has
# description: Method and path template, as RFC 7644 §3.2 lists them, of the endpoints it serves.
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
