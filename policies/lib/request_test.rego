package lib_test

import data.lib

test_filled[name] if {
	some name, case in {
		"holds: text": {"value": "a", "want": true},
		"violated: white space": {"value": " \t\n", "want": false},
		"empty: string": {"value": "", "want": false},
		"absent: null": {"value": null, "want": false},
		"wrong type: number": {"value": 7, "want": false},
		"wrong type: array": {"value": ["a"], "want": false},
		"wrong type: object": {"value": {"a": "a"}, "want": false},
	}
	_bool_filled(case.value) == case.want
}

test_some_of[name] if {
	some name, case in {
		"holds: one": {"value": [null], "want": true},
		"empty: array": {"value": [], "want": false},
		"absent: null": {"value": null, "want": false},
		"wrong type: object": {"value": {"0": 1}, "want": false},
		"wrong type: string": {"value": "abc", "want": false},
	}
	_bool_some(case.value) == case.want
}

test_authenticated[name] if {
	some name, case in {
		"holds": {"client": {"id": "idp", "issuer": "https://idp.example"}, "want": true},
		"absent: client": {"client": null, "want": false},
		"absent: id": {"client": {"issuer": "https://idp.example"}, "want": false},
		"absent: issuer": {"client": {"id": "idp"}, "want": false},
		"empty: id": {"client": {"id": "", "issuer": "https://idp.example"}, "want": false},
		"empty: issuer": {"client": {"id": "idp", "issuer": ""}, "want": false},
		"wrong type: id": {"client": {"id": 1, "issuer": "https://idp.example"}, "want": false},
		"wrong type: client": {"client": "idp", "want": false},
	}
	_bool_authenticated(case.client) == case.want
}

test_authenticated_without_input if not lib.authenticated with input as {}

test_is_kind[name] if {
	some name, case in {
		"holds: exact": {"operation": {"op": "add"}, "want": true},
		"holds: another case": {"operation": {"op": "ADD"}, "want": true},
		"violated: another op": {"operation": {"op": "remove"}, "want": false},
		"empty: string": {"operation": {"op": ""}, "want": false},
		"absent: op": {"operation": {}, "want": false},
		"wrong type: op": {"operation": {"op": ["add"]}, "want": false},
		"wrong type: operation": {"operation": "add", "want": false},
	}
	_bool_kind(case.operation) == case.want
}

test_mode[name] if {
	some name, case in {
		"holds: warn": {"modes": {"R": "warn"}, "want": "warn"},
		"holds: observe": {"modes": {"R": "observe"}, "want": "observe"},
		"violated: another rule": {"modes": {"S": "warn"}, "want": "enforce"},
		"violated: another word": {"modes": {"R": "off"}, "want": "enforce"},
		"empty: word": {"modes": {"R": ""}, "want": "enforce"},
		"absent: modes": {"want": "enforce"},
		"wrong type: mode": {"modes": {"R": ["warn"]}, "want": "enforce"},
		"wrong type: modes": {"modes": "warn", "want": "enforce"},
	}
	mode := lib.mode("R") with input as object.remove(case, ["want"])
	mode == case.want
}

test_no_overlay_relaxes_what_always_holds if {
	count(lib.always) > 0
	every id in lib.always {
		mode := lib.mode(id) with input as {"modes": {id: "warn"}}
		mode == "enforce"
	}
}

test_without[name] if {
	some name, case in {
		"holds: none": {"deviations": [], "want": true},
		"holds: another": {"deviations": [{"code": "OP_CASE"}], "want": true},
		"violated: one of them": {"deviations": [{"code": "OP_CASE"}, {"code": "A"}], "want": false},
		"absent: deviations": {"want": false},
		"absent: code": {"deviations": [{}], "want": false},
		"wrong type: code": {"deviations": [{"code": 7}], "want": false},
		"wrong type: deviations": {"deviations": {"a": {"code": "OP_CASE"}}, "want": false},
	}
	got := _bool_without({"A", "B"}) with input as object.remove(case, ["want"])
	got == case.want
}

test_refusal[name] if {
	some name, case in {
		"holds: enforced": {"modes": {}, "allow": false, "mode": "enforce"},
		"holds: warns": {"modes": {"R": "warn"}, "allow": true, "mode": "warn"},
	}
	text := {"message": "m", "fix": "f", "status": 400, "scimType": "s"}
	verdict := lib.refusal({"R"}, {"R": [0, 2]}, {"R": text}) with input as {"modes": case.modes}
	verdict.allow == case.allow
	verdict.violations == [object.union(text, {"rule": "R", "op": op, "mode": case.mode}) | some op in [0, 2]]
}

# A violation without its text is not reported, and refuses nevertheless.
test_refusal_without_text if {
	lib.refusal({"R"}, {"R": [-1]}, {}) == {"allow": false, "violations": []} with input as {}
}

test_scope_refused[name] if {
	some name, case in {
		"more": {"client": {"scopes": ["openid", "scim"]}, "want": "openid"},
		"none": {"client": {}, "want": "has no scope"},
	}
	text := lib.scope_refused with input as {"client": case.client}
	contains(text.message, case.want)
	text.status == 403
}

test_routes if {
	"PATCH /Groups/{id}" in lib.routes
	not "POST /Bulk" in lib.routes
}

default _bool_filled(_) := false

_bool_filled(value) if lib.filled(value)

default _bool_some(_) := false

_bool_some(list) if lib.some_of(list)

default _bool_authenticated(_) := false

_bool_authenticated(client) if lib.authenticated with input.client as client

default _bool_kind(_) := false

_bool_kind(operation) if lib.is_kind(operation, "add")

default _bool_without(_) := false

_bool_without(codes) if lib.without(codes)
