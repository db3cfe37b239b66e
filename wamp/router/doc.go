// Package router is the cloud's side of the control channel: it embeds the
// nexus WAMP router and lets boards in.
//
// There is one realm, nobody is anonymous, and a board's session may touch the
// URIs under its own prefix only. Authenticator, authorizer and transport are
// ours: nexus v3.3.0's cryptosign accepts replayed signatures, and its
// WebSocket peer can lose the reason for which it ends a session.
//
// Only the cloud links this package.
package router
