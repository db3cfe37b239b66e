package pinfs

import (
	"os"
	"slices"
	"sync"
	"syscall"
	"time"

	"github.com/stack4things/s4t/fuse"
)

// FS is the tree of the pins of a [Source]. [Mount] makes it and serves it.
type FS struct {
	source   Source
	kernel   kernel // nil: it is not mounted
	uid, gid uint32 // who has what has no owner of its own: who mounts it
	since    time.Time

	mu     sync.Mutex // the kernel waits for it: never held while something is told to the kernel; before those of files
	tree   Tree       // as it is shown now
	local  bool
	byName map[string]*board
	byNum  map[uint64]*board
	last   uint64             // number of a board
	files  map[*file]struct{} // open files that have a pin
	listed Tree               // what the last listing of the root began with
}

var _ fuse.FileSystem = (*FS)(nil)

func newFS(source Source) *FS {
	f := &FS{
		source: source, uid: uint32(os.Getuid()), gid: uint32(os.Getgid()), since: time.Now(),
		byName: map[string]*board{}, byNum: map[uint64]*board{}, files: map[*file]struct{}{},
	}
	tree := source.Tree()
	f.local = len(tree.Boards) == 1 && tree.Boards[0].Name == ""
	f.show(tree)
	return f
}

// at returns the board that a node is of, with its nodes numbered, and nil if
// there is no such node, or if it is the root of a tree of boards. f.mu is held.
func (f *FS) at(ino fuse.Ino) (b *board, slot uint32, code uint8) {
	num, slot, code := splitIno(ino)
	b = f.byNum[num]
	if b == nil {
		return nil, 0, 0
	}
	if b.slots == nil {
		b.index(nil)
	}
	if !b.is(slot, code, !f.local) {
		return nil, 0, 0
	}
	return b, slot, code
}

// Lookup finds a name in a directory.
func (f *FS) Lookup(parent fuse.Ino, name string) (attr fuse.Attr, err syscall.Errno) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if parent == fuse.Root && !f.local {
		if b := f.byName[name]; b != nil {
			return f.attr(b, 0, codeDir), 0
		}
		return attr, syscall.ENOENT
	}
	b, slot, code := f.at(parent)
	if b == nil {
		return attr, syscall.ENOENT
	}
	if code != codeDir && code != codeByName {
		return attr, syscall.ENOTDIR
	}
	err = syscall.ENOENT
	b.each(slot, code, !f.local, func(n string, slot uint32, code uint8) bool {
		if n == name {
			attr, err = f.attr(b, slot, code), 0
		}
		return n != name
	})
	return attr, err
}

// Getattr returns the attributes of a node.
func (f *FS) Getattr(ino fuse.Ino) (fuse.Attr, syscall.Errno) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if ino == fuse.Root && !f.local {
		return f.attr(nil, 0, codeDir), 0
	}
	b, slot, code := f.at(ino)
	if b == nil {
		return fuse.Attr{}, syscall.ENOENT
	}
	return f.attr(b, slot, code), 0
}

// Readdir lists a directory.
func (f *FS) Readdir(ino fuse.Ino, skip int, yield func(fuse.Entry) bool) syscall.Errno {
	f.mu.Lock()
	defer f.mu.Unlock()
	if ino == fuse.Root && !f.local {
		for _, listed := range f.list(skip) {
			if !yield(fuse.Entry{Name: listed.Name, Attr: f.attr(f.byName[listed.Name], 0, codeDir)}) {
				break
			}
		}
		return 0
	}
	b, slot, code := f.at(ino)
	if b == nil {
		return syscall.ENOENT
	}
	if code != codeDir && code != codeByName {
		return syscall.ENOTDIR
	}
	b.each(slot, code, !f.local, func(name string, slot uint32, code uint8) bool {
		if skip > 0 {
			skip--
			return true
		}
		return yield(fuse.Entry{Name: name, Attr: f.attr(b, slot, code)})
	})
	return 0
}

// list returns the boards after the first skip ones. A listing takes many calls:
// boards that come or go meanwhile do not shift it. f.mu is held.
func (f *FS) list(skip int) []Board {
	if skip == 0 {
		f.listed = f.tree
	}
	l := &f.listed
	skip = min(skip, len(l.Boards))
	if l.Revision != f.tree.Revision { // what was listed keeps its place
		rest := slices.DeleteFunc(slices.Clone(l.Boards[skip:]), func(b Board) bool { return f.byName[b.Name] == nil })
		*l = Tree{Revision: f.tree.Revision, Boards: slices.Concat(l.Boards[:skip], rest)}
	}
	return l.Boards[skip:]
}

// Readlink returns the pin that a label is of.
func (f *FS) Readlink(ino fuse.Ino) (string, syscall.Errno) {
	f.mu.Lock()
	defer f.mu.Unlock()
	b, slot, code := f.at(ino)
	switch {
	case b == nil:
		return "", syscall.ENOENT
	case code != codeLink:
		return "", syscall.EINVAL
	}
	return "../" + b.Pins[b.links[^b.slots[slot]].pin].Name, 0
}

// attr returns the attributes of a node of a board; nil: the root of a tree of
// boards. f.mu is held.
func (f *FS) attr(b *board, slot uint32, code uint8) fuse.Attr {
	a := fuse.Attr{Ino: fuse.Root, UID: f.uid, GID: f.gid, Mtime: f.since}
	if b != nil {
		a.Ino = makeIno(b.num, slot, code)
	}
	switch code {
	case codeDir, codeByName:
		a.Mode = syscall.S_IFDIR | 0o555
	case codeStatus:
		a.Mode = syscall.S_IFREG | 0o444
	case codeLink:
		a.Mode = syscall.S_IFLNK | 0o777
		a.Size = uint64(len("../") + len(b.Pins[b.links[^b.slots[slot]].pin].Name))
	default:
		n := b.node(slot)
		a.Mode = syscall.S_IFREG | n.mode(int(code-codeFile))
		if n.UID != 0 {
			a.UID = n.UID
		}
		if n.GID != 0 {
			a.GID = n.GID
		}
	}
	return a
}

// Open opens a file of a pin, or the status of a board.
func (f *FS) Open(ino fuse.Ino, flags uint32, caller fuse.Caller) (fuse.File, syscall.Errno) {
	f.mu.Lock()
	defer f.mu.Unlock()
	b, slot, code := f.at(ino)
	if b == nil {
		return nil, syscall.ENOENT
	}
	write := flags&syscall.O_ACCMODE != syscall.O_RDONLY
	by := Holder{UID: caller.UID}
	if code == codeStatus {
		if write {
			return nil, syscall.EACCES
		}
		return &text{fs: f, ino: ino}, 0
	}
	if code < codeFile {
		return nil, syscall.EISDIR
	}
	n := b.node(slot)
	what := int(code - codeFile)
	if write && n.mode(what)&0o222 == 0 { // who may do everything still cannot write to an input
		return nil, syscall.EACCES
	}
	switch what {
	case fileLease:
		return &text{fs: f, ino: ino, pin: f.source.Open(b.Name, n.Name, by)}, 0
	case fileValue, fileAt:
		away := f.away(b)
		o := &file{fs: f, ino: ino, what: what, remote: !f.local, write: write, away: away, told: away, pin: f.source.Open(b.Name, n.Name, by)}
		f.files[o] = struct{}{}
		return o, 0
	}
	return &text{fs: f, ino: ino, by: by}, 0
}
