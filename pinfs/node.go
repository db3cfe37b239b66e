package pinfs

import (
	"slices"
	"sort"
	"strings"

	"github.com/stack4things/s4t"
	"github.com/stack4things/s4t/fuse"
)

// A node's number is made of its board's number (bits 40 and up; 0 is the board
// of a local tree), of a slot of the board (bits 8 to 39; 0 is the board itself)
// and of what it is there (bits 0 to 7). So a file needs no object, the root of
// a local tree is [fuse.Root], and its numbers fit in 32 bits, which old
// programs on small boards want. Numbers of boards and slots are given as they
// appear, and never again.
const (
	codeDir    = 1 // the board's directory, a driver's, a device's, a pin's
	codeByName = 2 // slot 0: the directory of labels
	codeStatus = 3 // slot 0: the file that says whether a remote board is there
	codeLink   = 4 // the slot of a label
	codeFile   = 8 // and up: the files of a pin, in the order of [pinFiles]
)

func makeIno(board uint64, slot uint32, code uint8) fuse.Ino {
	return fuse.Ino(board<<40 | uint64(slot)<<8 | uint64(code))
}

func splitIno(ino fuse.Ino) (board uint64, slot uint32, code uint8) {
	return uint64(ino) >> 40, uint32(ino >> 8), uint8(ino)
}

// Names of what every board has beside its drivers.
const (
	nameByName = "by-name"
	nameStatus = "status"
)

// The files of a pin that are no settings.
const (
	fileValue = iota
	fileUnit
	fileKind
	fileAt
	fileLease
	fileGuarantee
	fileProblem
	fileSettings // and up: s4t.PinKeys
)

var pinFiles = append([]string{"value", "unit", "kind", "at", "lease", "guarantee", "problem"}, s4t.PinKeys...)

var fileDirection = fileSettings + slices.Index(s4t.PinKeys, s4t.PinKeyDirection)

// key is the setting that a file of a pin shows, "" if it shows none.
func key(file int) string {
	if file < fileSettings {
		return ""
	}
	return pinFiles[file]
}

// has says whether a pin has a file.
func (n *Node) has(file int) bool {
	switch {
	case file < fileGuarantee || file == fileDirection:
		return true
	case file == fileGuarantee:
		return n.Guarantee != ""
	case file == fileProblem:
		return n.Problem != ""
	}
	return slices.Contains(n.Keys, pinFiles[file])
}

// mode of a file of a pin. What the owner set for value holds for all that
// changes the pin, or shows its value.
func (n *Node) mode(file int) uint32 {
	switch m := n.Mode & 0o777; {
	case file == fileValue && n.Writable && m == 0:
		return 0o644
	case file == fileValue && n.Writable:
		return m
	case file == fileValue || file == fileAt:
		if m == 0 {
			return 0o444
		}
		return m & 0o444
	case file >= fileSettings && slices.Contains(n.Keys, pinFiles[file]):
		if m == 0 {
			return 0o644
		}
		return m
	}
	return 0o444
}

// place is a directory of a board. They are in the order of a walk, so what is
// in one follows it.
type place struct {
	pin   int32 // the first pin in it
	end   int32 // the first place that is not in it
	slot  uint32
	from  uint8 // its path is the name of that pin up to n, its name begins at from
	n     uint8
	depth uint8 // 1 a driver, 2 a device, 3 a pin
}

// link is a label.
type link struct {
	pin  int32
	slot uint32
}

// board is a board with the numbers of its nodes, which are given when somebody
// first looks into it.
type board struct {
	Board
	num    uint64
	given  []Node // its pins as the source gave them; those of Board are in order, and valid
	next   uint32 // the last slot that was given
	places []place
	links  []link           // by label
	slots  map[uint32]int32 // to places, or ^ to links; nil: nobody has looked
}

func (b *board) path(p *place) string { return b.Pins[p.pin].Name[:p.n] }
func (b *board) name(p *place) string { return b.Pins[p.pin].Name[p.from:p.n] }

// index numbers what is in the board: what was there before keeps its slot.
func (b *board) index(before *board) {
	paths, labels := map[string]uint32{}, map[string]link{}
	if before != nil {
		for i := range before.places {
			paths[before.path(&before.places[i])] = before.places[i].slot
		}
		for _, l := range before.links {
			labels[before.Pins[l.pin].Label] = l
		}
	}
	slot := func(was uint32, ok bool) uint32 {
		if ok {
			return was
		}
		b.next++
		return b.next
	}
	b.given, b.Pins = b.Pins, valid(b.Pins)
	b.places, b.links, b.slots = nil, nil, make(map[uint32]int32, 2*len(b.Pins))
	var open [3]int32 // the places that the last pin is in
	depth, last := 0, ""
	closeTo := func(d int) {
		for ; depth > d; depth-- {
			b.places[open[depth-1]].end = int32(len(b.places))
		}
	}
	for i := range b.Pins {
		name := b.Pins[i].Name
		var ends [3]int
		ends[0] = strings.IndexByte(name, '/')
		ends[1] = ends[0] + 1 + strings.IndexByte(name[ends[0]+1:], '/')
		ends[2] = len(name)
		same := 0
		for same < 2 && depth > 0 && len(last) > ends[same] && last[:ends[same]+1] == name[:ends[same]+1] {
			same++
		}
		closeTo(same)
		for d := same; d < 3; d++ {
			from := 0
			if d > 0 {
				from = ends[d-1] + 1
			}
			was, ok := paths[name[:ends[d]]]
			p := place{pin: int32(i), slot: slot(was, ok), from: uint8(from), n: uint8(ends[d]), depth: uint8(d + 1)}
			open[d] = int32(len(b.places))
			b.slots[p.slot] = open[d]
			b.places = append(b.places, p)
		}
		depth, last = 3, name
		if label := b.Pins[i].Label; label != "" {
			b.links = append(b.links, link{pin: int32(i)})
		}
	}
	closeTo(0)
	sort.SliceStable(b.links, func(i, j int) bool { return b.Pins[b.links[i].pin].Label < b.Pins[b.links[j].pin].Label })
	b.links = slices.CompactFunc(b.links, func(x, y link) bool { return b.Pins[x.pin].Label == b.Pins[y.pin].Label })
	for i := range b.links {
		l := &b.links[i]
		pin := &b.Pins[l.pin]
		was, ok := labels[pin.Label]
		l.slot = slot(was.slot, ok && before.Pins[was.pin].Name == pin.Name)
		b.slots[l.slot] = ^int32(i)
	}
	b.places, b.links = slices.Clip(b.places), slices.Clip(b.links)
}

// valid returns the pins by name, without those whose names or labels cannot be
// names of files: they may come from another board.
func valid(pins []Node) []Node {
	ok := func(n *Node) bool {
		return s4t.ValidPinName(n.Name) == nil && len(n.Name) < 256 && !strings.HasPrefix(n.Name, nameByName+"/") && !strings.HasPrefix(n.Name, nameStatus+"/") &&
			(n.Label == "" || s4t.ValidPinPart(n.Label) == nil)
	}
	for i := range pins {
		if !ok(&pins[i]) || i > 0 && pins[i-1].Name >= pins[i].Name {
			list := slices.DeleteFunc(slices.Clone(pins), func(n Node) bool { return !ok(&n) })
			sort.SliceStable(list, func(i, j int) bool { return list[i].Name < list[j].Name })
			return slices.CompactFunc(list, func(x, y Node) bool { return x.Name == y.Name })
		}
	}
	return pins
}

// each calls yield with the nodes of a directory, in an order that stays.
func (b *board) each(slot uint32, code uint8, remote bool, yield func(name string, slot uint32, code uint8) bool) {
	first, end, depth := int32(0), int32(len(b.places)), uint8(0)
	switch {
	case slot == 0 && code == codeByName:
		for _, l := range b.links {
			if !yield(b.Pins[l.pin].Label, l.slot, codeLink) {
				return
			}
		}
		return
	case slot == 0:
		if !yield(nameByName, 0, codeByName) || remote && !yield(nameStatus, 0, codeStatus) {
			return
		}
	default:
		p := &b.places[b.slots[slot]]
		if p.depth == 3 {
			for file, name := range pinFiles {
				if b.Pins[p.pin].has(file) && !yield(name, slot, codeFile+uint8(file)) {
					return
				}
			}
			return
		}
		first, end, depth = b.slots[slot]+1, p.end, p.depth
	}
	for i := first; i < end; i = b.places[i].end {
		if p := &b.places[i]; p.depth != depth+1 || !yield(b.name(p), p.slot, codeDir) {
			return
		}
	}
}

// node returns the pin of a slot, nil if there is none.
func (b *board) node(slot uint32) *Node {
	if i, ok := b.slots[slot]; ok && i >= 0 && b.places[i].depth == 3 {
		return &b.Pins[b.places[i].pin]
	}
	return nil
}

// is says whether the board has a node of that slot and code.
func (b *board) is(slot uint32, code uint8, remote bool) bool {
	if slot == 0 {
		return code == codeDir || code == codeByName || code == codeStatus && remote
	}
	i, ok := b.slots[slot]
	switch {
	case !ok:
		return false
	case i < 0:
		return code == codeLink
	case code == codeDir:
		return true
	}
	n := b.node(slot)
	return n != nil && code >= codeFile && int(code-codeFile) < len(pinFiles) && n.has(int(code-codeFile))
}
