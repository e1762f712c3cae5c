package policy

# METADATA
# title: Leavers come back only by name
# description: |
#   The identity service cannot make an inactive user active again, by PATCH, PUT or a POST that means the user,
#   until data.policy.may_return has the externalId. A deactivation is never refused.
requirements["reactivation"] := {
	"message": "this user left and may not become active again",
	"fix": "ask the security team to add the externalId to may_return",
	"mode": "enforce",
} if {
	input.stored.active == false
	input.result.active == true
}

satisfied contains "reactivation" if input.stored.externalId in data.policy.may_return
