package lightningrod

import (
	"os"
	"strings"

	"github.com/stack4things/s4t"
)

// hostName is the name of this host as a board may have it: without the domain, and with a dash for
// what is not allowed in names. "board" where nothing is left of it.
func hostName() string {
	text, _ := os.Hostname() // empty where the kernel has none
	return boardName(text)
}

func boardName(host string) string {
	host, _, _ = strings.Cut(host, ".")
	name := strings.Map(func(r rune) rune {
		if r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' || r >= '0' && r <= '9' || r == '_' {
			return r
		}
		return '-'
	}, host)
	name = strings.Trim(name, "-_")
	if name = name[:min(len(name), s4t.MaxName)]; s4t.ValidName("board", name) != nil {
		return "board"
	}
	return name
}
