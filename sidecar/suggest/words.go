package suggest

import (
	"slices"
	"strings"
	"unicode"
)

// words splits a name into folded words in the singular: userName, user_name, users.name and User-Names are user, name.
func words(name string) (out []string) {
	var word []rune
	flush := func() {
		if len(word) > 0 {
			out = append(out, singular(strings.ToLower(string(word))))
		}
		word = word[:0]
	}
	runes := []rune(name)
	for i, r := range runes {
		switch {
		case !unicode.IsLetter(r) && !unicode.IsDigit(r):
			flush()
			continue
		case unicode.IsUpper(r) && i > 0 && (!unicode.IsUpper(runes[i-1]) || i+1 < len(runes) && unicode.IsLower(runes[i+1])):
			flush() // userName, SCIMUser
		}
		word = append(word, r)
	}
	flush()
	return out
}

func singular(word string) string {
	switch {
	case strings.HasSuffix(word, "ies") && len(word) > 4:
		return strings.TrimSuffix(word, "ies") + "y"
	case strings.HasSuffix(word, "ss"), strings.HasSuffix(word, "us"), len(word) < 4:
		return word
	}
	return strings.TrimSuffix(word, "s")
}

// fold joins the words of a name.
func fold(name string) string { return strings.Join(words(name), "") }

// noun is what an operation acts on.
type noun string

// The nouns. Others are none of an account.
const (
	nobody   noun = ""
	account  noun = "account"
	member   noun = "member" // of a group, an organization, a project
	group    noun = "group"
	role     noun = "role"
	email    noun = "email"
	name     noun = "name" // one attribute of a person that SCIM supplies
	password noun = "password"
	sign     noun = "sign" // sign-up and invitations
	aspect   noun = "aspect"
	scim     noun = "scim"
	graphQL  noun = "graphql"
	key      noun = "key" // API keys, tokens, SSH keys
	session  noun = "session"
	picture  noun = "picture"
)

func nounOf(word string) noun {
	switch word {
	case "user", "people", "person", "profile", "account", "me", "self", "myself", "employee", "userinfo":
		return account
	case "member", "membership", "collaborator", "owner", "participant":
		return member
	case "group", "team":
		return group
	case "role":
		return role
	case "email", "mail":
		return email
	case "username", "displayname", "fullname", "firstname", "lastname", "name", "phone", "title", "department":
		return name
	case "password", "passwd", "passphrase":
		return password
	case "invite", "invitation", "signup", "registration", "register", "invitee":
		return sign
	case "setting", "preference", "detail", "info", "information", "attribute", "status", "state":
		return aspect
	case "scim":
		return scim
	case "graphql", "graphiql":
		return graphQL
	case "key", "token", "apikey", "secret", "credential":
		return key
	case "login", "logout", "signin", "signout", "session", "oauth", "authorize", "sso", "saml", "callback", "mfa", "otp",
		"totp", "passkey", "2fa":
		return session
	case "avatar", "picture", "photo", "image", "theme", "notification":
		return picture
	}
	return nobody
}

// verb is what an operation does, as far as a word says.
type verb string

// The verbs.
const (
	silent verb = ""
	create verb = "create"
	remove verb = "remove"
	change verb = "change"
	state  verb = "state" // an account is switched on or off
)

func verbOf(word string) verb {
	switch word {
	case "create", "add", "new", "import", "provision", "onboard", "enroll", "join", "accept", "upsert":
		return create
	case "delete", "remove", "destroy", "erase", "purge", "anonymize", "close", "leave":
		return remove
	case "update", "edit", "modify", "change", "set", "save", "put", "patch", "rename", "reset", "forgot", "forgotten",
		"recover", "confirm", "verify", "assign", "unassign", "promote", "demote", "grant", "replace", "sync", "merge":
		return change
	case "activate", "deactivate", "reactivate", "enable", "disable", "suspend", "unsuspend", "block", "unblock", "ban",
		"unban", "lock", "unlock", "approve", "reject", "archive", "unarchive", "restore", "deprovision":
		return state
	}
	return silent
}

// filler reports whether a word says nothing of what an operation acts on.
func filler(word string) bool {
	switch word {
	case "my", "own", "current", "all", "bulk", "batch", "by", "id", "the", "of", "to", "for", "in", "a", "an", "from",
		"with", "array", "list", "many", "multiple", "controller", "service", "handler", "json", "post", "get",
		"ssh", "gpg", "access", "personal":
		return true
	}
	return word != "" && strings.Trim(word, "v0123456789") == ""
}

// container reports whether a word is of what accounts are kept in, or only of how an API is ordered.
func container(word string) bool {
	switch word {
	case "admin", "administration", "api", "rest", "restapi", "public", "private", "internal", "auth", "authentication",
		"identity", "iam", "management", "manage", "system", "core", "site", "instance", "app", "org", "organization",
		"organisation", "workspace", "tenant", "company", "enterprise", "directory":
		return true
	}
	return false
}

// phrase is what a name of one or several words says.
type phrase struct {
	noun   noun   // the last one, which the operation acts on
	around []noun // those before it
	verb   verb
	plural bool
	ledger bool // accounts, which may be those of customers or of money
	within bool // it has a word of a container
	// foreign is a word that says something else. Then the name is of something else.
	foreign string
}

// read reads a segment of a path, or an operationId.
func read(text string) (p phrase) {
	all := words(text)
	if joined := strings.Join(all, ""); nounOf(joined) != nobody || joined == "signup" {
		all = []string{joined} // sign-up, display_name
	}
	for _, w := range all {
		n, v := nounOf(w), verbOf(w)
		switch {
		case n != nobody:
			if p.noun != nobody {
				p.around = append(p.around, p.noun)
			}
			p.noun, p.ledger = n, w == "account"
		case v != silent:
			if p.verb == silent || v == state {
				p.verb = v
			}
		case container(w):
			p.within = true
		case !filler(w) && p.foreign == "":
			p.foreign = w
		}
	}
	last := strings.ToLower(strings.TrimRight(text, "0123456789"))
	p.plural = strings.HasSuffix(last, "s") || strings.HasSuffix(last, "people")
	p.ledger = p.ledger && p.plural
	return p
}

// supplied returns the name that SCIM has for an attribute of an account, "" for one that it does not supply.
func supplied(f *Field) string {
	switch fold(f.Name()) {
	case "username", "login", "loginname", "userlogin", "newusername":
		return "userName"
	case "email", "mail", "emailaddress", "primaryemail", "newemail", "useremail", "workemail", "loginemail":
		return "emails"
	case "displayname":
		return "displayName"
	case "name", "fullname", "firstname", "lastname", "givenname", "familyname", "surname", "middlename", "realname",
		"legalname", "newname":
		return "name"
	case "phone", "phonenumber", "mobile", "mobilephone", "mobilenumber", "workphone", "telephone":
		return "phoneNumbers"
	case "title", "jobtitle":
		return "title"
	case "active", "isactive", "enabled", "isenabled", "disabled", "isdisabled", "blocked", "isblocked", "suspended",
		"issuspended", "deactivated", "prohibitlogin":
		return "active"
	case "status", "state", "userstatus", "accountstatus":
		if slices.ContainsFunc(f.Values, onOff) {
			return "active"
		}
	case "role", "roleid", "rolename", "isadmin", "admin", "userrole", "isowner", "issuperuser", "isstaff":
		return "roles"
	case "group", "groupid", "groupname", "team", "teamid":
		return "groups"
	case "externalid", "employeenumber", "employeeid", "department", "costcenter", "division", "manager", "managerid":
		return fold(f.Name())
	case "password", "newpassword", "currentpassword", "oldpassword", "passwordconfirmation", "confirmpassword":
		return "password"
	}
	return ""
}

func onOff(value string) bool {
	switch strings.ToLower(value) {
	case "active", "inactive", "enabled", "disabled", "suspended", "blocked", "deactivated", "locked", "archived":
		return true
	}
	return false
}

// suppliedOfGroup is supplied for a group.
func suppliedOfGroup(f *Field) string {
	switch fold(f.Name()) {
	case "name", "displayname", "groupname", "teamname":
		return "displayName"
	case "member", "memberid", "user", "userid", "username", "maintainer":
		return "members"
	case "externalid":
		return "externalid"
	}
	return ""
}

// wrapper reports whether an object in a body holds the attributes of an account.
func wrapper(name string) bool {
	switch fold(name) {
	case "user", "profile", "account", "member", "person", "attribute", "data", "input", "group", "team", "employee",
		"name":
		return true
	}
	return false
}
