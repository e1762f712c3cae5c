package ipsie.il1

import data.lib

# METADATA
# title: A complete user has a userName
# description: RFC 7643 §4.1.1 requires it, and IL1 §3.2.3 includes what that RFC requires.
# custom:
#   requirement: IL1-3.2.3-userName
satisfied contains "IL1-3.2.3-userName" if {
	input.route in {"POST /Users", "PUT /Users/{id}"}
	lib.filled(input.resource.userName)
}

# METADATA
# title: A complete user has the enterprise's identifier
# description: IL1 §3.2.3 requires a unique identifier of the account's owner. Here it is externalId.
# custom:
#   requirement: IL1-3.2.3-externalId
satisfied contains "IL1-3.2.3-externalId" if {
	input.route in {"POST /Users", "PUT /Users/{id}"}
	lib.filled(input.resource.externalId)
}

# METADATA
# title: A complete user has an email address
# description: IL1 §3.2.3 requires the primary email address. One value in emails is enough.
# custom:
#   requirement: IL1-3.2.3-email
satisfied contains "IL1-3.2.3-email" if {
	input.route in {"POST /Users", "PUT /Users/{id}"}
	_addressed(input.resource.emails)
}

# METADATA
# title: A PATCH keeps the enterprise's identifier
# description: |
#   IL1 §3.2.3 requires it of the account, so a PATCH may change it and not remove it. A
#   user who has none, from before the profile, may stay without one: nothing may keep such
#   a user from being deactivated.
# custom:
#   requirement: IL1-3.2.3-keep-externalId
satisfied contains "IL1-3.2.3-keep-externalId" if {
	input.route == "PATCH /Users/{id}"
	_keeps_identifier
}

# METADATA
# title: A PATCH keeps an email address
# description: The last one cannot be removed. A user who has none may stay without one.
# custom:
#   requirement: IL1-3.2.3-keep-email
satisfied contains "IL1-3.2.3-keep-email" if {
	input.route == "PATCH /Users/{id}"
	_keeps_address
}

# The proxy has only the operations, and the SCIM service also the user before and after
# them. So the service judges the result, and the proxy what the operations alone prove.
_judges_result if input.result

_keeps_identifier if {
	not _judges_result
	_readable
	every i, operation in input.canonical { _keeps("externalId", i, operation) }
}

_keeps_identifier if lib.filled(input.result.externalId)

_keeps_identifier if {
	is_object(input.result)
	is_object(input.stored)
	not _had_identifier
}

_had_identifier if lib.filled(input.stored.externalId)

_keeps_address if {
	not _judges_result
	_readable
	every i, operation in input.canonical { _keeps("emails", i, operation) }
}

_keeps_address if _addressed(input.result.emails)

_keeps_address if {
	is_object(input.result)
	is_object(input.stored)
	not _had_address
}

_had_address if _addressed(input.stored.emails)

_readable if {
	is_array(input.canonical)
	every operation in input.canonical { is_string(operation.target) }
}

# An operation keeps an attribute if it is about another one, gives it a value, or a later
# one does. The effect of a path with a filter depends on the user.
_keeps(attribute, _, operation) if operation.target != attribute

_keeps("externalId", _, operation) if lib.filled(operation.value)

_keeps("emails", _, operation) if _addressed(operation.value)

_keeps("emails", _, operation) if operation.op == "add"

_keeps("emails", _, operation) if {
	is_string(operation.path)
	operation.path != "emails"
}

_keeps(attribute, i, _) if {
	some j, later in input.canonical
	j > i
	later.target == attribute
	later.op in {"add", "replace"}
}

_addressed(emails) if {
	is_array(emails)
	some email in emails
	lib.filled(email.value)
}
