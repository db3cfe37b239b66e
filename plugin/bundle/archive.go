package bundle

import (
	"archive/tar"
	"bufio"
	"compress/gzip"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"github.com/stack4things/s4t"
	"github.com/stack4things/s4t/internal/tomlfile"
)

const (
	maxPath    = 1024 // bytes of a path in a bundle
	readOp     = "read the bundle"
	readHint   = "pack it with `s4t plugin create NAME DIR`"
	packOp     = "pack the bundle"
	packHint   = "a bundle has files, folders, and links to what is in it"
	manifestIn = ManifestName + " at its top"
)

// ErrTooBig is in the error of a bundle that unpacks to more than it may.
var ErrTooBig = errors.New("it unpacks to more than it may")

// Pack writes the folder dir as a bundle to w: its manifest is checked first. The
// same folder gives the same bytes: names are sorted, and times and owners are left
// out. It returns the SHA-256 of what it wrote, in hex, and how many bytes it was.
func Pack(dir string, w io.Writer) (digest string, size int64, err error) {
	text, err := os.ReadFile(filepath.Join(dir, ManifestName))
	if err != nil {
		return "", 0, s4t.Errorf(s4t.Invalid, packOp, "a bundle is a folder with "+manifestIn, "%w", err)
	}
	m, err := ParseManifest(text)
	if err != nil {
		return "", 0, err
	}
	sum := sha256.New()
	count := &counter{w: io.MultiWriter(w, sum)}
	zip := gzip.NewWriter(count)
	pack := tar.NewWriter(zip)
	var entry fs.FileMode
	found, files, total := false, 0, int64(0)
	err = filepath.WalkDir(dir, func(at string, d fs.DirEntry, err error) error { // in lexical order
		if err != nil || at == dir {
			return err
		}
		rel, err := filepath.Rel(dir, at)
		if err != nil {
			return err
		}
		name := filepath.ToSlash(rel)
		info, err := d.Info()
		if err != nil {
			return err
		}
		if files++; files > s4t.MaxBundleFiles || !validPath(name) {
			return fmt.Errorf("%s: more than %d files, or a name that a bundle cannot have", s4t.Line(name, maxPath), s4t.MaxBundleFiles)
		}
		if name == path.Clean(m.Entry[0]) {
			found, entry = true, info.Mode()
		}
		if info.Mode().IsRegular() {
			total += info.Size()
		}
		if total > s4t.MaxBundleUnpacked {
			return fmt.Errorf("%w: %d bytes", ErrTooBig, int64(s4t.MaxBundleUnpacked))
		}
		return packOne(pack, at, name, info)
	})
	if err == nil {
		err = checkEntry(m, found, entry)
	}
	if err = errors.Join(err, pack.Close(), zip.Close()); err != nil {
		return "", 0, s4t.Errorf(s4t.Invalid, packOp, packHint, "%w", err)
	}
	if count.n > s4t.MaxBundle {
		return "", 0, s4t.Errorf(s4t.Invalid, packOp, "leave out what the board need not have", "it is %d bytes, and may be %d", count.n, int64(s4t.MaxBundle))
	}
	return hex.EncodeToString(sum.Sum(nil)), count.n, nil
}

func packOne(pack *tar.Writer, at, name string, info fs.FileInfo) error {
	h := &tar.Header{Name: name, Mode: int64(mode(info.Mode()))}
	switch {
	case info.IsDir():
		h.Typeflag, h.Name, h.Mode = tar.TypeDir, name+"/", 0o755
		return pack.WriteHeader(h)
	case info.Mode()&fs.ModeSymlink != 0:
		to, err := os.Readlink(at)
		if err != nil {
			return err
		}
		if !inside(name, to) {
			return fmt.Errorf("%s is a link out of the bundle", name)
		}
		h.Typeflag, h.Linkname = tar.TypeSymlink, to
		return pack.WriteHeader(h)
	case !info.Mode().IsRegular():
		return fmt.Errorf("%s is neither a file nor a folder", name)
	}
	f, err := os.Open(at)
	if err != nil {
		return err
	}
	defer f.Close()
	h.Typeflag, h.Size = tar.TypeReg, info.Size()
	if err := pack.WriteHeader(h); err != nil {
		return err
	}
	if _, err = io.CopyN(pack, f, h.Size); err == io.EOF {
		err = fmt.Errorf("%s has been cut while it was read", name)
	}
	return err
}

// Read returns the manifest of a packed bundle, and checks all of it as Unpack does,
// without writing anything.
func Read(r io.Reader) (Manifest, error) {
	return walk(r, s4t.MaxBundleUnpacked, func(*tar.Header, string, io.Reader) error { return nil })
}

// Unpack writes a packed bundle into dir, which is empty: at most limit bytes of
// files. What is there can be read by everybody and changed by its owner only, and
// nothing is outside dir, nor a link to there. The bundle's digest was checked before.
func Unpack(r io.Reader, dir string, limit int64) (Manifest, error) {
	root, err := os.OpenRoot(dir)
	if err != nil {
		return Manifest{}, err
	}
	defer root.Close()
	return walk(r, min(limit, s4t.MaxBundleUnpacked), func(h *tar.Header, name string, body io.Reader) error {
		if err := root.MkdirAll(path.Dir(name), 0o755); err != nil {
			return err
		}
		switch h.Typeflag {
		case tar.TypeDir:
			return root.MkdirAll(name, 0o755)
		case tar.TypeSymlink:
			return root.Symlink(h.Linkname, name)
		}
		m := mode(h.FileInfo().Mode())
		f, err := root.OpenFile(name, os.O_WRONLY|os.O_CREATE|os.O_EXCL, m)
		if err != nil {
			return err
		}
		_, err = io.Copy(f, body)
		return errors.Join(err, f.Chmod(m), f.Close()) // whatever the umask
	})
}

// walk reads a bundle to its end, in bounds, and gives each file, folder and link to
// each. What is not of a bundle is an error.
func walk(r io.Reader, limit int64, each func(h *tar.Header, name string, body io.Reader) error) (m Manifest, err error) {
	wrong := func(format string, args ...any) (Manifest, error) {
		return Manifest{}, s4t.Errorf(s4t.Invalid, readOp, readHint, format, args...)
	}
	zip, err := gzip.NewReader(bufio.NewReader(r))
	if err != nil {
		return wrong("it is no tar.gz: %w", err)
	}
	// Headers are bounded, too: what is read is the files, and 4 KB for each at most.
	all := &io.LimitedReader{R: zip, N: limit + s4t.MaxBundleFiles*4096}
	pack := tar.NewReader(all)
	var text []byte
	names := map[string]fs.FileMode{}
	var total int64
	for files := 0; ; files++ {
		h, err := pack.Next()
		switch {
		case err == io.EOF && all.N > 0:
		case err != nil && all.N <= 0:
			return wrong("%w: %d bytes", ErrTooBig, limit)
		case err != nil:
			return wrong("it is damaged: %w", err)
		}
		if err == io.EOF {
			break
		}
		name := path.Clean(strings.TrimPrefix(h.Name, "./"))
		if h.Typeflag == tar.TypeDir && name == "." || h.Typeflag == tar.TypeXGlobalHeader {
			continue
		}
		switch {
		case files >= s4t.MaxBundleFiles:
			return wrong("it has more than %d files", s4t.MaxBundleFiles)
		case !validPath(name):
			return wrong("%s is no path in a bundle", strconv.Quote(s4t.Line(h.Name, maxPath)))
		case h.Typeflag != tar.TypeReg && h.Typeflag != tar.TypeDir && h.Typeflag != tar.TypeSymlink:
			return wrong("%s is neither a file, a folder nor a symbolic link", name)
		case h.Typeflag == tar.TypeSymlink && !inside(name, h.Linkname):
			return wrong("%s is a link out of the bundle", name)
		case h.Typeflag == tar.TypeReg && h.Size > limit-total:
			return wrong("%w: %d bytes", ErrTooBig, limit)
		case name == ManifestName && (h.Typeflag != tar.TypeReg || h.Size > tomlfile.MaxFile || text != nil):
			return wrong("%s is one file of at most %d bytes", ManifestName, tomlfile.MaxFile)
		}
		names[name] = h.FileInfo().Mode()
		body := io.Reader(pack)
		if h.Typeflag == tar.TypeReg {
			total += h.Size
		}
		if name == ManifestName {
			if text, err = io.ReadAll(pack); err != nil {
				return wrong("it is damaged: %w", err)
			}
			body = strings.NewReader(string(text))
		}
		if err := each(h, name, body); err != nil {
			return wrong("%s: %w", name, err)
		}
	}
	if text == nil {
		return wrong("it has no %s", manifestIn)
	}
	if m, err = ParseManifest(text); err != nil {
		return Manifest{}, err
	}
	is, found := names[path.Clean(m.Entry[0])]
	if err := checkEntry(m, found, is); err != nil {
		return wrong("%w", err)
	}
	// The bytes after the archive are read, too: gzip's sum is at the end.
	if _, err := io.Copy(io.Discard, all); err != nil {
		return wrong("it is damaged: %w", err)
	}
	return m, nil
}

// checkEntry checks that the entry is there and can be run.
func checkEntry(m Manifest, found bool, is fs.FileMode) error {
	entry := s4t.Line(m.Entry[0], maxPath)
	switch {
	case !found || is.IsDir():
		return fmt.Errorf("its entry %s is not in it", entry)
	case m.Runtime == s4t.RuntimeExec && is.IsRegular() && is&0o111 == 0:
		return fmt.Errorf("its entry %s is not executable: `chmod +x %s`", entry, entry)
	}
	return nil
}

// mode is what is kept of a file's.
func mode(m fs.FileMode) fs.FileMode {
	if m&0o111 != 0 {
		return 0o755
	}
	return 0o644
}

// validPath reports whether a name is a path in a bundle: relative, and without "..".
func validPath(name string) bool {
	return name != "" && name != "." && len(name) <= maxPath && !path.IsAbs(name) &&
		!slices.Contains(strings.Split(name, "/"), "..") && !strings.ContainsFunc(name, func(r rune) bool { return !s4t.Prints(r) })
}

// inside reports whether the link name, which says to, leads to what is in the bundle.
func inside(name, to string) bool {
	if to == "" || len(to) > maxPath || path.IsAbs(to) {
		return false
	}
	end := path.Join(path.Dir(name), to)
	return end != ".." && !strings.HasPrefix(end, "../")
}

// counter counts what is written.
type counter struct {
	w io.Writer
	n int64
}

func (c *counter) Write(b []byte) (int, error) {
	n, err := c.w.Write(b)
	c.n += int64(n)
	return n, err
}
