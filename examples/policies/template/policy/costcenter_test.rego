package policy.test

import data.policy

extension := "urn:ietf:params:scim:schemas:extension:enterprise:2.0:User"

leaves(method, user) := {"method": method, "resource_type": "User", "result": user}

refused if {
	"cost-center" in object.keys(policy.requirements)
	not "cost-center" in policy.satisfied
}

test_user_with_cost_center if {
	every method in ["POST", "PUT", "PATCH"] {
		not refused with input as leaves(method, {extension: {"costCenter": "4711"}})
	}
}

test_user_without_cost_center if {
	every method in ["POST", "PUT", "PATCH"] { refused with input as leaves(method, {"userName": "ada"}) }
}

test_blank_cost_center if refused with input as leaves("POST", {extension: {"costCenter": " "}})

test_leaver_needs_none if not refused with input as leaves("PATCH", {"userName": "ada", "active": false})

test_reads_and_deletions if {
	not refused with input as {"method": "GET", "resource_type": "User"}
	not refused with input as {"method": "DELETE", "resource_type": "User"}
}
