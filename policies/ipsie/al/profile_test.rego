package ipsie.al_test

import data.ipsie.al

_client := {"id": "idp", "issuer": "https://idp.example", "scopes": ["scim"]}

_rules(request) := rules if {
	rules := {violation.rule | some violation in al.verdict.violations} with input as request
}

_request(route, extra) := object.union(
	{"route": route, "client": _client, "raw": [], "canonical": [], "deviations": []},
	extra,
)

test_allowed[name] if {
	some name, request in {
		"read": _request("GET /Users", {}),
		"create a user": _request("POST /Users", {"resource": {"userName": "ann"}}),
		"create a group without members": _request("POST /Groups", {"resource": {"displayName": "staff"}}),
		"rename a group": _request("PATCH /Groups/{id}", {"raw": [{"op": "replace", "path": "displayName", "value": "G"}]}),
		"delete": _request("DELETE /Users/{id}", {}),
	}
	al.verdict == {"allow": true, "violations": []} with input as request
}

test_includes_interop[name] if {
	some name, case in {
		"violated: path": {
			"request": _request("PATCH /Users/{id}", {"raw": [{"op": "replace", "value": {"active": false}}]}),
			"want": {"IOP-6.5.1.1-path"},
		},
		"violated: put": {
			"request": _request("PUT /Groups/{id}", {"resource": {"displayName": "staff"}}),
			"want": {"IOP-6.5-patch"},
		},
		"absent: userName": {"request": _request("POST /Users", {}), "want": {"RFC7644-3.3-userName"}},
	}
	_rules(case.request) == case.want
}

test_scope[name] if {
	some name, case in {
		"holds": {"scopes": ["scim"], "want": set()},
		"violated: more": {"scopes": ["openid", "scim"], "want": {"AL-4.1-scope"}},
		"empty": {"scopes": [], "want": {"AL-4.1-scope", "RFC7644-2-scope"}},
		"absent": {"scopes": null, "want": {"AL-4.1-scope", "RFC7644-2-scope"}},
		"wrong type": {"scopes": "scim", "want": {"AL-4.1-scope", "RFC7644-2-scope"}},
	}
	_rules(_request("GET /Users", {"client": object.union(_client, {"scopes": case.scopes})})) == case.want
}

test_password[name] if {
	some name, case in {
		"holds": {"deviations": [], "want": set()},
		"violated": {"deviations": [{"code": "PASSWORD_DROPPED", "op": -1}], "want": {"AL-6.1.2-password"}},
		"absent": {"deviations": null, "want": {"AL-6.1.2-password", "IOP-5.3-unknown"}},
		"wrong type": {"deviations": [{"code": {}}], "want": {"AL-6.1.2-password", "IOP-5.3-unknown"}},
	}
	request := _request("POST /Users", {"resource": {"userName": "ann"}, "deviations": case.deviations})
	_rules(request) == case.want
}

test_modes[name] if {
	some name, case in {
		"warn": {"modes": {"AL-6.1.2-password": "warn"}, "allow": true},
		"none": {"modes": {}, "allow": false},
	}
	request := _request("POST /Users", {
		"resource": {"userName": "ann"},
		"deviations": [{"code": "PASSWORD_DROPPED", "op": -1}], "modes": case.modes,
	})
	verdict := al.verdict with input as request
	verdict.allow == case.allow
}

test_modes_never_let_a_stranger_in if {
	modes := {"AL-4.1-scope": "warn", "RFC7644-2-client": "warn", "RFC7644-2-scope": "warn", "RFC7644-3.2-operation": "warn"}
	verdict := al.verdict with input as {"route": "POST /Bulk", "modes": modes}
	not verdict.allow
	every violation in verdict.violations { violation.mode == "enforce" }
}
