package ipsie.il1_test

import data.ipsie.il1

_client := {"id": "idp", "issuer": "https://idp.example", "scopes": ["scim"]}

_rules(request) := rules if {
	rules := {violation.rule | some violation in il1.verdict.violations} with input as request
}

_request(route) := {"route": route, "client": _client, "raw": [], "canonical": []}

# The routes of the profile without a body to check.
test_allowed[route] if {
	some route in {
		"GET /ServiceProviderConfig",
		"GET /ResourceTypes",
		"GET /ResourceTypes/{id}",
		"GET /Schemas",
		"GET /Schemas/{id}",
		"GET /Users",
		"GET /Users/{id}",
		"PATCH /Users/{id}",
		"DELETE /Users/{id}",
		"GET /Groups",
		"POST /Groups",
		"GET /Groups/{id}",
		"DELETE /Groups/{id}",
	}
	il1.verdict == {"allow": true, "violations": []} with input as _request(route)
}

# The filters of IL1 §3.2.8, and others of RFC 7644.
test_filters_allowed[shape] if {
	some shape in {"userName eq", "externalId eq", "emails[value eq]", "other", ""}
	il1.verdict.allow with input as object.union(_request("GET /Users"), {"query": {"filter_shape": shape}})
}

# Every PATCH of RFC 7644 may change a user: IL1 §3.3.3 is about groups.
test_user_patch_is_free[name] if {
	some name, operation in {
		"another case": {"op": "Replace", "path": "active", "has_path": true, "has_value": true, "value": false},
		"without path": {"op": "replace", "has_path": false, "has_value": true, "value": {"active": false}},
	}
	canonical := [{"op": "replace", "path": "active", "target": "active", "value": false}]
	il1.verdict.allow with input as object.union(_request("PATCH /Users/{id}"), {"raw": [operation], "canonical": canonical})
}

_complete := {"IL1-3.2.3-userName", "IL1-3.2.3-externalId", "IL1-3.2.3-email"}

test_operation[name] if {
	some name, case in {
		"violated: bulk": {"route": "POST /Bulk", "want": {"IL1-3.2.2-operation"}},
		"violated: singular": {"route": "GET /Group/{id}", "want": {"IL1-3.2.2-operation"}},
		"violated: other case": {"route": "get /Users", "want": {"IL1-3.2.2-operation"}},
		"empty: route": {"route": "", "want": {"IL1-3.2.2-operation"}},
		"absent: null": {"route": null, "want": {"IL1-3.2.2-operation"}},
		"wrong type: array": {"route": ["GET /Users"], "want": {"IL1-3.2.2-operation"}},
		"put of a user": {"route": "PUT /Users/{id}", "want": ({"IL1-3.2.4-patch"} | _complete)},
		"put of a group": {"route": "PUT /Groups/{id}", "want": {"IL1-3.3.3-patch"}},
	}
	_rules(_request(case.route)) == case.want
}

test_put_is_forbidden_not_malformed[route] if {
	some route in {"PUT /Users/{id}", "PUT /Groups/{id}"}
	verdict := il1.verdict with input as object.union(_request(route), {"resource": _user})
	not verdict.allow
	[violation] := verdict.violations
	violation.status == 403
	violation.scimType == ""
	violation.op == -1
}

test_scope[name] if {
	some name, case in {
		"holds: scim": {"scopes": ["scim"], "want": set()},
		"violated: twice": {"scopes": ["scim", "scim"], "want": {"IL1-3.1-scope"}},
		"violated: broader": {"scopes": ["scim", "admin"], "want": {"IL1-3.1-scope"}},
		"violated: other": {"scopes": ["openid"], "want": {"IL1-3.1-scope"}},
		"violated: other case": {"scopes": ["SCIM"], "want": {"IL1-3.1-scope"}},
		"violated: not split": {"scopes": ["scim admin"], "want": {"IL1-3.1-scope"}},
		"empty": {"scopes": [], "want": {"IL1-3.1-scope"}},
		"absent: null": {"scopes": null, "want": {"IL1-3.1-scope"}},
		"wrong type: string": {"scopes": "scim", "want": {"IL1-3.1-scope"}},
		"wrong type: object": {"scopes": {"a": "scim"}, "want": {"IL1-3.1-scope"}},
	}
	client := object.union(_client, {"scopes": case.scopes})
	_rules({"route": "GET /Users", "client": client}) == case.want
}

test_scope_message_names_what_the_token_grants if {
	client := object.union(_client, {"scopes": ["scim", "admin"]})
	verdict := il1.verdict with input as {"route": "GET /Users", "client": client}
	contains(verdict.violations[0].message, "admin")
	verdict.violations[0].status == 403
}

test_oauth[name] if {
	some name, client in {
		"absent: id": {"issuer": "https://idp.example", "scopes": ["scim"]},
		"absent: issuer": {"id": "idp", "scopes": ["scim"]},
		"empty: id": {"id": "", "issuer": "https://idp.example", "scopes": ["scim"]},
		"wrong type: id": {"id": {}, "issuer": "https://idp.example", "scopes": ["scim"]},
	}
	_rules({"route": "GET /Users", "client": client}) == {"IL1-3.2.1-oauth"}
}

test_nothing_is_refused[name] if {
	some name, request in {"empty": {}, "null": null, "text": "GET /Users", "array": ["GET /Users"]}
	_rules(request) == {"IL1-3.1-scope", "IL1-3.2.1-oauth", "IL1-3.2.2-operation"}
}

test_refusals_tell_what_to_do[rule] if {
	some rule, request in {
		"IL1-3.2.1-oauth": {},
		"IL1-3.1-scope": {},
		"IL1-3.2.2-operation": {},
		"IL1-3.2.3-email": _request("POST /Users"),
		"IL1-3.3.3-operations": _request("PATCH /Groups/{id}"),
	}
	verdict := il1.verdict with input as request
	some violation in verdict.violations
	violation.rule == rule
	violation.message != ""
	violation.fix != ""
}
