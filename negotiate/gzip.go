package negotiate

import (
	"net/http"
	"strconv"
	"strings"
)

// Gzip reports whether a client takes answers in gzip (RFC 9110, 12.5.3): where it names gzip,
// what it says of that holds, and not what it says of all others.
func Gzip(r *http.Request) bool {
	others := false
	for _, line := range r.Header.Values("Accept-Encoding") {
		for part := range strings.SplitSeq(line, ",") {
			name, weight, _ := strings.Cut(part, ";")
			switch name = strings.TrimSpace(name); {
			case strings.EqualFold(name, "gzip"), strings.EqualFold(name, "x-gzip"):
				return wanted(weight)
			case name == "*":
				others = wanted(weight)
			}
		}
	}
	return others
}

// wanted reports whether a weight is more than 0; there need not be one.
func wanted(weight string) bool {
	name, value, ok := strings.Cut(weight, "=")
	if !ok || !strings.EqualFold(strings.TrimSpace(name), "q") {
		return true
	}
	q, err := strconv.ParseFloat(strings.TrimSpace(value), 64)
	return err != nil || q > 0
}
