// Package pgtest gives tests databases of a real PostgreSQL. The first test of
// a process that asks starts a cluster of its own in a temporary directory, on
// a Unix socket, with nothing synced to the disk. A keeper process stops it and
// removes the directory when the process that runs the tests has ended, however
// it ended.
//
// S4T_TEST_DATABASE names another server: the URL of a database there as a user
// who may create databases. Where neither is to be had, tests are skipped, and
// fail if S4T_NO_SKIPS is set.
package pgtest

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"net/url"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"

	"github.com/jackc/pgx/v5"

	"github.com/stack4things/s4t"
)

// URL makes an empty database for a test, which is dropped when the test ends,
// and returns its URL.
func URL(t testing.TB) string {
	t.Helper()
	return database(t, "")
}

// Copy is [URL] with what fill put into a database: the schema. It is called
// once for all tests of the process, so it is the same for all of them, and
// closes its connections.
func Copy(t testing.TB, fill func(url string) error) string {
	t.Helper()
	if os.Getenv(serverVariable) != "" { // nobody would drop the template there
		url := URL(t)
		if err := fill(url); err != nil {
			t.Fatal(err)
		}
		return url
	}
	template.Do(func() {
		server, err := server()
		if err != nil {
			return // said by database
		}
		template.err = execute(server, "CREATE DATABASE "+template.name)
		if template.err == nil {
			template.err = fill(at(server, template.name))
		}
	})
	if template.err != nil {
		t.Fatal(template.err)
	}
	return database(t, " TEMPLATE "+template.name)
}

// template is the database that Copy copies.
var template = struct {
	sync.Once
	name string
	err  error
}{name: "s4t_template"}

// database makes one.
func database(t testing.TB, options string) string {
	t.Helper()
	server, err := server()
	if err != nil {
		if os.Getenv("S4T_NO_SKIPS") != "" {
			t.Fatalf("no PostgreSQL, and S4T_NO_SKIPS is set: %v", err)
		}
		t.Skipf("no PostgreSQL: %v", err)
	}
	name := "s4t_" + strings.ReplaceAll(s4t.NewID(), "-", "")
	if err := execute(server, "CREATE DATABASE "+name+options); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := execute(server, "DROP DATABASE "+name+" WITH (FORCE)"); err != nil {
			t.Error(err)
		}
	})
	return at(server, name)
}

// Server returns the URL of the server, for a program that runs tests in other
// processes: it gives them the URL as S4T_TEST_DATABASE.
func Server() (string, error) { return server() }

// at is the URL of a database on a server.
func at(server, name string) string {
	u, err := url.Parse(server)
	if err != nil {
		return server // pgx says what is wrong with it
	}
	u.Path = "/" + name
	return u.String()
}

// execute runs one statement on a connection of its own.
func execute(server, statement string) error {
	ctx := context.Background() // a test that ends cleans up
	conn, err := pgx.Connect(ctx, server)
	if err != nil {
		return err
	}
	defer conn.Close(ctx)
	_, err = conn.Exec(ctx, statement)
	return err
}

const serverVariable = "S4T_TEST_DATABASE"

// server returns the URL of the server that the tests of this process share.
var server = sync.OnceValues(func() (string, error) {
	if url := os.Getenv(serverVariable); url != "" {
		return url, nil
	}
	return start()
})

// keep starts a cluster and says "ready", or ends and leaves the reason in the
// log; it stops the cluster and removes its directory once its standard input
// ends, which is when the last process that has the other end of the pipe
// ends. $1 is PostgreSQL's directory of programs, $2 that of the cluster.
const keep = `
exec 3>&1 >"$2/log" 2>&1
"$1/initdb" -D "$2/data" -U postgres -A trust -E UTF8 --locale=C --no-sync 3>&- &&
"$1/pg_ctl" -D "$2/data" -w -l "$2/log" -o "-F -c listen_addresses= -c unix_socket_directories='$2' -c max_connections=300 \
	-c synchronous_commit=off -c full_page_writes=off -c autovacuum=off -c deadlock_timeout=100ms" start 3>&- && {
	echo ready >&3
	exec 3>&-
	read -r end
	"$1/pg_ctl" -D "$2/data" -w -m immediate stop
	rm -rf "$2"
}
`

// tests is this process's end of the pipe to the keeper: open until the process
// ends, or this is collected.
//
//lint:ignore U1000 only held
var tests *os.File

// start starts a cluster: as another user when we are root, whom PostgreSQL
// refuses to run as.
func start() (string, error) {
	bin, err := programs()
	if err != nil {
		return "", err
	}
	dir, err := os.MkdirTemp("", "s4t-pg-")
	if err != nil {
		return "", err
	}
	if tests, err = startIn(dir, bin, keep); err != nil {
		os.RemoveAll(dir)
		return "", err
	}
	return in(dir), nil
}

// in is the URL of the cluster in a directory.
func in(dir string) string { return "postgres://postgres@/postgres?host=" + url.QueryEscape(dir) }

// programs is PostgreSQL's directory of programs, of the newest version.
func programs() (string, error) {
	bins, _ := filepath.Glob("/usr/lib/postgresql/*/bin")
	if len(bins) == 0 {
		return "", errors.New("it is not installed; on Debian: apt install postgresql")
	}
	return slices.MaxFunc(bins, func(a, b string) int { return version(a) - version(b) }), nil
}

// version is the 15 of /usr/lib/postgresql/15/bin.
func version(bin string) int {
	n, _ := strconv.Atoi(filepath.Base(filepath.Dir(bin)))
	return n
}

// startIn runs a keeper of a cluster, and returns our end of the pipe to it once it
// is ready.
func startIn(dir, bin, keep string) (*os.File, error) {
	attr := &syscall.SysProcAttr{Setsid: true} // what is typed at the terminal is not for the keeper
	if os.Getuid() == 0 {
		uid, gid, err := unprivileged()
		if err != nil {
			return nil, err
		}
		attr.Credential = &syscall.Credential{Uid: uid, Gid: gid}
		if err := os.Chown(dir, int(uid), int(gid)); err != nil {
			return nil, err
		}
	}
	stdin, w, err := os.Pipe()
	if err != nil {
		return nil, err
	}
	defer stdin.Close()
	r, stdout, err := os.Pipe()
	if err != nil {
		w.Close()
		return nil, err
	}
	defer r.Close()
	cmd := exec.Command("/bin/sh", "-c", keep, "keep", bin, dir)
	cmd.SysProcAttr, cmd.Dir = attr, dir
	cmd.Env = []string{"PATH=/usr/bin:/bin", "LC_ALL=C", "HOME=" + dir}
	cmd.Stdin, cmd.Stdout = stdin, stdout
	err = cmd.Start()
	stdout.Close()
	if err != nil {
		w.Close()
		return nil, err
	}
	if line, _ := bufio.NewReader(r).ReadString('\n'); line != "ready\n" {
		w.Close()
		cmd.Wait()
		log, _ := os.ReadFile(filepath.Join(dir, "log"))
		return nil, fmt.Errorf("a cluster in %s does not start: %s", dir, log)
	}
	cmd.Process.Release() // it outlives us
	return w, nil
}

// unprivileged is who runs the cluster.
func unprivileged() (uid, gid uint32, err error) {
	for _, name := range []string{"postgres", "nobody"} {
		u, err := user.Lookup(name)
		if err != nil {
			continue
		}
		uid, _ := strconv.ParseUint(u.Uid, 10, 32)
		gid, _ := strconv.ParseUint(u.Gid, 10, 32)
		return uint32(uid), uint32(gid), nil
	}
	return 0, 0, errors.New("root cannot run it, and there is neither a user postgres nor nobody")
}
