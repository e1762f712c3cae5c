package policy

# METADATA
# title: A user has a costCenter
# description: |
#   The enterprise extension of RFC 7643 §4.3 carries it. The rule reads the user as the request would leave them, so a
#   PATCH may not remove it either. Who leaves needs none: a deactivation is never refused.
requirements["cost-center"] := {
	"message": "a user needs a costCenter",
	"fix": "send costCenter in the enterprise extension",
	"status": 400,
	"scimType": "invalidValue",
} if {
	input.resource_type == "User"
	input.method in {"POST", "PUT", "PATCH"}
}

satisfied contains "cost-center" if {
	center := input.result["urn:ietf:params:scim:schemas:extension:enterprise:2.0:User"].costCenter
	is_string(center)
	trim_space(center) != ""
}

satisfied contains "cost-center" if input.result.active == false
