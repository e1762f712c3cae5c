package policy

# METADATA
# title: A brake on mass changes
# description: |
#   More than count, or percent of the users, in the window (1m, 10m or 60m): creates and changes of groups are refused,
#   and deletions in the applications wait for `scimward approvals`. A request that ends access is refused only with
#   stop_deactivations. Then `scimward status` shows who is still in.
requirements["brake"] := {
	"message": sprintf("too many changes in %s: %s", [data.policy.brake.window, concat(", ", stopped)]),
	"fix": "send it again later, or ask the operator to raise the limit of the brake",
} if {
	count(stopped) > 0
}

satisfied contains "brake" if {
	is_number(input.counts.users)
	count(stopped & over) == 0
}

hold["brake"] := {"message": sprintf("more deletions in %s than the brake allows", [data.policy.brake.window])} if {
	input.method == "DELETE"
	"deletions" in over
}

# The kinds of change that have reached their limit.
over contains kind if {
	some kind, limit in data.policy.brake.limits
	input.counts[kind][data.policy.brake.window] >= limit.count
}

over contains kind if {
	some kind, limit in data.policy.brake.limits
	done := input.counts[kind][data.policy.brake.window]
	done >= limit.least
	(done + 1) * 100 > limit.percent * input.counts.users
}

# The kinds of change that the request makes and that the brake may refuse.
stopped contains "creates" if input.route == "POST /Users"

stopped contains "group_changes" if {
	input.resource_type == "Group"
	input.method in {"POST", "PUT", "PATCH", "DELETE"}
}

stopped contains "deletions" if {
	data.policy.brake.stop_deactivations == true
	input.route == "DELETE /Users/{id}"
}

stopped contains "deactivations" if {
	data.policy.brake.stop_deactivations == true
	input.resource_type == "User"
	input.result.active == false
	not input.stored.active == false
}
