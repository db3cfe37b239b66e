// Package registration keeps an agent registered with the conductor: it says
// hello, beats, and holds the lease that the conductor answers with. An agent
// serves while it holds a lease and not a moment longer, because the conductor
// gives its work to another once the lease is over.
//
// It knows neither sessions nor tunnels; both kinds of agents use it.
package registration
