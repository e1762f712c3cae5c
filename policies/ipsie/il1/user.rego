package ipsie.il1

import data.lib

# METADATA
# title: A new user has a userName
# description: RFC 7643 §4.1.1 requires it, and IL1 §3.2.3 includes what that RFC requires.
# custom:
#   requirement: IL1-3.2.3-userName
satisfied contains "IL1-3.2.3-userName" if {
	input.route == "POST /Users"
	lib.filled(input.resource.userName)
}

# METADATA
# title: A new user has the enterprise's identifier
# description: IL1 §3.2.3 requires a unique identifier of the account's owner. Here it is externalId.
# custom:
#   requirement: IL1-3.2.3-externalId
satisfied contains "IL1-3.2.3-externalId" if {
	input.route == "POST /Users"
	lib.filled(input.resource.externalId)
}

# METADATA
# title: A new user has an email address
# description: IL1 §3.2.3 requires the primary email address. One value in emails is enough.
# custom:
#   requirement: IL1-3.2.3-email
satisfied contains "IL1-3.2.3-email" if {
	input.route == "POST /Users"
	is_array(input.resource.emails)
	some email in input.resource.emails
	lib.filled(email.value)
}
