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
	every operation in input.canonical { _on_members(operation) }
}

# METADATA
# title: The op is add or remove
# description: Exactly so spelt, in the operation as it was sent.
# custom:
#   requirement: IL1-3.3.3-op
satisfied contains "IL1-3.3.3-op" if {
	input.route == "PATCH /Groups/{id}"
	is_array(input.raw)
	every operation in input.raw { _holds("IL1-3.3.3-op", operation) }
}

# METADATA
# title: The path of an add is members
# custom:
#   requirement: IL1-3.3.3-add-path
satisfied contains "IL1-3.3.3-add-path" if {
	input.route == "PATCH /Groups/{id}"
	is_array(input.raw)
	every operation in input.raw { _holds("IL1-3.3.3-add-path", operation) }
}

# METADATA
# title: The value of an add is an array of member elements
# description: Each element is an object that carries the id of the resource to add as its value (RFC 7643 §4.2).
# custom:
#   requirement: IL1-3.3.3-add-value
satisfied contains "IL1-3.3.3-add-value" if {
	input.route == "PATCH /Groups/{id}"
	is_array(input.raw)
	every operation in input.raw { _holds("IL1-3.3.3-add-value", operation) }
}

# METADATA
# title: The path of a remove names all members or one
# custom:
#   requirement: IL1-3.3.3-remove-path
satisfied contains "IL1-3.3.3-remove-path" if {
	input.route == "PATCH /Groups/{id}"
	is_array(input.raw)
	every operation in input.raw { _holds("IL1-3.3.3-remove-path", operation) }
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
	every operation in input.raw { _holds("IL1-3.3.3-remove-value", operation) }
}

# Each clause names the rule that it belongs to: the rules above ask it of every
# operation, and _at asks it again to find the operations at fault.
_holds("IL1-3.3.3-op", operation) if operation.op in {"add", "remove"}

_holds("IL1-3.3.3-add-path", operation) if not lib.is_kind(operation, "add")

_holds("IL1-3.3.3-add-path", operation) if operation.path == "members"

_holds("IL1-3.3.3-add-value", operation) if not lib.is_kind(operation, "add")

_holds("IL1-3.3.3-add-value", operation) if {
	is_array(operation.value)
	every member in operation.value { lib.filled(member.value) }
}

_holds("IL1-3.3.3-remove-path", operation) if not lib.is_kind(operation, "remove")

_holds("IL1-3.3.3-remove-path", operation) if operation.path == "members"

# The id is one JSON string without escapes: the ids of this service need none.
_holds("IL1-3.3.3-remove-path", operation) if {
	is_string(operation.path)
	regex.match(`^members\[value eq "[^"\\\x00-\x1f]+"\]$`, operation.path)
}

_holds("IL1-3.3.3-remove-value", operation) if not lib.is_kind(operation, "remove")

_holds("IL1-3.3.3-remove-value", operation) if operation.has_value == false

_on_members(operation) if {
	operation.target == "members"
	operation.op in {"add", "remove"}
}
