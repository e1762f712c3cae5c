package ipsie.il1

import data.lib

# METADATA
# title: A group PATCH has operations
# description: An array with at least one operation (RFC 7644 §3.5.2); each further rule speaks of all of them.
# custom:
#   requirement: IL1-3.3.3-operations
satisfied contains "IL1-3.3.3-operations" if {
	input.route == "PATCH /Groups/{id}"
	lib.some_of(input.raw)
}

# METADATA
# title: What will be applied adds or removes members
# description: |
#   Read from the canonical operations, the ones that are applied: no spelling of a
#   rename, and no replacement of the whole list, is a membership change of §3.3.3.
# custom:
#   requirement: IL1-3.3.3-target
satisfied contains "IL1-3.3.3-target" if {
	input.route == "PATCH /Groups/{id}"
	is_array(input.canonical)
	every operation in input.canonical {
		operation.target == "members"
		operation.op in {"add", "remove"}
	}
}

# METADATA
# title: The op is add or remove
# description: Exactly so spelt, in the operation as it was sent.
# custom:
#   requirement: IL1-3.3.3-op
satisfied contains "IL1-3.3.3-op" if {
	input.route == "PATCH /Groups/{id}"
	is_array(input.raw)
	every operation in input.raw { operation.op in {"add", "remove"} }
}

# METADATA
# title: The path of an add is members
# custom:
#   requirement: IL1-3.3.3-add-path
satisfied contains "IL1-3.3.3-add-path" if {
	input.route == "PATCH /Groups/{id}"
	is_array(input.raw)
	every i in _adds { input.raw[i].path == "members" }
}

# METADATA
# title: The value of an add is an array of member elements
# description: Each element is an object that carries the id of the resource to add as its value (RFC 7643 §4.2).
# custom:
#   requirement: IL1-3.3.3-add-value
satisfied contains "IL1-3.3.3-add-value" if {
	input.route == "PATCH /Groups/{id}"
	is_array(input.raw)
	every i in _adds { _holds("IL1-3.3.3-add-value", input.raw[i]) }
}

# METADATA
# title: The path of a remove names all members or one
# custom:
#   requirement: IL1-3.3.3-remove-path
satisfied contains "IL1-3.3.3-remove-path" if {
	input.route == "PATCH /Groups/{id}"
	is_array(input.raw)
	every i in _removes { _holds("IL1-3.3.3-remove-path", input.raw[i]) }
}

# METADATA
# title: A remove has no value
# description: |
#   RFC 7644 ignores the value, so that a list of members to remove would empty the
#   group instead. The profile forbids it, and a null counts as a value.
# custom:
#   requirement: IL1-3.3.3-remove-value
satisfied contains "IL1-3.3.3-remove-value" if {
	input.route == "PATCH /Groups/{id}"
	is_array(input.raw)
	every i in _removes { input.raw[i].has_value == false }
}

# The operations that mean an add or a remove, by index, in whatever letter case: what
# they are called is judged apart from what they do. An operation that is neither has
# no place here and violates "IL1-3.3.3-op".
_adds := [i |
	is_array(input.raw)
	some i, operation in input.raw
	is_string(operation.op)
	lower(operation.op) == "add"
]

_removes := [i |
	is_array(input.raw)
	some i, operation in input.raw
	is_string(operation.op)
	lower(operation.op) == "remove"
]

# What takes more than one line to say of an operation is said once, here, for the rule
# and for details.rego, which finds the operations at fault.
_holds("IL1-3.3.3-add-value", operation) if {
	is_array(operation.value)
	every member in operation.value {
		is_string(member.value)
		member.value != ""
	}
}

_holds("IL1-3.3.3-remove-path", operation) if operation.path == "members"

# The id is one JSON string without escapes: the ids of this service need none.
_holds("IL1-3.3.3-remove-path", operation) if {
	is_string(operation.path)
	regex.match(`^members\[value eq "[^"\\\x00-\x1f]+"\]$`, operation.path)
}
