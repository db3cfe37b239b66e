// Package api serves the REST API under /v1: routes, status codes, the OpenAPI
// document and its page, and the stream of events. It holds no workflow:
// a route resolves the token to a caller, asks the conductor over the queue,
// and says the answer in HTTP.
//
// Who may do what is decided by the conductor, which gets the caller with each
// request; what a token is worth is decided by identity, once a request.
package api
