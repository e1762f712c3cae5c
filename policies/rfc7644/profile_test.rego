package rfc7644_test

import data.rfc7644

_client := {"id": "idp", "issuer": "https://idp.example", "scopes": ["scim"]}

_rules(request) := rules if {
	rules := {violation.rule | some violation in rfc7644.verdict.violations} with input as request
}

_request(route, extra) := object.union({"route": route, "client": _client, "raw": [], "canonical": []}, extra)

test_allowed[route] if {
	some route in {
		"GET /ServiceProviderConfig",
		"GET /Users",
		"GET /Users/{id}",
		"DELETE /Users/{id}",
		"GET /Groups",
		"GET /Groups/{id}",
		"DELETE /Groups/{id}",
	}
	rfc7644.verdict == {"allow": true, "violations": []} with input as _request(route, {})
}

test_client[name] if {
	some name, case in {
		"holds: more scopes": {"client": object.union(_client, {"scopes": ["openid", "scim"]}), "want": set()},
		"violated: other scope": {"client": object.union(_client, {"scopes": ["openid"]}), "want": {"RFC7644-2-scope"}},
		"empty: scopes": {"client": object.union(_client, {"scopes": []}), "want": {"RFC7644-2-scope"}},
		"wrong type: scopes": {"client": object.union(_client, {"scopes": "scim"}), "want": {"RFC7644-2-scope"}},
		"wrong type: scopes object": {"client": {"id": "a", "issuer": "b", "scopes": {"a": "scim"}}, "want": {"RFC7644-2-scope"}},
		"absent: id": {"client": object.remove(_client, ["id"]), "want": {"RFC7644-2-client"}},
		"absent: client": {"client": null, "want": {"RFC7644-2-client", "RFC7644-2-scope"}},
	}
	_rules({"route": "GET /Users", "client": case.client}) == case.want
}

test_operation[name] if {
	some name, route in {"violated": "POST /Bulk", "empty": "", "absent": null, "wrong type": {"GET": "/Users"}}
	_rules(_request(route, {})) == {"RFC7644-3.2-operation"}
}

test_whole_user[name] if {
	some name, case in {
		"holds: POST": {"route": "POST /Users", "resource": {"userName": "ann"}, "want": set()},
		"holds: PUT": {"route": "PUT /Users/{id}", "resource": {"userName": "ann"}, "want": set()},
		"absent": {"route": "POST /Users", "resource": {}, "want": {"RFC7644-3.3-userName"}},
		"empty": {"route": "PUT /Users/{id}", "resource": {"userName": ""}, "want": {"RFC7644-3.3-userName"}},
		"wrong type": {"route": "POST /Users", "resource": {"userName": {}}, "want": {"RFC7644-3.3-userName"}},
		"wrong type: resource": {"route": "POST /Users", "resource": "ann", "want": {"RFC7644-3.3-userName"}},
	}
	_rules(_request(case.route, {"resource": case.resource})) == case.want
}

test_whole_group[name] if {
	some name, case in {
		"holds: POST": {"route": "POST /Groups", "resource": {"displayName": "g"}, "want": set()},
		"holds: PUT": {"route": "PUT /Groups/{id}", "resource": {"displayName": "g"}, "want": set()},
		"absent": {"route": "POST /Groups", "resource": {}, "want": {"RFC7644-3.3-displayName"}},
		"empty": {"route": "PUT /Groups/{id}", "resource": {"displayName": ""}, "want": {"RFC7644-3.3-displayName"}},
		"wrong type": {"route": "POST /Groups", "resource": {"displayName": 1}, "want": {"RFC7644-3.3-displayName"}},
	}
	_rules(_request(case.route, {"resource": case.resource})) == case.want
}

# Shapes that IL1 refuses and RFC 7644 allows.
test_patch_allowed[name][route] if {
	some name, operation in {
		"add": {"op": "add", "path": "members"},
		"Entra: Remove with values": {"op": "Remove", "path": "members", "has_value": true, "value": [{"value": "U1"}]},
		"rename without path": {"op": "replace", "value": {"displayName": "G"}},
		"replace": {"op": "REPLACE", "path": "displayName", "value": "G"},
	}
	some route in {"PATCH /Users/{id}", "PATCH /Groups/{id}"}
	rfc7644.verdict.allow with input as _request(route, {"raw": [operation]})
}

test_patch_refused[name] if {
	some name, case in {
		"empty: operations": {"raw": [], "want": {"RFC7644-3.5.2-operations"}},
		"absent: operations": {"raw": null, "want": {"RFC7644-3.5.2-operations", "RFC7644-3.5.2-op", "RFC7644-3.5.2.2-path"}},
		"wrong type: operations": {
			"raw": {"a": {"op": "add"}},
			"want": {"RFC7644-3.5.2-operations", "RFC7644-3.5.2-op", "RFC7644-3.5.2.2-path"},
		},
		"violated: op": {"raw": [{"op": "merge", "path": "active"}], "want": {"RFC7644-3.5.2-op"}},
		"absent: op": {"raw": [{"path": "active"}], "want": {"RFC7644-3.5.2-op"}},
		"empty: op": {"raw": [{"op": ""}], "want": {"RFC7644-3.5.2-op"}},
		"wrong type: op": {"raw": [{"op": 1}], "want": {"RFC7644-3.5.2-op"}},
		"wrong type: operation": {"raw": ["add"], "want": {"RFC7644-3.5.2-op"}},
		"absent: path of a remove": {"raw": [{"op": "remove"}], "want": {"RFC7644-3.5.2.2-path"}},
		"empty: path of a remove": {"raw": [{"op": "remove", "path": ""}], "want": {"RFC7644-3.5.2.2-path"}},
	}
	_rules(_request("PATCH /Groups/{id}", {"raw": case.raw})) == case.want
}

test_refusal_names_the_operation if {
	raw := [{"op": "add", "path": "members"}, {"op": "remove"}, {"op": "merge"}]
	verdict := rfc7644.verdict with input as _request("PATCH /Groups/{id}", {"raw": raw})
	{[violation.rule, violation.op] | some violation in verdict.violations} == {
		["RFC7644-3.5.2.2-path", 1],
		["RFC7644-3.5.2-op", 2],
	}
}

test_refusal_finds_the_last_operation if {
	right := [{"op": "add", "path": "members"} | some _ in numbers.range(1, 150)]
	verdict := rfc7644.verdict with input as _request("PATCH /Groups/{id}", {"raw": array.concat(right, [{"op": "merge"}])})
	[violation] := verdict.violations
	violation.op == 150
}

# The overlays of a client say which rules only warn.
test_modes[mode] if {
	some mode, allow in {"warn": true, "observe": true, "enforce": false, "off": false}
	verdict := rfc7644.verdict with input as {
		"route": "POST /Groups", "client": _client, "resource": {}, "modes": {"RFC7644-3.3-displayName": mode},
	}
	verdict.allow == allow
	[violation] := verdict.violations
	violation.rule == "RFC7644-3.3-displayName"
}

test_modes_never_let_a_stranger_in if {
	modes := {"RFC7644-2-client": "warn", "RFC7644-2-scope": "observe", "RFC7644-3.2-operation": "warn"}
	verdict := rfc7644.verdict with input as {"route": "POST /Bulk", "modes": modes}
	not verdict.allow
	every violation in verdict.violations { violation.mode == "enforce" }
}
