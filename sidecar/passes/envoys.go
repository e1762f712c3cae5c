package passes

import (
	"cmp"
	"maps"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"
)

const (
	maxEnvoys = 64 // remembered for one application
	maxSets   = 16 // sets of hosts
	// connected is how long an Envoy counts as connected after its last check.
	connected = 10 * time.Minute
	// coarse is how exact the time of the last check is.
	coarse = time.Second
)

// App names an application.
type App struct{ Tenant, App string }

// Envoy is an Envoy that sends checks for an application, and what its configuration lacks.
type Envoy struct {
	App
	Address  string    // of Envoy's listener, "" if it is no IP address
	Seen     time.Time // last check, to the second
	Declared string
	Missing  List // of what was needed at the last check; nil if nothing
}

// Envoys remembers the declaration of each Envoy that sends checks. It outlives a reload of the
// configuration. The zero value is ready; it is safe for concurrent use.
type Envoys struct {
	// Outdated is called once for each declaration that lacks entries. Nil calls nothing.
	Outdated func(Envoy)

	mu   sync.RWMutex
	apps map[App]map[string]*peer // by address
	// sets are the hosts of the last configurations, by their entry. The last of order is in force.
	sets  map[string][]string
	order []string
}

// peer is an Envoy at one address.
type peer struct {
	declared string
	need     *Need // what missing was computed from
	missing  List
	seen     atomic.Int64 // Unix nanoseconds
}

// Missing returns the entries of need that the Envoy at address does not declare. need must be the
// same pointer while the configuration stays the same, because the result is remembered with it.
func (e *Envoys) Missing(app App, address, declared string, need *Need, now time.Time) List {
	e.mu.RLock()
	p := e.apps[app][address]
	e.mu.RUnlock()
	if p == nil || p.declared != declared || p.need != need {
		p = e.remember(app, address, declared, need, now)
	}
	if at := now.UnixNano(); at-p.seen.Load() > int64(coarse) {
		p.seen.Store(at)
	}
	return p.missing
}

func (e *Envoys) remember(app App, address, declared string, need *Need, now time.Time) *peer {
	p := &peer{declared: declared, need: need, missing: need.Missing(declared)}
	p.seen.Store(now.UnixNano())
	e.mu.Lock()
	if e.apps == nil {
		e.apps = map[App]map[string]*peer{}
	}
	peers := e.apps[app]
	if peers == nil {
		peers = map[string]*peer{}
		e.apps[app] = peers
	}
	before := peers[address]
	peers[address] = p
	if len(peers) > maxEnvoys {
		delete(peers, oldest(peers))
	}
	e.mu.Unlock()
	if e.Outdated != nil && len(p.missing) > 0 && (before == nil || !slices.Equal(before.missing, p.missing)) {
		e.Outdated(p.envoy(app, address))
	}
	return p
}

func oldest(peers map[string]*peer) (address string) {
	least := int64(0)
	for a, p := range peers {
		if at := p.seen.Load(); least == 0 || at < least {
			address, least = a, at
		}
	}
	return address
}

func (p *peer) envoy(app App, address string) Envoy {
	return Envoy{
		App: app, Address: address, Seen: time.Unix(0, p.seen.Load()).UTC(), Declared: p.declared, Missing: p.missing,
	}
}

// Connected returns the Envoys that sent a check in the ten minutes before now, sorted.
func (e *Envoys) Connected(now time.Time) []Envoy {
	e.mu.RLock()
	defer e.mu.RUnlock()
	var out []Envoy
	for app, peers := range e.apps {
		for address, p := range peers {
			if now.UnixNano()-p.seen.Load() <= int64(connected) {
				out = append(out, p.envoy(app, address))
			}
		}
	}
	slices.SortFunc(out, func(a, b Envoy) int {
		return cmp.Or(strings.Compare(a.Tenant, b.Tenant), strings.Compare(a.App.App, b.App.App),
			strings.Compare(a.Address, b.Address))
	})
	return out
}

// SetHosts sets the sorted hosts of the configuration in force.
func (e *Envoys) SetHosts(names []string) {
	entry := Hosts(names)
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.sets == nil {
		e.sets = map[string][]string{}
	}
	e.order = append(slices.DeleteFunc(e.order, func(s string) bool { return s == entry }), entry)
	e.sets[entry] = names
	if len(e.order) > maxSets {
		delete(e.sets, e.order[0])
		e.order = e.order[1:]
	}
}

// Unaware returns the connected Envoys whose configuration was printed for other hosts, one of each address.
// Missing has the hosts that it lacks, and nothing if it was printed before this process knew its hosts. An
// Envoy with more hosts, and one that declares none, is not among them.
func (e *Envoys) Unaware(now time.Time) []Envoy {
	newest := map[string]Envoy{} // by address: another application may remember a former configuration
	for _, envoy := range e.Connected(now) {
		if have, ok := newest[envoy.Address]; !ok || envoy.Seen.After(have.Seen) {
			newest[envoy.Address] = envoy
		}
	}
	e.mu.RLock()
	defer e.mu.RUnlock()
	if len(e.order) == 0 {
		return nil
	}
	current := e.order[len(e.order)-1]
	var out []Envoy
	for _, address := range slices.Sorted(maps.Keys(newest)) {
		envoy := newest[address]
		declared := hostsOf(envoy.Declared)
		former, known := e.sets[declared]
		envoy.Missing = slices.DeleteFunc(slices.Clone(e.sets[current]), func(h string) bool {
			return slices.Contains(former, h)
		})
		switch {
		case declared == "" || declared == current || known && len(envoy.Missing) == 0:
			continue
		case !known:
			envoy.Missing = nil
		}
		out = append(out, envoy)
	}
	return out
}

// Lacking returns the connected Envoys that lack an entry of a new configuration, with these entries
// in Missing. needs returns the needs of an application in it, nil for one that it does not have.
func (e *Envoys) Lacking(needs func(App) *Need, now time.Time) []Envoy {
	var out []Envoy
	for _, envoy := range e.Connected(now) {
		need := needs(envoy.App)
		if need == nil {
			continue
		}
		if envoy.Missing = need.Missing(envoy.Declared); len(envoy.Missing) > 0 {
			out = append(out, envoy)
		}
	}
	return out
}
