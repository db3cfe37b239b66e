package main

import (
	"archive/tar"
	"compress/gzip"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"golang.org/x/sys/unix"

	"github.com/stack4things/s4t"
	"github.com/stack4things/s4t/store"
)

// A backup is a tar.gz: the database as a file of SQLite, whatever engine it came
// from, and what else is in the data directory, the CA among it.
const (
	databaseFile = "iotronic.db"
	lockFile     = "lock"
)

func newBackupCommand() *cobra.Command {
	var at place
	c := &cobra.Command{
		Use:   "backup FILE",
		Short: "Write the cloud's database and data directory to a file, while it runs",
		Long: "Write the cloud's database, as it is at one moment, and its data directory with the CA to a new file. The cloud may run,\n" +
			"and the database be SQLite or PostgreSQL. Whoever has the file can be the cloud: it is for its owner's eyes only.",
		Example: "  iotronic backup --data /var/lib/iotronic /backup/iotronic-monday.tar.gz",
		Args:    cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			settings, err := at.settings(cmd)
			if err != nil {
				return err
			}
			unix.Umask(0o077)
			if err := backup(cmd.Context(), settings.Database, settings.Data, args[0]); err != nil {
				return err
			}
			_, err = fmt.Fprintf(cmd.OutOrStdout(), "wrote %s\n", args[0])
			return err
		},
	}
	at.flags(c)
	return c
}

// backup writes one.
func backup(ctx context.Context, database, data, path string) (err error) {
	op := "write the backup " + path
	fail := func(err error) error {
		if errors.Is(err, fs.ErrExist) {
			return s4t.Errorf(s4t.Conflict, op, "choose another name", "it is there already")
		}
		return s4t.Errorf(s4t.Unavailable, op, "check space and permissions", "%w", err)
	}
	if _, err := os.Lstat(path); err == nil {
		return fail(fs.ErrExist)
	}
	db, err := store.OpenToRead(ctx, database)
	if err != nil {
		return err
	}
	defer db.Close()
	tmp, err := os.MkdirTemp(filepath.Dir(path), ".iotronic-backup-*") // mode 0700, on the same disk
	if err != nil {
		return fail(err)
	}
	defer os.RemoveAll(tmp)
	snapshot := filepath.Join(tmp, databaseFile)
	if err := db.Snapshot(ctx, snapshot); err != nil {
		return err
	}
	f, err := os.OpenFile(filepath.Join(tmp, "backup"), os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return fail(err)
	}
	defer f.Close()
	z := gzip.NewWriter(f)
	w := tar.NewWriter(z)
	err = addFile(w, snapshot, databaseFile)
	if err == nil {
		err = addDataDir(w, data)
	}
	for _, end := range []func() error{w.Close, z.Close, f.Sync, f.Close} {
		if err == nil {
			err = end()
		}
	}
	if err == nil {
		err = os.Link(f.Name(), path) // whole, or not at all; never over another
	}
	if err != nil {
		return fail(err)
	}
	return nil
}

// addDataDir adds the files of the data directory but the database and what is of
// the process that runs.
func addDataDir(w *tar.Writer, dir string) error {
	err := filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		name, err := filepath.Rel(dir, path)
		if err != nil || !d.Type().IsRegular() || name == lockFile || strings.HasPrefix(name, databaseFile) || strings.HasPrefix(d.Name(), ".") {
			return err
		}
		return addFile(w, path, name)
	})
	if errors.Is(err, fs.ErrNotExist) { // the cloud's is on another machine, with the CA
		return nil
	}
	return err
}

// addFile adds one.
func addFile(w *tar.Writer, path, name string) error {
	f, err := os.Open(path)
	if err != nil {
		return err
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return err
	}
	if err := w.WriteHeader(&tar.Header{Typeflag: tar.TypeReg, Name: filepath.ToSlash(name), Size: info.Size(), Mode: int64(info.Mode().Perm()), ModTime: info.ModTime().Round(time.Second)}); err != nil {
		return err
	}
	_, err = io.CopyN(w, f, info.Size())
	return err
}

func newRestoreCommand() *cobra.Command {
	var at place
	c := &cobra.Command{
		Use:   "restore FILE",
		Short: "Make the cloud of a backup again, where none is",
		Long: "Make the data directory and the database of a backup again: where no iotronic runs, and none has left its files or rows.\n" +
			"Boards and agents come back by themselves. What was done since the backup is lost: boards that joined have to join\n" +
			"again, and tokens and passwords that were withdrawn are good again.",
		Example: "  iotronic restore --data /var/lib/iotronic /backup/iotronic-monday.tar.gz\n" +
			"  iotronic restore --data /var/lib/iotronic --database postgres://iotronic@db.example.org/iotronic backup.tar.gz",
		Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			settings, err := at.settings(cmd)
			if err != nil {
				return err
			}
			if err := restore(cmd.Context(), args[0], settings.Data, settings.Database); err != nil {
				return err
			}
			_, err = fmt.Fprintf(cmd.OutOrStdout(), "restored %s; start iotronic serve\n", settings.Data)
			return err
		},
	}
	at.flags(c)
	return c
}

// restore makes a data directory and a database of a backup. Where it fails the
// directory is as it was.
func restore(ctx context.Context, path, data, database string) error {
	op := "restore " + path
	in, err := os.Open(path)
	if err != nil {
		return s4t.Errorf(s4t.Invalid, op, "name a file that iotronic backup wrote", "%w", err)
	}
	defer in.Close()
	unlock, err := openDataDir(data)
	if err != nil {
		return err
	}
	defer unlock()
	there, err := os.ReadDir(data)
	if err != nil {
		return s4t.Errorf(s4t.Unavailable, op, "", "%w", err)
	}
	for _, e := range there {
		if e.Name() != lockFile {
			return s4t.Errorf(s4t.Conflict, op, "move it away, or choose another directory with --data", "%s has files already: %s", data, e.Name())
		}
	}
	tmp, err := os.MkdirTemp(data, ".restore-*")
	if err != nil {
		return s4t.Errorf(s4t.Unavailable, op, "", "%w", err)
	}
	defer os.RemoveAll(tmp)
	if err := extract(in, tmp); err != nil {
		return s4t.Errorf(s4t.Invalid, op, "name a file that iotronic backup wrote, and check space and permissions", "%w", err)
	}
	snapshot := filepath.Join(tmp, databaseFile)
	if _, err := os.Stat(snapshot); err != nil {
		return s4t.Errorf(s4t.Invalid, op, "name a file that iotronic backup wrote", "it holds no database")
	}
	db, err := store.Open(ctx, store.Config{URL: "sqlite:" + snapshot}) // that of an older version is brought up to date
	if err != nil {
		return err
	}
	own := database == "sqlite:"+filepath.Join(data, databaseFile)
	if err = db.Restored(ctx); err == nil && !own {
		err = copyTo(ctx, db, database)
	}
	if cerr := db.Close(); err == nil {
		err = cerr
	}
	if err != nil {
		return err
	}
	entries, err := os.ReadDir(tmp)
	for _, e := range entries {
		if err == nil && (own || !strings.HasPrefix(e.Name(), databaseFile)) {
			err = os.Rename(filepath.Join(tmp, e.Name()), filepath.Join(data, e.Name()))
		}
	}
	if err != nil {
		return s4t.Errorf(s4t.Unavailable, op, "", "%w", err)
	}
	return nil
}

// copyTo copies a database to another one.
func copyTo(ctx context.Context, db *store.DB, url string) error {
	to, err := store.Open(ctx, store.Config{URL: url})
	if err != nil {
		return err
	}
	defer to.Close()
	return store.Copy(ctx, db, to, func(store.Copied) {})
}

// extract writes the files of a backup into a directory.
func extract(in io.Reader, dir string) error {
	z, err := gzip.NewReader(in)
	if err != nil {
		return err
	}
	root, err := os.OpenRoot(dir) // no name leads out of it
	if err != nil {
		return err
	}
	defer root.Close()
	for r := tar.NewReader(z); ; {
		h, err := r.Next()
		if err == io.EOF {
			return nil
		}
		if err != nil {
			return err
		}
		if h.Typeflag != tar.TypeReg {
			return fmt.Errorf("%s is no file", h.Name)
		}
		if err := root.MkdirAll(filepath.Dir(filepath.FromSlash(h.Name)), 0o700); err != nil {
			return err
		}
		f, err := root.OpenFile(filepath.FromSlash(h.Name), os.O_WRONLY|os.O_CREATE|os.O_EXCL, fs.FileMode(h.Mode).Perm()&0o700|0o600)
		if err != nil {
			return err
		}
		_, err = io.Copy(f, r)
		for _, end := range []func() error{f.Sync, f.Close} {
			if eerr := end(); err == nil {
				err = eerr
			}
		}
		if err != nil {
			return err
		}
	}
}
