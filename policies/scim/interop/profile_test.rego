package scim.interop_test

import data.scim.interop

_client := {"id": "idp", "issuer": "https://idp.example", "scopes": ["scim"]}

_rules(request) := rules if {
	rules := {violation.rule | some violation in interop.verdict.violations} with input as request
}

_request(route, extra) := object.union(
	{"route": route, "client": _client, "raw": [], "canonical": [], "deviations": []},
	extra,
)

_patch(raw, deviations) := _request("PATCH /Groups/{id}", {"raw": raw, "deviations": deviations})

test_allowed[route] if {
	some route in {
		"GET /ServiceProviderConfig",
		"GET /Users",
		"GET /Users/{id}",
		"DELETE /Users/{id}",
		"GET /Groups",
		"DELETE /Groups/{id}",
	}
	interop.verdict == {"allow": true, "violations": []} with input as _request(route, {})
}

test_includes_rfc7644[name] if {
	some name, case in {
		"violated: operation": {"route": "POST /Bulk", "want": {"RFC7644-3.2-operation"}},
		"absent: userName": {"route": "POST /Users", "want": {"RFC7644-3.3-userName"}},
		"absent: displayName": {"route": "POST /Groups", "want": {"RFC7644-3.3-displayName"}},
		"empty: operations": {"route": "PATCH /Users/{id}", "want": {"RFC7644-3.5.2-operations"}},
	}
	_rules(_request(case.route, {"resource": {}})) == case.want
}

test_put[name] if {
	some name, case in {
		"user": {"route": "PUT /Users/{id}", "resource": {"userName": "ann"}},
		"group": {"route": "PUT /Groups/{id}", "resource": {"displayName": "staff"}},
	}
	_rules(_request(case.route, {"resource": case.resource})) == {"IOP-6.5-patch"}
}

test_unknown[name] if {
	some name, case in {
		"holds: others": {"deviations": [{"code": "PATH_CASE", "op": -1}], "want": set()},
		"violated: attribute": {"deviations": [{"code": "UNKNOWN_DROPPED", "op": -1}], "want": {"IOP-5.3-unknown"}},
		"violated: schema": {"deviations": [{"code": "UNKNOWN_SCHEMA", "op": -1}], "want": {"IOP-5.3-unknown"}},
		"absent: deviations": {"deviations": null, "want": {"IOP-5.3-unknown"}},
		"wrong type: code": {"deviations": [{"code": 1}], "want": {"IOP-5.3-unknown"}},
	}
	_rules(_request("POST /Users", {"resource": {"userName": "ann"}, "deviations": case.deviations})) == case.want
}

test_path[name] if {
	some name, case in {
		"holds: add": {"operation": {"op": "add", "path": "members"}, "want": set()},
		"holds: replace": {"operation": {"op": "replace", "path": "displayName", "value": "G"}, "want": set()},
		"holds: remove one": {"operation": {"op": "remove", "path": `members[value eq "u"]`}, "want": set()},
		"absent": {"operation": {"op": "replace", "value": {"displayName": "G"}}, "want": {"IOP-6.5.1.1-path"}},
		"empty": {"operation": {"op": "add", "path": " "}, "want": {"IOP-6.5.1.1-path"}},
		"wrong type": {"operation": {"op": "add", "path": ["members"]}, "want": {"IOP-6.5.1.1-path"}},
	}
	_rules(_patch([case.operation], [])) == case.want
}

test_path_of_operations_that_cannot_be_read if {
	"IOP-6.5.1.1-path" in _rules(_patch({"a": 1}, []))
}

test_array[name] if {
	some name, want in {
		"OP_CASE": set(),
		"MEMBER_OBJECT": {"IOP-6.5.2.2-array"},
		"MEMBER_STRING": {"IOP-6.5.2.2-array"},
		"VALUE_OBJECT": {"IOP-6.5.2.2-array"},
	}
	_rules(_patch([{"op": "add", "path": "members"}], [{"code": name, "op": 0}])) == want
}

test_refusal_names_the_operation if {
	raw := [{"op": "add", "path": "members"}, {"op": "replace"}, {"op": "merge", "path": "x"}]
	deviations := [{"code": "MEMBER_STRING", "op": 0}]
	verdict := interop.verdict with input as _patch(raw, deviations)
	{[violation.rule, violation.op] | some violation in verdict.violations} == {
		["IOP-6.5.1.1-path", 1],
		["IOP-6.5.2.2-array", 0],
		["RFC7644-3.5.2-op", 2],
	}
}

# Every rule has its text and, where nothing can be read, stands for the whole request.
test_refusal_of_what_cannot_be_read if {
	verdict := interop.verdict with input as {"route": "PATCH /Users/{id}"}
	required := interop.required with input as {"route": "PATCH /Users/{id}"}
	{violation.rule | some violation in verdict.violations} == required - {"RFC7644-3.2-operation"}
	every violation in verdict.violations { violation.op == -1 }
}

test_modes[mode] if {
	some mode, allow in {"warn": true, "observe": true, "enforce": false, "off": false}
	request := object.union(_patch([{"op": "replace"}], []), {"modes": {"IOP-6.5.1.1-path": mode}})
	verdict := interop.verdict with input as request
	verdict.allow == allow
}
