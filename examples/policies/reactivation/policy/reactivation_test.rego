package policy.test

import data.policy

change(before, after) := {
	"method": "PATCH",
	"route": "PATCH /Users/{id}",
	"stored": {"externalId": "e1", "active": before},
	"result": {"externalId": "e1", "active": after},
}

refused if {
	"reactivation" in object.keys(policy.requirements)
	not "reactivation" in policy.satisfied
}

test_leaver_stays_out if refused with input as change(false, true)

test_named_leaver_returns if {
	not refused with input as change(false, true) with data.policy.may_return as ["e1"]
}

test_deactivation_passes if not refused with input as change(true, false)

test_other_change_of_a_leaver_passes if not refused with input as change(false, false)
