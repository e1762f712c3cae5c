// Package passes names what Envoy passes on to the authorizer. Envoy's configuration declares the
// list on each route of an application (context extension [Extension]). The authorizer compares it
// with what the application needs: where an entry is missing, Envoy's configuration is older than
// scimward's, and a credential could be withheld.
package passes

import (
	"crypto/sha256"
	"encoding/hex"
	"slices"
	"strconv"
	"strings"
)

// Extension is the key of the declaration among the context extensions of a route.
const Extension = "passes"

// Base is the revision of the rest of the printed configuration: the names of package headers, the mutation rules,
// the leash on upgrades and event streams, the limit of requests without a leash, and the bodies of reads and of
// writes below a body path. It grows when an Envoy with the configuration that was printed before would pass what it
// should not.
const Base = 6

// The kinds of entries.
const (
	base     = "base:"     // revision; a higher one includes it
	header   = "header:"   // request header; "*" is every header
	body     = "body:"     // path with a buffered body
	stream   = "stream:"   // path prefix with a leash
	upstream = "upstream:" // host and port of the application that gets the requests
	hosts    = "hosts:"    // digest of all hosts of the configuration that Envoy's was printed from
)

// Upstream is the entry for the host and port of an application, such as "wiki.internal:80".
func Upstream(place string) string { return upstream + place }

// Hosts is the entry for the hosts of all tenants and applications, which are sorted. No application needs it.
// It tells [Envoys.Unaware] that Envoy's configuration was printed for other hosts.
func Hosts(names []string) string {
	sum := sha256.Sum256([]byte(strings.Join(names, " ")))
	return hosts + hex.EncodeToString(sum[:8])
}

// hostsOf returns the entry for the hosts in a declaration, "" if it has none.
func hostsOf(declared string) string {
	for entry := range strings.FieldsSeq(declared) {
		if strings.HasPrefix(entry, hosts) {
			return entry
		}
	}
	return ""
}

// EveryHeader stands for all names of headers in a list.
const EveryHeader = "*"

// AllHeaders is the entry of an Envoy that withholds no header.
const AllHeaders = header + EveryHeader

// DeclaresAllHeaders reports whether a declaration says that no header is withheld.
func DeclaresAllHeaders(declared string) bool {
	return slices.Contains(strings.Fields(declared), AllHeaders)
}

// List is what an application needs from Envoy, or what an Envoy declares.
type List []string

// New returns a list with [Base] and the given headers, body paths and stream prefixes.
func New(headers, bodies, streams []string) List {
	out := List{base + strconv.Itoa(Base)}
	for _, kind := range []struct {
		prefix string
		names  []string
	}{{header, headers}, {body, bodies}, {stream, streams}} {
		names := slices.Sorted(slices.Values(kind.names))
		for _, n := range slices.Compact(names) {
			out = append(out, kind.prefix+strings.ReplaceAll(n, " ", "%20"))
		}
	}
	return out
}

// String is the declaration of the list: its entries, separated by blanks.
func (l List) String() string { return strings.Join(l, " ") }

// maxDeclared bounds a declaration, in bytes. A longer one declares nothing.
const maxDeclared = 64 << 10

// Need is what an application needs from Envoy.
type Need struct {
	List
	// Upstreams are those of all applications of the configuration. Envoy may send the requests to another upstream
	// than scimward knows, as while one of them has a newer configuration. But it may not send them to the upstream of
	// another application, whose locks and denied routes would not count.
	Upstreams map[string]bool
}

// Missing returns the entries of n that a declaration lacks, nil when it has them all.
func (n *Need) Missing(declared string) List {
	if len(declared) > maxDeclared {
		declared = ""
	}
	have := map[string]bool{}
	revision := 0
	var places []string
	for entry := range strings.FieldsSeq(declared) {
		have[entry] = true
		if at, ok := strings.CutPrefix(entry, upstream); ok {
			places = append(places, at)
		}
		if n, ok := strings.CutPrefix(entry, base); ok {
			if n, err := strconv.Atoi(n); err == nil {
				revision = max(revision, n)
			}
		}
	}
	lacks := func(entry string) bool {
		if number, ok := strings.CutPrefix(entry, base); ok {
			need, err := strconv.Atoi(number)
			return err != nil || revision < need
		}
		if own, ok := strings.CutPrefix(entry, upstream); ok {
			return !n.apart(places, own)
		}
		return !have[entry] && (!have[AllHeaders] || !strings.HasPrefix(entry, header))
	}
	var out List
	for _, entry := range n.List {
		if lacks(entry) {
			out = append(out, entry)
		}
	}
	return out
}

// apart reports whether an Envoy that sends the requests of the application at own to these places leads to no other
// application.
func (n *Need) apart(places []string, own string) bool {
	return len(places) > 0 && !slices.ContainsFunc(places, func(at string) bool { return at != own && n.Upstreams[at] })
}

// IndexFolder returns the folder, with a slash at its end, whose index page or action a path is: "/login/" for
// "/login/index.php" and "/login/index". Servers run that page for the folder too (DirectoryIndex of Apache, index of
// nginx, default documents of IIS), and frameworks the action (Yii, CakePHP, CodeIgniter, ASP.NET MVC).
func IndexFolder(path string) (folder string, found bool) {
	at := strings.LastIndexByte(path, '/') + 1
	name, _, suffix := strings.Cut(strings.ToLower(path[at:]), ".")
	return path[:at], name == "index" || suffix && name == "default"
}
