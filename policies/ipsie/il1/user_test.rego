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

_keep_id := "IL1-3.2.3-keep-externalId"

_keep_email := "IL1-3.2.3-keep-email"

_patch_user(fields) := object.union(_request("PATCH /Users/{id}"), fields)

_work := [{"value": "ann@example.com"}]

# What the operations alone prove.
test_patch_operations[name] if {
	some name, case in {
		"holds: nothing": {"canonical": [], "want": set()},
		"holds: another attribute": {"canonical": [{"op": "remove", "target": "title", "path": "title"}], "want": set()},
		"holds: new identifier": {"canonical": [{"op": "replace", "target": "externalId", "value": "e-2"}], "want": set()},
		"holds: identifier comes back": {
			"canonical": [
				{"op": "remove", "target": "externalId", "path": "externalId"},
				{"op": "add", "target": "externalId", "value": "e-2"},
			],
			"want": set(),
		},
		"holds: new address": {"canonical": [{"op": "replace", "target": "emails", "path": "emails", "value": _work}], "want": set()},
		"holds: address comes back": {
			"canonical": [
				{"op": "remove", "target": "emails", "path": "emails"},
				{"op": "add", "target": "emails", "path": "emails", "value": _work},
			],
			"want": set(),
		},
		"holds: nothing added": {"canonical": [{"op": "add", "target": "emails", "path": "emails", "value": []}], "want": set()},
		"holds: one of them, perhaps": {
			"canonical": [{"op": "remove", "target": "emails", "path": "emails[type eq \"work\"]"}],
			"want": set(),
		},
		"violated: identifier removed": {"canonical": [{"op": "remove", "target": "externalId", "path": "externalId"}], "want": {_keep_id}},
		"violated: identifier comes and goes": {
			"canonical": [{"op": "add", "target": "externalId", "value": "e-2"}, {"op": "remove", "target": "externalId"}],
			"want": {_keep_id},
		},
		"violated: blank identifier": {"canonical": [{"op": "replace", "target": "externalId", "value": " "}], "want": {_keep_id}},
		"violated: null identifier": {"canonical": [{"op": "replace", "target": "externalId", "value": null}], "want": {_keep_id}},
		"violated: addresses removed": {"canonical": [{"op": "remove", "target": "emails", "path": "emails"}], "want": {_keep_email}},
		"violated: addresses replaced by none": {
			"canonical": [{"op": "replace", "target": "emails", "path": "emails", "value": []}],
			"want": {_keep_email},
		},
		"violated: address without value": {
			"canonical": [{"op": "replace", "target": "emails", "path": "emails", "value": [{"type": "work"}]}],
			"want": {_keep_email},
		},
		"absent: path": {"canonical": [{"op": "remove", "target": "emails"}], "want": {_keep_email}},
		"absent: target": {"canonical": [{"op": "add"}], "want": {_keep_id, _keep_email}},
		"absent: operations": {"canonical": null, "want": {_keep_id, _keep_email}},
		"wrong type: target": {"canonical": [{"op": "add", "target": 7}], "want": {_keep_id, _keep_email}},
		"wrong type: value": {"canonical": [{"op": "replace", "target": "externalId", "value": ["e"]}], "want": {_keep_id}},
		"wrong type: operations": {"canonical": "remove", "want": {_keep_id, _keep_email}},
		"wrong type: operation": {"canonical": ["remove"], "want": {_keep_id, _keep_email}},
	}
	_rules(_patch_user({"canonical": case.canonical})) == case.want
}

# What the user is after them, whatever the operations say.
test_patch_result[name] if {
	bare := {"userName": "ann"}
	some name, case in {
		"holds": {"stored": _user, "result": _user, "want": set()},
		"holds: user without both": {"stored": bare, "result": bare, "want": set()},
		"holds: user gets both": {"stored": bare, "result": _user, "want": set()},
		"violated: both": {"stored": _user, "result": bare, "want": {_keep_id, _keep_email}},
		"violated: identifier": {"stored": _user, "result": object.remove(_user, ["externalId"]), "want": {_keep_id}},
		"violated: blank identifier": {"stored": _user, "result": object.union(_user, {"externalId": " "}), "want": {_keep_id}},
		"violated: addresses": {"stored": _user, "result": object.remove(_user, ["emails"]), "want": {_keep_email}},
		"violated: address without value": {
			"stored": _user,
			"result": object.union(_user, {"emails": [{"type": "work"}]}),
			"want": {_keep_email},
		},
		"empty: addresses": {"stored": _user, "result": object.union(_user, {"emails": []}), "want": {_keep_email}},
		"empty: both": {"stored": {}, "result": {}, "want": set()},
		"wrong type: identifier": {"stored": _user, "result": object.union(_user, {"externalId": 7}), "want": {_keep_id}},
		"wrong type: addresses": {"stored": _user, "result": object.union(_user, {"emails": "a@b.example"}), "want": {_keep_email}},
		"wrong type: result": {"stored": _user, "result": "x", "want": {_keep_id, _keep_email}},
		"wrong type: stored": {"stored": ["x"], "result": bare, "want": {_keep_id, _keep_email}},
		"absent: null": {"stored": null, "result": null, "want": {_keep_id, _keep_email}},
	}
	_rules(_patch_user({"stored": case.stored, "result": case.result})) == case.want
}

test_patch_without_the_user_before if {
	_rules(_patch_user({"result": {"userName": "ann"}})) == {_keep_id, _keep_email}
}

test_put_of_a_user[name] if {
	some name, case in {
		"holds but for PUT itself": {"user": _user, "want": {"IL1-3.2.4-patch"}},
		"absent: both": {"user": {"userName": "ann"}, "want": {"IL1-3.2.3-externalId", "IL1-3.2.3-email", "IL1-3.2.4-patch"}},
	}
	_rules(object.union(_request("PUT /Users/{id}"), {"resource": case.user})) == case.want
}
