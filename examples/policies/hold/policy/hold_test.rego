package policy.test

import data.policy

test_a_deletion_is_held if "deletion" in object.keys(policy.hold) with input as {"method": "DELETE"}

test_a_deactivation_is_not_held if count(policy.hold) == 0 with input as {"method": "PATCH"}

test_nothing_is_refused if {
	count(policy.requirements) == 0 with input as {"method": "DELETE"}
	"method" in policy.satisfied with input as {"method": "DELETE"}
	count(policy.requirements) == 1 with input as {}
}
