package cloud

import (
	"slices"
	"strings"

	"github.com/stack4things/s4t"
)

// Role is what a process does of the cloud's work.
type Role string

// The roles.
const (
	API         Role = "api"          // REST, for users
	Conductor   Role = "conductor"    // decides, and keeps the database
	WAMPAgent   Role = "wamp-agent"   // boards' control channels
	TunnelAgent Role = "tunnel-agent" // rtunnels, switches and public ports
)

// AllRoles is every role: what `--role all` means.
func AllRoles() []Role { return []Role{API, Conductor, WAMPAgent, TunnelAgent} }

// ParseRoles reads "all", or roles with commas between them.
func ParseRoles(text string) ([]Role, error) {
	const op, hint = "choose roles", "use all, or some of api, conductor, wamp-agent and tunnel-agent with commas between them"
	if text == "all" {
		return AllRoles(), nil
	}
	var roles []Role
	for word := range strings.SplitSeq(text, ",") {
		r := Role(word)
		switch {
		case !slices.Contains(AllRoles(), r):
			return nil, s4t.Errorf(s4t.Invalid, op, hint, "there is no role %q", word)
		case slices.Contains(roles, r):
			return nil, s4t.Errorf(s4t.Invalid, op, hint, "%s is named twice", r)
		}
		roles = append(roles, r)
	}
	return roles, nil
}

// CheckAlone refuses roles that are of no use in one process by itself, whose
// queue no other process reaches: without the conductor nothing works, and
// without the API nobody can ask for anything.
func CheckAlone(roles []Role) error {
	for _, needed := range []Role{Conductor, API} {
		if !slices.Contains(roles, needed) {
			return s4t.Errorf(s4t.Invalid, "run "+joinRoles(roles)+" alone", "use --role all, or api,conductor and the agents that you want, or --queue amqps://...",
				"without the role %s it needs --queue, which all processes share", needed)
		}
	}
	return nil
}

func joinRoles(roles []Role) string {
	words := make([]string, len(roles))
	for i, r := range roles {
		words[i] = string(r)
	}
	return strings.Join(words, ",")
}
