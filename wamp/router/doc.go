// Package router is the cloud's side of the control channel: a WAMP router that
// lets boards in, and routes between each of them and the cloud.
//
// It is WAMP's basic profile (dealer and broker over a WebSocket, messages of
// msgpack) with call cancelling, as far as boards use it. There is one realm,
// nobody is anonymous, and a board's session may touch the URIs under its own
// prefix only: so nothing is routed from board to board, and a session's
// registrations and subscriptions are kept with it. The cloud itself is the
// callee of what is under [wamp.CloudPrefix], and the caller of the rest; it has
// no session.
//
// An idle session has no goroutine, no buffer and no timer: what comes next on its
// connection wakes one (rtunnel/park), who has something to say starts a writer, and one
// clock looks after all who are silent.
//
//	router.go     what the cloud does with it
//	serve.go      a connection comes, and goes
//	auth.go       who it is
//	peer.go       a session's reading, writing and end
//	message.go    what a board says
//	route.go      what becomes of it
//	begin.go      sessions on their way
//	clock.go      who is silent
//	guard.go      who guesses codes
//
// Lock order: Router.mu, peer.mu. Nothing but Config.Joined is called under either.
//
// Only the cloud links this package.
package router
