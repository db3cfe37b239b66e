package store

import (
	"context"
	"fmt"
	"net/url"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"

	"go.uber.org/goleak"
)

// postgresURL is the server that the tests share, empty where none can be
// started; postgresSkip says why.
var postgresURL, postgresSkip string

func TestMain(m *testing.M) {
	if os.Getenv(crashChild) != "" {
		crashWriter()
		return
	}
	stop := startPostgres()
	code := m.Run()
	stop()
	if code == 0 {
		if err := goleak.Find(); err != nil {
			fmt.Fprintln(os.Stderr, err)
			code = 1
		}
	}
	os.Exit(code)
}

// startPostgres starts a throw-away server on a Unix socket, as the user
// postgres when we are root (it refuses to run as root).
func startPostgres() (stop func()) {
	none := func(format string, args ...any) func() {
		postgresSkip = fmt.Sprintf(format, args...)
		return func() {}
	}
	bins, _ := filepath.Glob("/usr/lib/postgresql/*/bin")
	if len(bins) == 0 {
		return none("PostgreSQL is not installed")
	}
	bin := slices.Max(bins)
	dir, err := os.MkdirTemp("", "s4t-pg-")
	if err != nil {
		return none("%v", err)
	}
	attr := &syscall.SysProcAttr{}
	name := "postgres"
	if os.Getuid() == 0 {
		u, err := user.Lookup("postgres")
		if err != nil {
			os.RemoveAll(dir)
			return none("root cannot run PostgreSQL, and there is no user postgres")
		}
		uid, _ := strconv.Atoi(u.Uid)
		gid, _ := strconv.Atoi(u.Gid)
		attr.Credential = &syscall.Credential{Uid: uint32(uid), Gid: uint32(gid)}
		if err := os.Chown(dir, uid, gid); err != nil {
			os.RemoveAll(dir)
			return none("%v", err)
		}
	}
	run := func(args ...string) error {
		cmd := exec.Command(filepath.Join(bin, args[0]), args[1:]...)
		cmd.SysProcAttr, cmd.Dir = attr, dir
		cmd.Env = []string{"PATH=" + bin, "LC_ALL=C", "HOME=" + dir}
		out, err := os.Create(filepath.Join(os.TempDir(), filepath.Base(dir)+"."+args[0]+".log"))
		if err != nil {
			return err
		}
		defer os.Remove(out.Name())
		defer out.Close()
		cmd.Stdout, cmd.Stderr = out, out // a file: the server outlives pg_ctl and keeps it open
		if err := cmd.Run(); err != nil {
			text, _ := os.ReadFile(out.Name())
			return fmt.Errorf("%s: %w: %s", args[0], err, text)
		}
		return nil
	}
	data := filepath.Join(dir, "data")
	if err := run("initdb", "-D", data, "-U", name, "-A", "trust", "-E", "UTF8", "--no-sync"); err != nil {
		os.RemoveAll(dir)
		return none("%v", err)
	}
	options := "-c listen_addresses='' -c unix_socket_directories='" + dir + "' -c fsync=off -c max_connections=200 -c max_pred_locks_per_transaction=256"
	if err := run("pg_ctl", "-D", data, "-w", "-l", filepath.Join(dir, "log"), "-o", options, "start"); err != nil {
		os.RemoveAll(dir)
		return none("%v", err)
	}
	postgresURL = "postgres://" + name + "@/postgres?host=" + url.QueryEscape(dir)
	return func() {
		if err := run("pg_ctl", "-D", data, "-w", "-m", "immediate", "stop"); err != nil {
			fmt.Fprintln(os.Stderr, err)
		}
		os.RemoveAll(dir)
	}
}

// onBoth runs a test on a fresh database of each engine.
func onBoth(t *testing.T, test func(t *testing.T, db *DB)) {
	t.Run("sqlite", func(t *testing.T) {
		test(t, openTest(t, "sqlite:"+filepath.Join(t.TempDir(), "s4t.db")))
	})
	t.Run("postgres", func(t *testing.T) {
		test(t, openTest(t, freshPostgres(t)))
	})
}

// freshPostgres makes a database of its own for a test.
func freshPostgres(t *testing.T) string {
	t.Helper()
	if postgresURL == "" {
		t.Skip("no PostgreSQL: " + postgresSkip)
	}
	admin := &DB{}
	if err := admin.openPostgres(postgresURL); err != nil {
		t.Fatal(err)
	}
	defer admin.Close()
	name := "t" + strings.Map(func(r rune) rune {
		if r >= 'a' && r <= 'z' || r >= '0' && r <= '9' {
			return r
		}
		return '_'
	}, strings.ToLower(t.Name()))
	name = name[:min(len(name), 60)]
	if _, err := admin.write.Exec("CREATE DATABASE " + name); err != nil {
		t.Fatal(err)
	}
	return strings.Replace(postgresURL, "/postgres?", "/"+name+"?", 1)
}

func openTest(t *testing.T, url string) *DB {
	t.Helper()
	db, err := Open(context.Background(), Config{URL: url})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := db.Close(); err != nil {
			t.Error(err)
		}
	})
	return db
}

// write and view fail the test on an error.
func write(t *testing.T, db *DB, fn func(tx *Tx) error) {
	t.Helper()
	if err := db.Tx(t.Context(), fn); err != nil {
		t.Fatal(err)
	}
}

func view(t *testing.T, db *DB, fn func(tx *Tx) error) {
	t.Helper()
	if err := db.View(t.Context(), fn); err != nil {
		t.Fatal(err)
	}
}
