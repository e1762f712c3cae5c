package ipsie.il1_test

import data.ipsie.il1

_user := {"userName": "ann", "externalId": "e-1", "emails": [{"value": "ann@example.com"}]}

_create(resource) := {"route": "POST /Users", "client": _client, "raw": [], "canonical": [], "resource": resource}

test_create[name] if {
	some name, case in {
		"holds": {"user": _user, "want": set()},
		"holds: second email": {"user": object.union(_user, {"emails": [{"type": "home"}, {"value": "a@b.example"}]}), "want": set()},
		"absent: userName": {"user": object.remove(_user, ["userName"]), "want": {"IL1-3.2.3-userName"}},
		"empty: userName": {"user": object.union(_user, {"userName": ""}), "want": {"IL1-3.2.3-userName"}},
		"violated: blank userName": {"user": object.union(_user, {"userName": "  "}), "want": {"IL1-3.2.3-userName"}},
		"wrong type: userName": {"user": object.union(_user, {"userName": 7}), "want": {"IL1-3.2.3-userName"}},
		"absent: externalId": {"user": object.remove(_user, ["externalId"]), "want": {"IL1-3.2.3-externalId"}},
		"empty: externalId": {"user": object.union(_user, {"externalId": ""}), "want": {"IL1-3.2.3-externalId"}},
		"wrong type: externalId": {"user": object.union(_user, {"externalId": ["e-1"]}), "want": {"IL1-3.2.3-externalId"}},
		"absent: emails": {"user": object.remove(_user, ["emails"]), "want": {"IL1-3.2.3-email"}},
		"empty: emails": {"user": object.union(_user, {"emails": []}), "want": {"IL1-3.2.3-email"}},
		"violated: email without value": {"user": object.union(_user, {"emails": [{"type": "work"}]}), "want": {"IL1-3.2.3-email"}},
		"violated: blank email": {"user": object.union(_user, {"emails": [{"value": " "}]}), "want": {"IL1-3.2.3-email"}},
		"absent: emails null": {"user": object.union(_user, {"emails": null}), "want": {"IL1-3.2.3-email"}},
		"wrong type: email text": {"user": object.union(_user, {"emails": ["ann@example.com"]}), "want": {"IL1-3.2.3-email"}},
		"wrong type: email number": {"user": object.union(_user, {"emails": [{"value": 1}]}), "want": {"IL1-3.2.3-email"}},
		"empty: user": {"user": {}, "want": {"IL1-3.2.3-userName", "IL1-3.2.3-externalId", "IL1-3.2.3-email"}},
		"wrong type: user": {"user": [_user], "want": {"IL1-3.2.3-userName", "IL1-3.2.3-externalId", "IL1-3.2.3-email"}},
		"absent: user": {"user": null, "want": {"IL1-3.2.3-userName", "IL1-3.2.3-externalId", "IL1-3.2.3-email"}},
	}
	_rules(_create(case.user)) == case.want
}

# An object iterates like an array, so the rule checks the type of emails first.
test_create_with_one_email_object if {
	user := {"userName": "ann", "externalId": "e-1", "emails": {"work": {"value": "ann@example.com"}}}
	_rules(_create(user)) == {"IL1-3.2.3-email"}
}

test_create_refusal_is_invalid_value if {
	verdict := il1.verdict with input as _create(object.remove(_user, ["externalId"]))
	[violation] := verdict.violations
	violation.status == 400
	violation.scimType == "invalidValue"
	violation.op == -1
}
