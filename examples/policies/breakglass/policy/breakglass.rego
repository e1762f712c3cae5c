package policy

# METADATA
# title: Members of Breakglass stay active
# description: |
#   The accounts for an emergency must work when the identity service does not, or when it is in the wrong hands.
requirements["breakglass"] := {
	"message": "a member of Breakglass may not be deactivated or deleted",
	"fix": "take the user out of the group Breakglass first",
} if {
	input.resource_type == "User"
	input.method in {"PUT", "PATCH", "DELETE"}
}

satisfied contains "breakglass" if input.result.active == true

# An absent active means true.
satisfied contains "breakglass" if {
	is_object(input.result)
	not "active" in object.keys(input.result)
}

satisfied contains "breakglass" if {
	input.method != "DELETE"
	input.stored.active == false
}

satisfied contains "breakglass" if {
	input.groups_complete == true
	every group in input.groups { is_other(group.displayName) }
}

# METADATA
# title: The group Breakglass keeps its name
# description: Without this rule a client renames the group, and its members are protected no longer.
requirements["breakglass-group"] := {
	"message": "the group Breakglass may not be deleted or renamed",
	"fix": "change its members only",
} if {
	input.resource_type == "Group"
	input.method in {"PUT", "PATCH", "DELETE"}
}

satisfied contains "breakglass-group" if is_breakglass(input.result.displayName)

satisfied contains "breakglass-group" if is_other(input.stored.displayName)

is_breakglass(name) if lower(name) == "breakglass"

# An unknown name is no other name.
is_other(name) if lower(name) != "breakglass"
