package scim

import "strings"

// packs reports whether Entra ID may send the value of an element of a as a JSON text: one that describes
// a role of the application.
func packs(a *Attribute) bool { return a.Name == "roles" || a.Name == "entitlements" }

// packed reports whether v looks like a JSON text with an object.
//
//	{"id":"827f…","value":"Admin","displayName":"Administrator"}
func packed(v any) bool {
	s, _ := v.(string)
	rest, found := strings.CutPrefix(strings.TrimSpace(s), "{")
	return found && strings.HasPrefix(strings.TrimSpace(rest), `"`)
}

// unpack sets value and display of the element e of a from the JSON text in its value, if it has one. The
// id is the value if the text has no other.
func (n *normalizer) unpack(a *Attribute, name string, e Object) *Error {
	if !packs(a) || !packed(e["value"]) {
		return nil
	}
	if !n.accepts(DevJSONString) {
		return typeFault(name, `objects such as {"value": "…", "display": "…"}, without a JSON text inside`)
	}
	text, err := DecodeObject([]byte(e.String("value")), DefaultLimits())
	if err != nil {
		return typeFault(name, "without a JSON text that is not well-formed")
	}
	delete(e, "value")
	var id string
	for _, key := range text.keys() {
		s, isText := text[key].(string)
		if !isText || packed(s) {
			return typeFault(name, "without anything but strings in a JSON text")
		}
		switch foldName(key) {
		case "id":
			id = s
		case "value":
			setOrDelete(e, "value", s, s != "")
		case "displayname":
			e["display"] = s
		default:
			if err := n.unknown(n.inner(name, key), s); err != nil {
				return err
			}
		}
	}
	if e.String("value") == "" {
		e["value"] = id
	}
	if e.String("value") == "" {
		return typeFault(name, "without a JSON text that has neither value nor id")
	}
	return nil
}
