package pinfs

import (
	"github.com/stack4things/s4t"
	"github.com/stack4things/s4t/fuse"
)

// stale is what the kernel is to forget: a name in a directory (also that there
// is none), or, without a name, the attributes of a node.
type stale struct {
	ino  fuse.Ino
	name string
}

// follow shows the tree that the source has now. It tells the kernel what changed,
// which may wait for a request that is being answered: it is never called by who
// answers them.
func (f *FS) follow() {
	tree := f.source.Tree()
	f.mu.Lock()
	if tree.Revision <= f.tree.Revision {
		f.mu.Unlock()
		return
	}
	forget := f.show(tree)
	var gone, turned []*file
	for o := range f.files {
		b, _, _ := f.at(o.ino)
		if b == nil {
			gone = append(gone, o)
			delete(f.files, o)
			continue
		}
		o.mu.Lock()
		if away := f.away(b); away != o.away {
			o.away = away
			turned = append(turned, o)
		}
		o.mu.Unlock()
	}
	f.mu.Unlock()
	for _, o := range turned {
		o.news()
	}
	for _, o := range gone {
		o.leave()
	}
	if f.kernel == nil {
		return
	}
	for _, s := range forget {
		if s.name == "" {
			f.kernel.InvalidateInode(s.ino)
		} else {
			f.kernel.InvalidateEntry(s.ino, s.name)
		}
	}
}

// away says whether a board is known to be. Of its own board nobody asks that.
func (f *FS) away(b *board) bool { return !f.local && !b.Online }

// show takes a tree as the one that is shown, and returns what the kernel may
// still have of the one before. f.mu is held, or nobody has f yet.
func (f *FS) show(tree Tree) (forget []stale) {
	if f.last == 0 && !f.local {
		f.last = 1
	}
	seen := make(map[string]*board, len(tree.Boards))
	boards := tree.Boards[:0:0]
	for i := range tree.Boards {
		now := tree.Boards[i]
		b := f.byName[now.Name]
		switch {
		case seen[now.Name] != nil, !f.local && s4t.ValidPinPart(now.Name) != nil, f.local && now.Name != "":
			continue
		case b == nil:
			b = &board{Board: now, num: f.last}
			f.last++
			forget = append(forget, stale{fuse.Root, now.Name})
		default:
			forget = f.change(b, now, forget)
		}
		f.byNum[b.num] = b
		seen[now.Name] = b
		boards = append(boards, now)
	}
	for name, b := range f.byName {
		if seen[name] == nil {
			delete(f.byNum, b.num)
			forget = append(forget, stale{fuse.Root, name})
		}
	}
	tree.Boards = boards
	f.tree, f.byName = tree, seen
	return forget
}

// change makes a board what it is now.
func (f *FS) change(b *board, now Board, forget []stale) []stale {
	if b.slots == nil { // nobody has looked
		b.Board = now
		return forget
	}
	if len(b.given) == len(now.Pins) && (len(b.given) == 0 || &b.given[0] == &now.Pins[0]) {
		now.Pins = b.Pins
		b.Board = now
		return forget
	}
	before := *b
	b.Board = now
	b.index(&before)
	forget = b.differs(&before, forget)
	forget = before.differs(b, forget)
	for i := range b.places {
		if p := &b.places[i]; p.depth == 3 {
			if was := before.node(p.slot); was != nil {
				forget = b.changed(p.slot, was, b.node(p.slot), forget)
			}
		}
	}
	return forget
}

// differs adds the names that the board has, and that it has not in another state
// of it; not what is in a folder that is not there either.
func (b *board) differs(other *board, forget []stale) []stale {
	parents := [4]uint32{} // slots, by depth
	for i := range b.places {
		p := &b.places[i]
		parents[p.depth] = p.slot
		_, stays := other.slots[p.slot]
		_, there := other.slots[parents[p.depth-1]]
		if !stays && (p.depth == 1 || there) {
			forget = append(forget, stale{makeIno(b.num, parents[p.depth-1], codeDir), b.name(p)})
		}
	}
	for _, l := range b.links {
		if _, stays := other.slots[l.slot]; !stays {
			forget = append(forget, stale{makeIno(b.num, 0, codeByName), b.Pins[l.pin].Label})
		}
	}
	return forget
}

// changed is what the kernel is to forget of the files of a pin.
func (b *board) changed(slot uint32, was, is *Node, forget []stale) []stale {
	for file, name := range pinFiles {
		switch {
		case was.has(file) != is.has(file):
			forget = append(forget, stale{makeIno(b.num, slot, codeDir), name})
		case was.mode(file) != is.mode(file) || was.UID != is.UID || was.GID != is.GID:
			forget = append(forget, stale{makeIno(b.num, slot, codeFile+uint8(file)), ""})
		}
	}
	return forget
}
