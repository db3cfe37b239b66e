package api

import (
	"net/http"
	"net/url"
	"strings"
)

// joinPinPath makes one element of the three of a pin's name in a path, so that
// .../pins/gpio/gpiochip0/17/value is the route of .../pins/gpio%2Fgpiochip0%2F17/value.
// What is no such path stays as it is.
func joinPinPath(r *http.Request) *http.Request {
	parts := strings.Split(r.URL.EscapedPath(), "/") // "", v1, boards, BOARD, pins, ...
	if n := len(parts); n < 8 || n > 9 || parts[1] != "v1" || parts[2] != "boards" || parts[4] != "pins" {
		return r
	}
	raw := strings.Join(parts[:5], "/") + "/" + strings.Join(parts[5:8], "%2F")
	if len(parts) == 9 {
		raw += "/" + parts[8]
	}
	path, err := url.PathUnescape(raw)
	if err != nil {
		return r
	}
	joined := *r // as [http.StripPrefix] does
	u := *r.URL
	u.Path, u.RawPath = path, raw
	joined.URL = &u
	return &joined
}
