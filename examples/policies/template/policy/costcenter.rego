package policy

# METADATA
# title: A new user has a costCenter
# description: The enterprise extension of RFC 7643 §4.3 carries it.
requirements["cost-center"] := {
	"message": "a user needs a costCenter",
	"fix": "send costCenter in the enterprise extension",
	"status": 400,
	"scimType": "invalidValue",
} if {
	input.route == "POST /Users"
}

satisfied contains "cost-center" if {
	center := input.resource["urn:ietf:params:scim:schemas:extension:enterprise:2.0:User"].costCenter
	is_string(center)
	trim_space(center) != ""
}
