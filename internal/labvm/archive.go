package labvm

import (
	"bytes"
	"debug/elf"
	"fmt"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"path"
	"path/filepath"
	"strings"
)

// archive writes the "newc" form of cpio (Linux,
// Documentation/driver-api/early-userspace/buffer-format.rst).
type archive struct {
	w     io.Writer
	inode int
	has   map[string]bool
	err   error // the first
}

func newArchive(w io.Writer) *archive { return &archive{w: w, has: map[string]bool{}} }

// add adds a file, with its directories. The first of a name wins.
func (a *archive) add(name string, mode fs.FileMode, content []byte) {
	if a.has[name] {
		return
	}
	for i, c := range name {
		if c == '/' && !a.has[name[:i]] {
			a.entry(name[:i], 0o040755, nil)
		}
	}
	a.entry(name, 0o100000|int(mode.Perm()), content)
}

func (a *archive) entry(name string, mode int, content []byte) {
	if a.err != nil {
		return
	}
	a.has[name] = true
	a.inode++
	var b bytes.Buffer
	fmt.Fprintf(&b, "070701%08X%08X%08X%08X%08X%08X%08X%08X%08X%08X%08X%08X%08X%s\x00",
		a.inode, mode, 0, 0, 1, 0, len(content), 0, 0, 0, 0, len(name)+1, 0, name)
	pad(&b)
	b.Write(content)
	pad(&b)
	_, a.err = a.w.Write(b.Bytes())
}

// pad fills up to a multiple of 4 bytes.
func pad(b *bytes.Buffer) {
	for b.Len()%4 != 0 {
		b.WriteByte(0)
	}
}

func (a *archive) close() error {
	a.entry("TRAILER!!!", 0, nil)
	return a.err
}

// program adds a program of this machine to dir, and the shared libraries that
// it needs under the names by which it looks for them.
func (a *archive) program(name, dir string) error {
	file, err := exec.LookPath(name)
	if err != nil {
		return err
	}
	content, err := os.ReadFile(file)
	if err != nil {
		return err
	}
	a.add(path.Join(dir, name), 0o755, content)
	out, _ := exec.Command("ldd", file).Output() // fails for a static program, which needs nothing
	for _, word := range strings.Fields(string(out)) {
		if !strings.HasPrefix(word, "/") {
			continue
		}
		lib, err := os.ReadFile(word)
		if err != nil {
			return err
		}
		a.add(strings.TrimPrefix(word, "/"), 0o755, lib)
	}
	return nil
}

// modules adds kernel modules and what they need, and returns the names of
// their files in an order in which they can be loaded.
func (a *archive) modules(root string, names []string) (order []string, err error) {
	files := map[string]string{}
	err = filepath.WalkDir(root, func(file string, _ fs.DirEntry, err error) error {
		if base := filepath.Base(file); strings.HasSuffix(base, ".ko") {
			files[strings.ReplaceAll(strings.TrimSuffix(base, ".ko"), "-", "_")] = file
		}
		return err
	})
	if err != nil {
		return nil, err
	}
	done := map[string]bool{}
	var load func(name string) error
	load = func(name string) error {
		if name = strings.ReplaceAll(name, "-", "_"); done[name] {
			return nil
		}
		done[name] = true
		file, ok := files[name]
		if !ok {
			return fmt.Errorf("the kernel has no module %s", name)
		}
		content, err := os.ReadFile(file)
		if err != nil {
			return err
		}
		needs, err := dependencies(content)
		if err != nil {
			return fmt.Errorf("module %s: %w", name, err)
		}
		for _, n := range needs {
			if err := load(n); err != nil {
				return err
			}
		}
		a.add("modules/"+name+".ko", 0o644, content)
		order = append(order, name+".ko")
		return nil
	}
	for _, n := range names {
		if err := load(n); err != nil {
			return nil, err
		}
	}
	return order, nil
}

// dependencies reads what a module says that it needs (section .modinfo,
// "depends=a,b").
func dependencies(module []byte) ([]string, error) {
	f, err := elf.NewFile(bytes.NewReader(module))
	if err != nil {
		return nil, err
	}
	s := f.Section(".modinfo")
	if s == nil {
		return nil, fmt.Errorf("it has no .modinfo")
	}
	info, err := s.Data()
	if err != nil {
		return nil, err
	}
	for _, line := range strings.Split(string(info), "\x00") {
		if list, ok := strings.CutPrefix(line, "depends="); ok && list != "" {
			return strings.Split(list, ","), nil
		}
	}
	return nil, nil
}
