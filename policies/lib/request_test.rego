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
