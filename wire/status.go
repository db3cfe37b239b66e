package wire

import "github.com/stack4things/s4t"

// HTTPStatus maps a kind to the status code (RFC 9110, section 15) of an HTTP
// answer: of the API, and of a refused upgrade. It is decided here and nowhere
// else. The numbers stand for themselves, because the board links this package
// and not net/http.
func HTTPStatus(kind s4t.Kind) int {
	switch kind {
	case s4t.Invalid:
		return 400
	case s4t.Unauthenticated:
		return 401
	case s4t.Forbidden:
		return 403
	case s4t.NotFound:
		return 404
	case s4t.Conflict, s4t.Stale:
		return 409
	case s4t.Failed: // on the board, not here: no proxy and no client sends it again for that
		return 424
	case s4t.TooMany:
		return 429
	case s4t.Offline, s4t.Unavailable:
		return 503
	case s4t.Timeout:
		return 504
	}
	return 500
}
