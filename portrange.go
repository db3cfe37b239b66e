package s4t

import (
	"fmt"
	"strconv"
	"strings"
)

// PortRange is a range of TCP ports, both ends included; the zero value has
// none. Its text is "50000-60000", or one number.
type PortRange struct{ First, Last int }

// ParsePortRange reads the text of a range. An empty text is the zero value.
func ParsePortRange(text string) (PortRange, error) {
	if text == "" {
		return PortRange{}, nil
	}
	first, last, ok := strings.Cut(text, "-")
	if !ok {
		last = first
	}
	r := PortRange{tcpPortOf(first), tcpPortOf(last)}
	if r.First == 0 || r.Last == 0 || r.First > r.Last {
		return PortRange{}, Errorf(Invalid, "read a range of ports", "write FIRST-LAST, for example 50000-60000", "%q is no range of ports from 1 to 65535", text)
	}
	return r, nil
}

// tcpPortOf reads a port in its one form, without sign, spaces or leading
// zeros; 0 where it is none.
func tcpPortOf(s string) int {
	n, err := strconv.Atoi(s)
	if err != nil || n < 1 || n > 65535 || strconv.Itoa(n) != s {
		return 0
	}
	return n
}

// Len is how many ports the range has.
func (r PortRange) Len() int {
	if r.First == 0 {
		return 0
	}
	return r.Last - r.First + 1
}

// Has reports whether p is in the range.
func (r PortRange) Has(p int) bool { return p != 0 && p >= r.First && p <= r.Last }

// String is the range's text, empty for the zero value.
func (r PortRange) String() string {
	if r.First == 0 {
		return ""
	}
	return fmt.Sprintf("%d-%d", r.First, r.Last)
}

// MarshalText is [PortRange.String].
func (r PortRange) MarshalText() ([]byte, error) { return []byte(r.String()), nil }

// UnmarshalText is [ParsePortRange].
func (r *PortRange) UnmarshalText(text []byte) (err error) {
	*r, err = ParsePortRange(string(text))
	return err
}
