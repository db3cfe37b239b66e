// Package argv takes the secrets of a command line out of the process list.
package argv

import (
	"os"
	"strings"
	"unsafe"
)

// Take returns a copy of the program's arguments, and blanks what is secret in
// them where the kernel reads it for /proc/PID/cmdline: a string of os.Args is
// that memory itself. A program calls it first of all: until then, for some
// milliseconds after its start, everybody on the machine can read them.
func Take() []string {
	taken := make([]string, 0, len(os.Args))
	for _, arg := range os.Args[1:] {
		taken = append(taken, strings.Clone(arg))
		b := unsafe.Slice(unsafe.StringData(arg), len(arg))
		for _, s := range secrets(taken[len(taken)-1]) {
			for i := s.from; i < s.to; i++ {
				b[i] = '*'
			}
		}
	}
	return taken
}

// span is a part of an argument, in bytes.
type span struct{ from, to int }

// secrets finds join strings, which hold a code, and passwords in URLs and in
// the parameters of a database's: better a harmless part too many.
func secrets(arg string) (found []span) {
	if i := strings.Index(arg, "s4t1."); i >= 0 {
		found = append(found, span{i, len(arg)})
	}
	start := 0
	if i := strings.Index(arg, "://"); i >= 0 {
		start = i + len("://")
	}
	if at := strings.LastIndexByte(arg, '@'); at > start {
		if colon := strings.IndexByte(arg[start:at], ':'); colon >= 0 {
			found = append(found, span{start + colon + 1, at})
		}
	}
	const key = "password="
	for at := 0; ; {
		i := strings.Index(arg[at:], key)
		if i < 0 {
			return found
		}
		from := at + i + len(key)
		at = len(arg)
		if end := strings.IndexAny(arg[from:], "& "); end >= 0 {
			at = from + end
		}
		found = append(found, span{from, at})
	}
}
