package policy.breakglass_test

import data.policy

staff := {"id": "g1", "displayName": "Staff"}

members := [staff, {"id": "g2", "displayName": "BreakGlass"}]

change(method, result, groups) := {
	"method": method,
	"resource_type": "User",
	"stored": {"userName": "ada", "active": true},
	"result": result,
	"groups": groups,
	"groups_complete": true,
}

deactivation(method, groups) := change(method, {"userName": "ada", "active": false}, groups)

deletion(groups) := object.remove(deactivation("DELETE", groups), ["result"])

refused(id, request) if {
	id in object.keys(policy.requirements) with input as request
	not id in policy.satisfied with input as request
}

test_member_is_not_deactivated if {
	refused("breakglass", deactivation("PATCH", members))
	refused("breakglass", deactivation("PUT", members))
}

test_member_is_not_deleted if refused("breakglass", deletion(members))

test_member_changes if {
	not refused("breakglass", change("PATCH", {"userName": "ada", "active": true, "title": "Dr"}, members))
	not refused("breakglass", change("PUT", {"userName": "ada"}, members))
}

test_inactive_member_changes if {
	request := object.union(deactivation("PATCH", members), {"stored": {"active": false}})
	not refused("breakglass", request)
}

test_others_leave if {
	not refused("breakglass", deactivation("PATCH", [staff]))
	not refused("breakglass", deletion([]))
}

test_unknown_groups_refuse if {
	refused("breakglass", object.union(deactivation("PATCH", []), {"groups_complete": false}))
	refused("breakglass", object.remove(deactivation("PATCH", []), ["groups"]))
	refused("breakglass", deactivation("PATCH", [{"id": "g3"}]))
}

test_reads_and_creates if {
	not refused("breakglass", {"method": "GET", "resource_type": "User"})
	not refused("breakglass", {"method": "POST", "resource_type": "User"})
}

group(method, stored, result) := {
	"method": method,
	"resource_type": "Group",
	"stored": {"displayName": stored},
	"result": {"displayName": result},
}

test_group_keeps_its_name if {
	refused("breakglass-group", group("PATCH", "Breakglass", "x"))
	refused("breakglass-group", object.remove(group("DELETE", "Breakglass", "x"), ["result"]))
	refused("breakglass-group", {"method": "DELETE", "resource_type": "Group"})
	not refused("breakglass-group", group("PATCH", "Breakglass", "Breakglass"))
	not refused("breakglass-group", group("DELETE", "Staff", "x"))
}
