package cloud

import (
	"io/fs"
	"os"
	"path/filepath"

	"github.com/stack4things/s4t"
)

// WriteFile replaces a file of the data directory as a whole: after a crash there
// is the old one or the new one.
func WriteFile(path string, data []byte, mode fs.FileMode) error {
	fail := func(err error) error {
		return s4t.Errorf(s4t.Unavailable, "write "+path, "check space and permissions of the data directory", "%w", err)
	}
	f, err := os.CreateTemp(filepath.Dir(path), "."+filepath.Base(path)+".*") // mode 0600
	if err != nil {
		return fail(err)
	}
	_, err = f.Write(data)
	if err == nil {
		err = f.Chmod(mode)
	}
	if err == nil {
		err = f.Sync()
	}
	if cerr := f.Close(); err == nil {
		err = cerr
	}
	if err == nil {
		err = os.Rename(f.Name(), path)
	}
	if err != nil {
		os.Remove(f.Name())
		return fail(err)
	}
	dir, err := os.Open(filepath.Dir(path))
	if err != nil {
		return fail(err)
	}
	defer dir.Close()
	if err := dir.Sync(); err != nil { // the new name, too, survives a power cut
		return fail(err)
	}
	return nil
}
