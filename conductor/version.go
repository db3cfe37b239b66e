package conductor

import "fmt"

// release is what `git describe --tags` makes of a version: a tag, and the
// number of commits since.
type release struct{ major, minor, patch, commits int }

// parseRelease reads "v0.2.1" and "v0.2.1-14-g1a2b3c4"; ok is false for what
// is no release ("dev", a bare commit).
func parseRelease(s string) (r release, ok bool) {
	var commit string
	n, _ := fmt.Sscanf(s, "v%d.%d.%d-%d-g%s", &r.major, &r.minor, &r.patch, &r.commits, &commit)
	if n < 4 {
		r.commits = 0
	}
	return r, n >= 3
}

// older reports whether version a came before b, as far as both say.
func older(a, b string) bool {
	x, okX := parseRelease(a)
	y, okY := parseRelease(b)
	if !okX || !okY {
		return false
	}
	for _, d := range []int{x.major - y.major, x.minor - y.minor, x.patch - y.patch, x.commits - y.commits} {
		if d != 0 {
			return d < 0
		}
	}
	return false
}
