package policy.test

import data.policy

counts(n) := {
	"users": 1000,
	"creates": {"10m": n},
	"deletions": {"10m": n},
	"deactivations": {"10m": n},
	"group_changes": {"10m": n},
}

create(n) := {"route": "POST /Users", "method": "POST", "resource_type": "User", "counts": counts(n)}

delete(n) := {"route": "DELETE /Users/{id}", "method": "DELETE", "resource_type": "User", "counts": counts(n)}

deactivate(n) := {
	"route": "PATCH /Users/{id}",
	"method": "PATCH",
	"resource_type": "User",
	"stored": {"active": true},
	"result": {"active": false},
	"counts": counts(n),
}

refused if {
	"brake" in object.keys(policy.requirements)
	not "brake" in policy.satisfied
}

test_few_changes_pass if {
	not refused with input as create(0)
	not refused with input as delete(0)
	not refused with input as deactivate(0)
	count(policy.hold) == 0 with input as delete(0)
}

test_many_creates_are_refused if refused with input as create(500)

test_unknown_counts_refuse if refused with input as {"route": "POST /Users"}

test_many_group_changes_are_refused if {
	refused with input as {"method": "PATCH", "resource_type": "Group", "counts": counts(500)}
}

test_many_deletions_wait_and_pass if {
	"brake" in object.keys(policy.hold) with input as delete(50)
	not refused with input as delete(50)
}

test_a_tenth_of_a_small_tenant if {
	"brake" in object.keys(policy.hold) with input as object.union(delete(9), {"counts": {"users": 60}})
	count(policy.hold) == 0 with input as object.union(delete(4), {"counts": {"users": 10}})
}

test_no_deactivation_is_refused if not refused with input as deactivate(5000)

test_deactivations_are_refused_if_the_data_say_so if {
	refused with input as deactivate(50) with data.policy.brake.stop_deactivations as true
	refused with input as delete(50) with data.policy.brake.stop_deactivations as true
	not refused with input as deactivate(49) with data.policy.brake.stop_deactivations as true
}
