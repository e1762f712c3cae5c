package ipsie.il1_test

import data.ipsie.il1

_patch(raw, canonical) := {"route": "PATCH /Groups/{id}", "client": _client, "raw": raw, "canonical": canonical}

_add := {"op": "add", "path": "members", "has_path": true, "has_value": true, "value": [{"value": "U1"}]}

_remove := {"op": "remove", "path": `members[value eq "U1"]`, "has_path": true, "has_value": false}

# The canonical form of the shapes below. The rules must refuse them nevertheless.
_canonical_add := [{"op": "add", "target": "members", "raw": 0}]

_canonical_remove := [{"op": "remove", "target": "members", "raw": 0}]

# The wire shapes that identity providers send, one a row, and the profile's verdict.
test_wire_shape[name] if {
	some name, case in {
		"holds: add": {"raw": _add, "canonical": _canonical_add, "want": set()},
		"holds: add several": {
			"raw": object.union(_add, {"value": [{"value": "U1"}, {"value": "U2", "type": "User"}]}),
			"canonical": _canonical_add,
			"want": set(),
		},
		"holds: remove one": {"raw": _remove, "canonical": _canonical_remove, "want": set()},
		"holds: remove all": {
			"raw": object.union(_remove, {"path": "members"}),
			"canonical": _canonical_remove,
			"want": set(),
		},
		"Entra: Remove with values": {
			"raw": {
				"op": "Remove",
				"path": "members",
				"has_path": true,
				"has_value": true,
				"value": [{"$ref": null, "value": "U1"}],
			},
			"canonical": _canonical_remove,
			"want": {"IL1-3.3.3-op", "IL1-3.3.3-remove-value"},
		},
		"Entra: remove with values": {
			"raw": {"op": "remove", "path": "members", "has_path": true, "has_value": true, "value": [{"value": "U1"}]},
			"canonical": _canonical_remove,
			"want": {"IL1-3.3.3-remove-value"},
		},
		"Entra: Add": {
			"raw": object.union(_add, {"op": "Add", "value": [{"$ref": null, "value": "U1"}]}),
			"canonical": _canonical_add,
			"want": {"IL1-3.3.3-op"},
		},
		"Add with ids": {
			"raw": object.union(_add, {"op": "Add", "value": ["U1"]}),
			"canonical": _canonical_add,
			"want": {"IL1-3.3.3-op", "IL1-3.3.3-add-value"},
		},
		"Entra: Replace displayName": {
			"raw": {"op": "Replace", "path": "displayName", "has_path": true, "has_value": true, "value": "G2"},
			"canonical": [{"op": "replace", "target": "displayName", "raw": 0}],
			"want": {"IL1-3.3.3-op", "IL1-3.3.3-target"},
		},
		"Okta: rename without path": {
			"raw": {"op": "replace", "has_path": false, "has_value": true, "value": {"id": "G1", "displayName": "G"}},
			"canonical": [{"op": "replace", "target": "displayName", "raw": 0}],
			"want": {"IL1-3.3.3-op", "IL1-3.3.3-target"},
		},
		"Okta: replace all members": {
			"raw": object.union(_add, {"op": "replace"}),
			"canonical": [{"op": "replace", "target": "members", "raw": 0}],
			"want": {"IL1-3.3.3-op", "IL1-3.3.3-members"},
		},
		"OneLogin: add without path": {
			"raw": {"op": "add", "has_path": false, "has_value": true, "value": {"members": [{"value": "U1"}]}},
			"canonical": _canonical_add,
			"want": {"IL1-3.3.3-add-path", "IL1-3.3.3-add-value"},
		},
		"add one object": {
			"raw": object.union(object.remove(_add, ["value"]), {"value": {"value": "U1"}}),
			"canonical": _canonical_add,
			"want": {"IL1-3.3.3-add-value"},
		},
		"wrong type: add an object of objects": {
			"raw": object.union(object.remove(_add, ["value"]), {"value": {"a": {"value": "U1"}}}),
			"canonical": _canonical_add,
			"want": {"IL1-3.3.3-add-value"},
		},
		"SailPoint: add ids": {
			"raw": object.union(_add, {"value": ["U1"]}),
			"canonical": _canonical_add,
			"want": {"IL1-3.3.3-add-value"},
		},
		"add one id": {
			"raw": object.union(_add, {"value": "U1"}),
			"canonical": _canonical_add,
			"want": {"IL1-3.3.3-add-value"},
		},
		"URN path": {
			"raw": object.union(_add, {"path": "urn:ietf:params:scim:schemas:core:2.0:Group:members"}),
			"canonical": _canonical_add,
			"want": {"IL1-3.3.3-add-path"},
		},
		"OneLogin: add to one member": {
			"raw": object.union(_add, {"path": `members[value eq "U1"]`}),
			"canonical": _canonical_add,
			"want": {"IL1-3.3.3-add-path"},
		},
		"add Members": {
			"raw": object.union(_add, {"path": "Members"}),
			"canonical": _canonical_add,
			"want": {"IL1-3.3.3-add-path"},
		},
		"add displayName": {
			"raw": object.union(_add, {"path": "displayName", "value": "G2"}),
			"canonical": [{"op": "add", "target": "displayName", "raw": 0}],
			"want": {"IL1-3.3.3-add-path", "IL1-3.3.3-add-value", "IL1-3.3.3-target"},
		},
		"remove displayName": {
			"raw": object.union(_remove, {"path": "displayName"}),
			"canonical": [{"op": "remove", "target": "displayName", "raw": 0}],
			"want": {"IL1-3.3.3-remove-path", "IL1-3.3.3-target"},
		},
		"wrong type: path": {
			"raw": object.union(_remove, {"path": 7}),
			"canonical": _canonical_remove,
			"want": {"IL1-3.3.3-remove-path"},
		},
		"absent: remove without path": {
			"raw": {"op": "remove", "has_path": false, "has_value": false},
			"canonical": _canonical_remove,
			"want": {"IL1-3.3.3-remove-path"},
		},
		"absent: add without value": {
			"raw": {"op": "add", "path": "members", "has_path": true, "has_value": false},
			"canonical": _canonical_add,
			"want": {"IL1-3.3.3-add-value"},
		},
		"absent: nothing known of the value": {
			"raw": {"op": "remove", "path": "members", "has_path": true},
			"canonical": _canonical_remove,
			"want": {"IL1-3.3.3-remove-value"},
		},
		"violated: remove with null": {
			"raw": object.union(_remove, {"has_value": true, "value": null}),
			"canonical": _canonical_remove,
			"want": {"IL1-3.3.3-remove-value"},
		},
		"empty: member id": {
			"raw": object.union(_add, {"value": [{"value": "U1"}, {"value": ""}]}),
			"canonical": _canonical_add,
			"want": {"IL1-3.3.3-add-value"},
		},
		"absent: member id": {
			"raw": object.union(_add, {"value": [{"display": "Ann"}]}),
			"canonical": _canonical_add,
			"want": {"IL1-3.3.3-add-value"},
		},
		"wrong type: member id": {
			"raw": object.union(_add, {"value": [{"value": 1}]}),
			"canonical": _canonical_add,
			"want": {"IL1-3.3.3-add-value"},
		},
		"null member": {
			"raw": object.union(_add, {"value": [null]}),
			"canonical": _canonical_add,
			"want": {"IL1-3.3.3-add-value"},
		},
		"empty: op": {"raw": object.union(_add, {"op": ""}), "canonical": _canonical_add, "want": {"IL1-3.3.3-op"}},
		"absent: op": {"raw": object.remove(_add, ["op"]), "canonical": _canonical_add, "want": {"IL1-3.3.3-op"}},
		"wrong type: op": {"raw": object.union(_add, {"op": true}), "canonical": _canonical_add, "want": {"IL1-3.3.3-op"}},
		"violated: op with a space": {"raw": object.union(_add, {"op": "add "}), "canonical": _canonical_add, "want": {"IL1-3.3.3-op"}},
		"wrong type: operation": {"raw": "add", "canonical": _canonical_add, "want": {"IL1-3.3.3-op"}},
	}
	_rules(_patch([case.raw], case.canonical)) == case.want

	# Each violation names its operation.
	every op in _ops(_patch([case.raw], case.canonical)) { op == 0 }
}

_ops(request) := ops if {
	ops := {violation.op | some violation in il1.verdict.violations} with input as request
}

test_remove_path[path] if {
	some path in {
		`members[value eq U1]`,
		`members[Value EQ "U1"]`,
		`members[value  eq "U1"]`,
		`members[value eq "U1" ]`,
		`members[value eq "U1" or value eq "U2"]`,
		`members[display eq "x"]`,
		`members[type eq "Group"]`,
		`members[value eq ""]`,
		`members[value eq "U1"].display`,
		`members[value ne "U1"]`,
		`members[value eq "a\"b"]`,
		` members`,
		`members.value`,
		``,
	}
	raw := object.union(_remove, {"path": path})
	_rules(_patch([raw], _canonical_remove)) == {"IL1-3.3.3-remove-path"}
	_ops(_patch([raw], _canonical_remove)) == {0}
}

test_remove_path_over_two_lines if {
	raw := object.union(_remove, {"path": "members[value eq \"U1\n\"]"})
	_rules(_patch([raw], _canonical_remove)) == {"IL1-3.3.3-remove-path"}
}

test_operations[name] if {
	some name, case in {
		"empty": {"raw": [], "want": {"IL1-3.3.3-operations"}},
		"absent": {"raw": null, "want": _all_of_raw},
		"wrong type: object": {"raw": {"0": _add}, "want": _all_of_raw},
		"wrong type: text": {"raw": "add", "want": _all_of_raw},
	}
	_rules(_patch(case.raw, [])) == case.want
}

_all_of_raw := {
	"IL1-3.3.3-operations",
	"IL1-3.3.3-op",
	"IL1-3.3.3-add-path",
	"IL1-3.3.3-add-value",
	"IL1-3.3.3-remove-path",
	"IL1-3.3.3-remove-value",
}

test_canonical_unproved[name] if {
	some name, case in {
		"absent": {"canonical": null, "want": {"IL1-3.3.3-target", "IL1-3.3.3-members"}},
		"wrong type": {
			"canonical": {"0": {"op": "add", "target": "members"}},
			"want": {"IL1-3.3.3-target", "IL1-3.3.3-members"},
		},
		"absent: target": {"canonical": [{"op": "add", "raw": 0}], "want": {"IL1-3.3.3-target"}},
		"wrong type: target": {"canonical": [{"op": "add", "target": ["members"], "raw": 0}], "want": {"IL1-3.3.3-target"}},
		"empty: target": {"canonical": [{"op": "add", "target": "", "raw": 0}], "want": {"IL1-3.3.3-target"}},
		"absent: op": {"canonical": [{"target": "members", "raw": 0}], "want": {"IL1-3.3.3-members"}},
		"wrong type: op": {"canonical": [{"op": ["add"], "target": "members", "raw": 0}], "want": {"IL1-3.3.3-members"}},
		"another attribute": {
			"canonical": [{"op": "add", "target": "externalId", "raw": 0}],
			"want": {"IL1-3.3.3-target"},
		},
		"replace of another attribute": {
			"canonical": [{"op": "replace", "target": "externalId", "raw": 0}],
			"want": {"IL1-3.3.3-target"},
		},
		"replace of members": {
			"canonical": [{"op": "replace", "target": "members", "raw": 0}],
			"want": {"IL1-3.3.3-members"},
		},
		"one of two": {
			"canonical": [{"op": "add", "target": "members", "raw": 0}, {"op": "add", "target": "displayName", "raw": 0}],
			"want": {"IL1-3.3.3-target"},
		},
	}
	_rules(_patch([_add], case.canonical)) == case.want
}

# A verdict names the index of each wrong operation, and no other.
test_refusal_names_the_operation if {
	canonical := [
		{"op": "add", "target": "members", "raw": 0},
		{"op": "replace", "target": "displayName", "raw": 1},
		{"op": "remove", "target": "members", "raw": 2},
	]
	raw := [
		_add,
		{"op": "replace", "has_path": false, "has_value": true, "value": {"displayName": "G"}},
		object.union(_remove, {"has_value": true, "value": []}),
	]
	verdict := il1.verdict with input as _patch(raw, canonical)
	{[violation.rule, violation.op] | some violation in verdict.violations} == {
		["IL1-3.3.3-op", 1],
		["IL1-3.3.3-target", 1],
		["IL1-3.3.3-remove-value", 2],
	}
}

test_refusal_passes_over_right_operations if {
	raw := [
		_add,
		object.union(_add, {"path": "Members"}),
		object.union(_add, {"value": ["U1"]}),
		_remove,
		object.union(_remove, {"path": "members[value eq U1]"}),
		object.union(_remove, {"has_value": true, "value": []}),
		object.union(_remove, {"path": "members"}),
	]
	canonical := [{"op": op.op, "target": "members", "raw": i} | some i, op in raw]
	verdict := il1.verdict with input as _patch(raw, canonical)
	{[violation.rule, violation.op] | some violation in verdict.violations} == {
		["IL1-3.3.3-add-path", 1],
		["IL1-3.3.3-add-value", 2],
		["IL1-3.3.3-remove-path", 4],
		["IL1-3.3.3-remove-value", 5],
	}
}

# However late it comes.
test_refusal_finds_the_last_operation if {
	right := [_add | some _ in numbers.range(1, 150)]
	raw := array.concat(right, [object.union(_add, {"op": "Add"})])
	verdict := il1.verdict with input as _patch(raw, _canonical_add)
	[violation] := verdict.violations
	violation.rule == "IL1-3.3.3-op"
	violation.op == 150
}

test_refusal_without_operations_names_the_request if {
	verdict := il1.verdict with input as _patch(null, null)
	{violation.op | some violation in verdict.violations} == {-1}
}

test_scim_types[rule] if {
	some rule, want in {
		"IL1-3.3.3-operations": "invalidSyntax",
		"IL1-3.3.3-op": "invalidSyntax",
		"IL1-3.3.3-target": "mutability",
		"IL1-3.3.3-members": "invalidSyntax",
		"IL1-3.3.3-add-path": "invalidPath",
		"IL1-3.3.3-add-value": "invalidValue",
		"IL1-3.3.3-remove-path": "invalidPath",
		"IL1-3.3.3-remove-value": "invalidSyntax",
	}
	verdict := il1.verdict with input as _patch(null, null)
	some violation in verdict.violations
	violation.rule == rule
	violation.scimType == want
	violation.status == 400
}

# The overlays of a client say which rules only warn. The verdict then allows, and still
# names every violation with its mode.
test_modes[name] if {
	some name, case in {
		"one rule warns, one is enforced": {
			"modes": {"IL1-3.3.3-op": "warn"}, "allow": false,
			"want": {"IL1-3.3.3-op": "warn", "IL1-3.3.3-remove-value": "enforce"},
		},
		"both only report": {
			"modes": {"IL1-3.3.3-op": "warn", "IL1-3.3.3-remove-value": "observe"}, "allow": true,
			"want": {"IL1-3.3.3-op": "warn", "IL1-3.3.3-remove-value": "observe"},
		},
		"unknown word": {
			"modes": {"IL1-3.3.3-op": "off", "IL1-3.3.3-remove-value": "warn"}, "allow": false,
			"want": {"IL1-3.3.3-op": "enforce", "IL1-3.3.3-remove-value": "warn"},
		},
	}
	raw := [{"op": "Remove", "path": "members", "has_path": true, "has_value": true, "value": [{"value": "u1"}]}]
	canonical := [{"op": "remove", "path": "members[value eq \"u1\"]", "target": "members", "raw": 0}]
	verdict := il1.verdict with input as {
		"route": "PATCH /Groups/{id}", "client": {"id": "idp", "issuer": "https://idp.example", "scopes": ["scim"]},
		"raw": raw, "canonical": canonical, "modes": case.modes,
	}
	verdict.allow == case.allow
	{violation.rule: violation.mode | some violation in verdict.violations} == case.want
}

test_modes_never_let_a_stranger_in if {
	modes := {"IL1-3.1-scope": "warn", "IL1-3.2.1-oauth": "observe", "IL1-3.2.2-operation": "warn"}
	verdict := il1.verdict with input as {"route": "POST /Bulk", "modes": modes}
	not verdict.allow
	every violation in verdict.violations { violation.mode == "enforce" }
}
