package suggest

import (
	"cmp"
	"net/http"
	"slices"
	"strings"
)

// Confidence says how sure a proposal is.
type Confidence string

// The choices, the surest first.
const (
	High   Confidence = "high"
	Medium Confidence = "medium"
	// Low needs somebody who knows the application. The YAML has it as a comment.
	Low Confidence = "low"
)

func (c Confidence) rank() int { return slices.Index([]Confidence{High, Medium, Low}, c) }

func weaker(a, b Confidence) Confidence {
	if a.rank() > b.rank() {
		return a
	}
	return b
}

// verdict is what is made of one operation.
type verdict struct {
	op         *Operation
	propose    bool
	confidence Confidence
	reason     string
	notes      []string
	creates    bool // so that every request names who or what is created
	// fields limits the denial to requests with one of them. Empty: every request is denied.
	fields []string
	free   []string // fields of the body that pass
	// left says why an operation that has to do with accounts is not proposed. Empty with propose false: it has nothing
	// to do with them.
	left string
}

// place is where in the application an operation acts.
type place struct {
	phrase

	item    bool   // the path ends with a parameter: one of several
	through string // a resource that the path goes through and that is none of an account
}

// of reports whether what the operation acts on belongs to n.
func (p *place) of(n noun) bool { return slices.Contains(p.around, n) }

// locate reads a path from its end: the last literal segment that names a thing, with the verbs behind it.
func locate(path string) (p place) {
	segments := strings.FieldsFunc(path, func(r rune) bool { return r == '/' })
	for i, s := range segments { // what stands before a version is no resource
		if len(s) > 1 && (s[0] == 'v' || s[0] == 'V') && strings.Trim(s[1:], "0123456789.") == "" {
			segments = segments[i+1:]
			break
		} else if fold(s) == string(scim) || strings.HasPrefix(s, "{") {
			break
		}
	}
	var v verb
	found := false
	for i, s := range slices.Backward(segments) {
		if name, _ := parameter(s); name != "" {
			p.item = p.item || i == len(segments)-1
			continue
		}
		read := read(s)
		switch {
		case !found && read.foreign == "" && read.noun == nobody && !read.within:
			v = cmp.Or(v, read.verb)
		case !found:
			found = true
			p.phrase, p.around = read, read.around
			p.verb = cmp.Or(v, read.verb)
		default:
			p.through = cmp.Or(p.through, read.foreign)
			p.around = append(append(p.around, read.around...), read.noun)
		}
	}
	return p
}

// judge makes a verdict of one operation that writes.
func judge(o *Operation) verdict {
	at := locate(o.Path)
	if at.of(scim) || at.noun == scim {
		return whole(o, High, "a SCIM service of the application's own")
	}
	if v := judgeAt(o, &at); v.propose || v.left != "" {
		return v
	}
	if slices.Contains([]noun{key, session, picture, graphQL}, at.noun) {
		return verdict{op: o}
	}
	if id := read(o.ID); id.foreign == "" && id.noun != nobody && id.verb != silent {
		named := place{phrase: id, item: at.item, through: cmp.Or(at.through, at.foreign)}
		named.around = append(named.around, at.around...)
		if v := judgeAt(o, &named); v.propose {
			v.confidence = weaker(v.confidence, Medium)
			v.notes = append(v.notes, "found by its operationId only")
			return v
		}
	}
	return judgeBody(o)
}

// judgeAt judges an operation by what it acts on.
func judgeAt(o *Operation, at *place) verdict {
	if at.foreign != "" {
		return verdict{op: o}
	}
	var v verdict
	switch at.noun {
	case account:
		v = judgeAccount(o, at)
	case member:
		v = judgeMember(o, at)
	case group:
		v = judgeGroup(o, at)
	case role:
		v = whole(o, High, "changes the roles of an account")
		if !at.of(account) && !at.of(member) {
			v = whole(o, Low, "changes what a role is: the identity service supplies who has it")
		}
	case email:
		v = judgeAttribute(o, at, "changes an e-mail address")
	case name:
		v = judgeAttribute(o, at, "changes a name or another attribute that the identity service supplies")
	case password:
		v = whole(o, High, "changes a password")
	case sign:
		v = judgeSign(o)
	case aspect:
		v = judgeAspect(o, at)
	case graphQL:
		return judgeGraphQL(o)
	case key:
		if at.through != "" {
			return verdict{op: o}
		}
		return verdict{op: o, left: "keys and tokens stay free: they work only while the account is active"}
	default:
		return verdict{op: o}
	}
	if v.propose && at.through != "" {
		v.confidence = Low
		v.notes = append(v.notes, "it belongs to "+short(at.through)+", which the identity service may not supply")
	}
	return v
}

// creation is whole for an operation that only creates.
func creation(o *Operation, c Confidence, reason string) verdict {
	v := whole(o, c, reason)
	v.creates = true
	return v
}

func whole(o *Operation, c Confidence, reason string) verdict {
	return verdict{op: o, propose: true, confidence: c, reason: reason}
}

// act is what an operation does, by its verb or its method.
func (p *place) act(o *Operation) verb {
	switch {
	case o.Method == http.MethodDelete:
		return remove
	case p.verb != silent:
		return p.verb
	case o.Method == http.MethodPost && p.plural && !p.item:
		return create
	}
	return change
}

func judgeAccount(o *Operation, at *place) verdict {
	if at.of(group) {
		return whole(o, Medium, "changes who is in a group")
	}
	c := High
	if at.ledger {
		c = Medium
	}
	switch at.act(o) {
	case create:
		return creation(o, c, "creates an account")
	case remove:
		return whole(o, c, "deletes an account")
	case state:
		return whole(o, c, "switches an account on or off")
	default:
		v := update(o, c, "an account", supplied)
		if o.Method == http.MethodPost && at.verb == silent {
			v.reason = "creates or " + v.reason
		}
		return v
	}
}

func judgeMember(o *Operation, at *place) verdict {
	if at.act(o) == change && slices.ContainsFunc(o.Body.Fields, identifies) {
		return update(o, Medium, "a member", supplied)
	}
	return whole(o, Medium, "changes who is a member, or a member's role")
}

func judgeGroup(o *Operation, at *place) verdict {
	switch act := at.act(o); {
	case at.of(account) && act != create:
		return whole(o, Medium, "changes the groups of an account")
	case act == create:
		return creation(o, Medium, "creates a group")
	case act == remove:
		return whole(o, Medium, "deletes a group, or takes somebody out of it")
	case act == state:
		return whole(o, Medium, "switches a group on or off")
	}
	return update(o, Medium, "a group", suppliedOfGroup)
}

// judgeAttribute judges a route of one attribute. Without an account around it, /emails may as well send mail.
func judgeAttribute(o *Operation, at *place, reason string) verdict {
	switch {
	case at.of(account) || at.of(member):
		return whole(o, High, reason)
	case at.noun == email && at.verb == change:
		return whole(o, Medium, reason)
	}
	return verdict{op: o}
}

func judgeSign(o *Operation) verdict {
	if o.Method == http.MethodDelete {
		return verdict{op: o, left: "taking back an invitation creates no account"}
	}
	return creation(o, High, "creates an account by sign-up or invitation")
}

// judgeAspect judges /user/settings and the like, where only the fields say more.
func judgeAspect(o *Operation, at *place) verdict {
	if !at.of(account) && !at.of(member) || o.Method == http.MethodDelete {
		return verdict{op: o}
	}
	v := update(o, High, "an account", supplied)
	if v.propose && len(v.fields) == 0 && o.Body.Unknown != "" {
		v.confidence = Low
	}
	return v
}

func judgeGraphQL(o *Operation) verdict {
	if o.Method != http.MethodPost {
		return verdict{op: o}
	}
	v := whole(o, Low, "a GraphQL endpoint, whose mutations the document does not list")
	v.fields = []string{"userName", "email", "displayName", "password"}
	v.notes = []string{"name the arguments of the mutations that change accounts: every other operation stays free"}
	return v
}

// judgeBody judges an operation whose tags or operationId only speak of accounts, by what it takes.
func judgeBody(o *Operation) verdict {
	speaks := func(s string) bool { return read(s).noun == account }
	if !speaks(o.ID) && !slices.ContainsFunc(o.Tags, speaks) || o.Method == http.MethodDelete ||
		!slices.ContainsFunc(o.Body.Fields, identifies) {
		return verdict{op: o}
	}
	v := update(o, Low, "an account", supplied)
	if len(v.fields) < 2 {
		return verdict{op: o}
	}
	v.notes = append(v.notes, "found by the fields of its body only")
	return v
}

// surely reports whether every request of a verdict's operation has a field.
func (v *verdict) surely(f *Field) bool { return f.Required || v.creates && identifies(*f) }

// identifies reports whether a field names an account.
func identifies(f Field) bool { s := supplied(&f); return s == "userName" || s == "emails" }

// update proposes the fields that the identity service supplies, or the whole operation where the document names no
// other field.
func update(o *Operation, c Confidence, what string, supplied func(*Field) string) verdict {
	reason := "changes " + what
	denied, sure := deniedFields(&o.Body, supplied)
	free := freeFields(&o.Body, denied)
	switch {
	case o.Body.Unknown != "":
		v := whole(o, weaker(c, Medium), reason)
		v.notes = []string{o.Body.Unknown + ", so every request is denied"}
		return v
	case patches(&o.Body):
		v := whole(o, c, reason)
		v.notes = []string{"a patch has names of fields as values, so every request is denied"}
		return v
	case len(denied) == 0:
		return verdict{op: o, left: "it takes nothing that the identity service supplies"}
	case len(free) == 0:
		return whole(o, c, reason+": the identity service supplies all that it takes")
	case !o.Body.Readable:
		v := whole(o, c, reason)
		v.notes = []string{"its body is neither a JSON object nor a form, so every request is denied"}
		return v
	}
	v := whole(o, c, reason)
	v.fields, v.free = denied, free
	if len(sure) > 0 {
		v.notes = []string{
			"the document requires " + strings.Join(shortList(sure), ", ") + ", so every complete request is denied",
		}
	}
	set := newSet(denied)
	for i := range o.Body.Fields {
		f := &o.Body.Fields[i]
		n := slices.IndexFunc(f.Path[:len(f.Path)-1], func(outer string) bool { return slices.Contains(free, outer) })
		if n >= 0 && set.Has(f.Name()) {
			add(&v.notes, "a field below "+short(f.Path[n])+" has the name of a denied one, and is denied too")
		}
	}
	return v
}

// deniedFields returns the names of the fields that the identity service supplies, at the top or in an object such as
// user; and those that every request has.
func deniedFields(b *Body, supplied func(*Field) string) (denied, sure []string) {
	for i := range b.Fields {
		f := &b.Fields[i]
		outer := f.Path[:len(f.Path)-1]
		if supplied(f) == "" || slices.ContainsFunc(outer, func(s string) bool { return !wrapper(s) }) {
			continue
		}
		if !slices.Contains(denied, f.Name()) {
			denied = append(denied, f.Name())
		}
		if f.Required && !slices.Contains(sure, f.Name()) {
			sure = append(sure, f.Name())
		}
	}
	return denied, sure
}

// freeFields returns the outermost fields beside the denied ones and the objects around them. Ids in the body say only
// which account is meant.
func freeFields(b *Body, denied []string) (free []string) {
	set := newSet(denied)
	around := map[string]bool{}
	for i := range b.Fields {
		f := &b.Fields[i]
		if set.Has(f.Name()) {
			for _, outer := range f.Path[:len(f.Path)-1] {
				around[outer] = around[outer] || wrapper(outer)
			}
		}
	}
	for i := range b.Fields {
		f := &b.Fields[i]
		top := f.Path[0]
		for len(f.Path) > 1 && around[top] {
			f = &Field{Path: f.Path[1:]}
			top = f.Path[0]
		}
		if !set.Has(top) && !around[top] && fold(top) != "id" && fold(top) != "userid" {
			add(&free, top)
		}
	}
	return free
}

// patches reports whether a body is a JSON patch or a SCIM one.
func patches(b *Body) bool {
	has := func(name string) bool {
		return slices.ContainsFunc(b.Fields, func(f Field) bool { return strings.EqualFold(f.Name(), name) })
	}
	return has("op") && has("path")
}
