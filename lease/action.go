package lease

import (
	"slices"
	"strings"

	"github.com/stack4things/s4t"
)

// Action is a kind of use of a board that an owner offers, and a lease allows.
type Action string

// The actions. What only looks (a board's state, its doctor) comes with any of them.
const (
	SSH      Action = "ssh"      // streams to the board's SSH service, and its terminal where the owner has one
	Service  Action = "service"  // streams to its other services, and exposing them
	Bridge   Action = "bridge"   // ports of networks
	Pins     Action = "pins"     // reading, writing and claiming its pins, and mounting them
	Commands Action = "commands" // running its commands
	Plugins  Action = "plugins"  // bringing code of one's own
)

// Actions are all of them, in the order in which they are shown.
func Actions() []Action { return []Action{SSH, Service, Bridge, Pins, Commands, Plugins} }

// Set is a set of actions, in the order of [Actions], each once.
type Set []Action

// All allows everything that can be lent.
func All() Set { return Actions() }

// ParseSet reads actions with commas between them; empty is all.
func ParseSet(text string) (Set, error) {
	if strings.TrimSpace(text) == "" {
		return All(), nil
	}
	var found Set
	for word := range strings.SplitSeq(text, ",") {
		a := Action(strings.TrimSpace(word))
		if !slices.Contains(Actions(), a) {
			return nil, s4t.Errorf(s4t.Invalid, "read what a lease allows", "use some of "+All().String(), "%q is no kind of use", s4t.Line(word, s4t.MaxName))
		}
		found = append(found, a)
	}
	return found.sorted(), nil
}

// Words are the actions as texts.
func (s Set) Words() []string {
	words := make([]string, len(s))
	for i, a := range s {
		words[i] = string(a)
	}
	return words
}

// String writes the actions with commas between them.
func (s Set) String() string { return strings.Join(s.Words(), ",") }

// Has reports whether an action is in the set.
func (s Set) Has(a Action) bool { return slices.Contains(s, a) }

// Within reports whether all of the set are in another.
func (s Set) Within(other Set) bool {
	return !slices.ContainsFunc(s, func(a Action) bool { return !other.Has(a) })
}

// And is what is in both.
func (s Set) And(other Set) Set {
	return slices.DeleteFunc(slices.Clone(s), func(a Action) bool { return !other.Has(a) })
}

// sorted is the set in the order of [Actions], each once.
func (s Set) sorted() Set {
	return slices.DeleteFunc(Actions(), func(a Action) bool { return !s.Has(a) })
}
