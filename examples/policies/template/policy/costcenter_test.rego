package policy.test

import data.policy

extension := "urn:ietf:params:scim:schemas:extension:enterprise:2.0:User"

create(resource) := {"method": "POST", "route": "POST /Users", "resource": resource}

test_user_with_cost_center if {
	"cost-center" in policy.satisfied with input as create({extension: {"costCenter": "4711"}})
}

test_user_without_cost_center if {
	request := create({"userName": "ada"})
	"cost-center" in object.keys(policy.requirements) with input as request
	not "cost-center" in policy.satisfied with input as request
}

test_blank_cost_center if {
	not "cost-center" in policy.satisfied with input as create({extension: {"costCenter": " "}})
}
