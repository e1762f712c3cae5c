package ipsie.il1

import data.lib

# METADATA
# title: A group PATCH has operations
# description: An array with at least one operation (RFC 7644 §3.5.2). The other rules check each of them.
# custom:
#   requirement: IL1-3.3.3-operations
satisfied contains "IL1-3.3.3-operations" if {
	input.route == "PATCH /Groups/{id}"
	lib.some_of(input.raw)
}

# METADATA
# title: The applied operations change members and nothing else
# description: |
#   Reads the canonical operations, which are the ones that the service applies. A rename
#   in any spelling is not a membership change of IL1 §3.3.3.
# custom:
#   requirement: IL1-3.3.3-target
satisfied contains "IL1-3.3.3-target" if {
	input.route == "PATCH /Groups/{id}"
	is_array(input.canonical)
	every operation in input.canonical { operation.target == "members" }
}

# METADATA
# title: The applied operations add members or remove them
# description: |
#   They do not replace the list, in any spelling. A list that is cut short would remove
#   the others.
# custom:
#   requirement: IL1-3.3.3-members
satisfied contains "IL1-3.3.3-members" if {
	input.route == "PATCH /Groups/{id}"
	is_array(input.canonical)
	every operation in input.canonical { _holds("IL1-3.3.3-members", operation) }
}

# METADATA
# title: The op is add or remove
# description: In exactly this spelling, in the operation as it was sent.
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
# title: The value of an add is an array of members
# description: Each is an object with the id of the member as its value (RFC 7643 §4.2).
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
#   RFC 7644 ignores the value, so a list of members to remove would empty the group
#   instead. The profile forbids a value; null counts as one.
# custom:
#   requirement: IL1-3.3.3-remove-value
satisfied contains "IL1-3.3.3-remove-value" if {
	input.route == "PATCH /Groups/{id}"
	is_array(input.raw)
	every i in _removes { input.raw[i].has_value == false }
}

# The indexes of adds and removes, in any letter case: another rule checks the spelling.
# An operation that is neither violates "IL1-3.3.3-op".
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

# Proofs of more than one line, shared by the rules and by details.rego, which finds the
# operations that violate them.
_holds("IL1-3.3.3-add-value", operation) if {
	is_array(operation.value)
	every member in operation.value {
		is_string(member.value)
		member.value != ""
	}
}

_holds("IL1-3.3.3-members", operation) if operation.op in {"add", "remove"}

_holds("IL1-3.3.3-members", operation) if {
	is_string(operation.target)
	operation.target != "members"
}

_holds("IL1-3.3.3-remove-path", operation) if operation.path == "members"

# The id is a JSON string without escapes: the ids of this service need none.
_holds("IL1-3.3.3-remove-path", operation) if {
	is_string(operation.path)
	regex.match(`^members\[value eq "[^"\\\x00-\x1f]+"\]$`, operation.path)
}
