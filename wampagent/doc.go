// Package wampagent stands between the queue and the boards: it holds their
// WAMP sessions, carries what they ask to the conductor, and tells them of new
// generations of desired state.
//
// It decides nothing and keeps nothing that must survive it. Which board a
// request comes from, and of which session, is what the router proved, never
// what the request says.
package wampagent
