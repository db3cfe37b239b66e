package pinfs

import (
	"fmt"
	"strings"
	"syscall"
	"testing"

	"github.com/stack4things/s4t/fuse"
)

// Whatever pins another board says it has, the tree has a way to each of its
// nodes, no number and no name twice, before and after a change.
func FuzzTree(f *testing.F) {
	f.Add("gpio/c/1 gpio/c/2=gate", "gpio/c/2=gate adc/0/0")
	f.Add("a/b/c a-b/c/d a/b-c/d a/b/c-d", "a/b/c/d a//c ../b/c a/b/..=.")
	f.Add("gpio/c/1=x gpio/c/2=x gpio/c/1", "")
	f.Fuzz(func(t *testing.T, first, second string) {
		src := newBoards(Board{Name: "b", Pins: pinsOf(first)})
		tree := newFS(src)
		check(t, tree)
		src.show(Board{Name: "b", Pins: pinsOf(second)})
		tree.follow()
		check(t, tree)
	})
}

func pinsOf(text string) (pins []Node) {
	for _, s := range strings.Fields(text) {
		name, label, _ := strings.Cut(s, "=")
		pins = append(pins, labelled(input(name), label))
	}
	return pins
}

func check(t *testing.T, f *FS) {
	t.Helper()
	seen := map[fuse.Ino]bool{fuse.Root: true}
	var in func(ino fuse.Ino, depth int)
	in = func(ino fuse.Ino, depth int) {
		names := map[string]bool{}
		var entries []fuse.Entry
		f.Readdir(ino, 0, func(e fuse.Entry) bool { entries = append(entries, e); return true })
		for _, e := range entries {
			if names[e.Name] || seen[e.Attr.Ino] || e.Name == "" || e.Name == "." || e.Name == ".." || strings.ContainsAny(e.Name, "/\x00") || depth > 4 {
				t.Fatalf("%q, number %d, depth %d", e.Name, e.Attr.Ino, depth)
			}
			names[e.Name], seen[e.Attr.Ino] = true, true
			if a, err := f.Lookup(ino, e.Name); err != 0 || a != e.Attr {
				t.Fatalf("%q: %v, %v", e.Name, err, fmt.Sprint(a, e.Attr))
			}
			if e.Attr.Mode&syscall.S_IFMT == syscall.S_IFDIR {
				in(e.Attr.Ino, depth+1)
			}
		}
	}
	in(fuse.Root, 0)
}
