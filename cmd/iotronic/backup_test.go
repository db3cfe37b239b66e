package main

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stack4things/s4t/internal/pgtest"
)

// TestABackupIsRestoredOnceWhereNothingIs: of a cloud that runs, on either engine.
func TestABackupIsRestoredOnceWhereNothingIs(t *testing.T) {
	for engine, database := range map[string]func(data string) string{
		"sqlite":   func(string) string { return "" },
		"postgres": func(string) string { return pgtest.URL(t) },
	} {
		t.Run(engine, func(t *testing.T) {
			dir := t.TempDir()
			data, file := filepath.Join(dir, "data"), filepath.Join(dir, "b.tar.gz")
			at := func(data, url string) []string {
				if url == "" {
					return []string{"--data", data}
				}
				return []string{"--data", data, "--database", url}
			}
			url := database(data)
			cloud := startServe(t, data, func(c *config) { c.Database = url })
			admin := readAdmin(t, data)
			if status, _, errs := say(t, append([]string{"backup", file}, at(data, url)...)...); status != 0 {
				t.Fatalf("backup: %s", errs)
			}
			if info, err := os.Stat(file); err != nil || info.Mode().Perm() != 0o600 {
				t.Errorf("%v, %v", info.Mode(), err)
			}
			if status, _, errs := say(t, append([]string{"backup", file}, at(data, url)...)...); status != exitFailed || !strings.Contains(errs, "there already") {
				t.Errorf("over another: %d, %s", status, errs)
			}
			if status, _, errs := say(t, append([]string{"restore", file}, at(data, url)...)...); status != exitFailed || !strings.Contains(errs, "another iotronic uses it") {
				t.Errorf("under a running cloud: %d, %s", status, errs)
			}
			if err := cloud.stop(); err != nil {
				t.Error(err)
			}
			if status, _, errs := say(t, append([]string{"restore", file}, at(data, url)...)...); status != exitFailed || !strings.Contains(errs, "has files already") {
				t.Errorf("over a cloud: %d, %s", status, errs)
			}
			again, other := filepath.Join(dir, "again"), database(data)
			if url != "" {
				if status, _, errs := say(t, append([]string{"restore", file}, at(again, url)...)...); status != exitFailed || !strings.Contains(errs, "not empty") {
					t.Errorf("over a database: %d, %s", status, errs)
				}
			}
			if status, _, errs := say(t, append([]string{"restore", file}, at(again, other)...)...); status != 0 {
				t.Fatalf("restore: %s", errs)
			}
			startServe(t, again, func(c *config) { c.Database = other })
			if got := readAdmin(t, again); got.Token != admin.Token || got.CA != admin.CA {
				t.Error("the admin, or the CA, is another")
			}
		})
	}
}

func TestARestoreTakesNothingButABackup(t *testing.T) {
	dir := t.TempDir()
	write := func(name string, files ...tar.Header) string {
		var b bytes.Buffer
		z := gzip.NewWriter(&b)
		w := tar.NewWriter(z)
		for _, h := range files {
			if err := w.WriteHeader(&h); err != nil {
				t.Fatal(err)
			}
		}
		w.Close()
		z.Close()
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, b.Bytes(), 0o600); err != nil {
			t.Fatal(err)
		}
		return path
	}
	for name, file := range map[string]string{
		"none":       filepath.Join(dir, "none"),
		"text":       filepath.Join("backup_test.go"),
		"nothing":    write("nothing"),
		"a way out":  write("out", tar.Header{Typeflag: tar.TypeReg, Name: "../out.txt", Mode: 0o600}),
		"a symlink":  write("link", tar.Header{Typeflag: tar.TypeSymlink, Name: "x", Linkname: "/etc"}),
		"an abs one": write("abs", tar.Header{Typeflag: tar.TypeReg, Name: "/out.txt", Mode: 0o600}),
	} {
		data := filepath.Join(dir, "data")
		if status, _, errs := say(t, "restore", file, "--data", data); status != exitUsage {
			t.Errorf("%s: %d, %s", name, status, errs)
		}
		if left, err := os.ReadDir(data); err == nil && len(left) > 1 {
			t.Errorf("%s left %v", name, left)
		}
	}
}

// TestMigrate: a stopped cloud goes on at PostgreSQL, with all that it had.
func TestMigrate(t *testing.T) {
	data := filepath.Join(t.TempDir(), "data")
	from, to := "sqlite:"+filepath.Join(data, databaseFile), pgtest.URL(t)
	cloud := startServe(t, data, nil)
	admin := readAdmin(t, data)
	if status, _, errs := say(t, "migrate", "--from", from, "--to", to); status != exitFailed || !strings.Contains(errs, "another iotronic uses it") {
		t.Errorf("a cloud that runs: %d, %s", status, errs)
	}
	if err := cloud.stop(); err != nil {
		t.Error(err)
	}
	if status, _, _ := say(t, "migrate", "--from", from); status != exitUsage {
		t.Errorf("without a target: %d", status)
	}
	status, out, errs := say(t, "migrate", "--from", from, "--to", to)
	if status != 0 || !strings.Contains(out, "users\t1 rows\n") || !strings.Contains(out, "counted at both ends") {
		t.Fatalf("%d, %s%s", status, out, errs)
	}
	if status, _, errs := say(t, "migrate", "--from", from, "--to", to); status != exitFailed || !strings.Contains(errs, "not empty") {
		t.Errorf("again: %d, %s", status, errs)
	}
	startServe(t, data, func(c *config) { c.Database = to })
	if got := readAdmin(t, data); got.Token != admin.Token {
		t.Error("the admin is another")
	}
	back := "sqlite:" + filepath.Join(t.TempDir(), "x.db")
	if status, _, errs := say(t, "migrate", "--from", to, "--to", back); status != exitFailed || !strings.Contains(errs, "a conductor runs on the source") {
		t.Errorf("from a PostgreSQL in use: %d, %s", status, errs)
	}
}
