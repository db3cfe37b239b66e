package pgtest

import (
	"context"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
)

// Node is a cluster of a test's own, which may be killed: what was committed is
// there again when it is started. Its methods are for one goroutine.
type Node struct {
	dir    string
	keeper *os.File // commands to it; its end is the cluster's
}

// Own starts one, which ends with the test.
func Own(t testing.TB) *Node {
	t.Helper()
	bin, err := programs()
	if err != nil {
		if os.Getenv("S4T_NO_SKIPS") != "" {
			t.Fatalf("no PostgreSQL, and S4T_NO_SKIPS is set: %v", err)
		}
		t.Skipf("no PostgreSQL: %v", err)
	}
	n := &Node{}
	if n.dir, err = os.MkdirTemp("", "s4t-pg-"); err != nil {
		t.Fatal(err)
	}
	if n.keeper, err = startIn(n.dir, bin, keepOwn); err != nil {
		os.RemoveAll(n.dir)
		t.Fatal(err)
	}
	t.Cleanup(func() { n.keeper.Close() })
	n.listens(t)
	return n
}

// URL is that of its one database, on a Unix socket.
func (n *Node) URL() string { return in(n.dir) }

// Socket is the path of the Unix socket.
func (n *Node) Socket() string { return filepath.Join(n.dir, ".s.PGSQL.5432") }

// Kill ends all its processes with SIGKILL.
func (n *Node) Kill(t testing.TB) { t.Helper(); n.say(t, "kill") }

// Restart starts it after Kill, and returns when it serves.
func (n *Node) Restart(t testing.TB) {
	t.Helper()
	n.say(t, "start")
	n.listens(t)
}

// Pause has all its processes stand still until Resume.
func (n *Node) Pause(t testing.TB) { t.Helper(); n.say(t, "pause") }

// Resume has them go on.
func (n *Node) Resume(t testing.TB) { t.Helper(); n.say(t, "resume") }

func (n *Node) say(t testing.TB, command string) {
	t.Helper()
	if _, err := n.keeper.WriteString(command + "\n"); err != nil {
		t.Fatalf("the keeper of PostgreSQL has ended: %v", err)
	}
}

// listens returns when a client is served.
func (n *Node) listens(t testing.TB) {
	t.Helper()
	for end := time.Now().Add(time.Minute); ; time.Sleep(20 * time.Millisecond) {
		ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
		conn, err := pgx.Connect(ctx, n.URL())
		if err == nil {
			conn.Close(ctx)
		}
		cancel()
		if err == nil {
			return
		}
		if time.Now().After(end) {
			log, _ := os.ReadFile(filepath.Join(n.dir, "log"))
			t.Fatalf("PostgreSQL does not start: %v: %s", err, log)
		}
	}
}

// keepOwn is [keep] of a Node: it does what it is told on its standard input. Children
// of the postmaster have process groups of their own, so they are asked for. One that was
// not ended yet when the next postmaster starts keeps that from starting, so it is tried again.
const keepOwn = `
exec 3>&1 >"$2/log" 2>&1
bin=$1 dir=$2
"$bin/initdb" -D "$dir/data" -U postgres -A trust -E UTF8 --locale=C --no-sync 3>&- || exit 1
echo ready >&3
exec 3>&-
serve() {
	for i in 1 2 3 4 5 6 7 8 9; do
		"$bin/postgres" -D "$dir/data" -c listen_addresses= -c unix_socket_directories="$dir" -c max_connections=300 -c dynamic_shared_memory_type=mmap </dev/null && return
		sleep 0.3
	done
}
all() {
	main=$(head -1 "$dir/data/postmaster.pid")
	kill "-$1" "$main" $(cat "/proc/$main/task/$main/children")
}
serve &
while read -r command; do
	case $command in
	kill) kill -9 $!; all KILL; wait ;;
	start) serve & ;;
	pause) all STOP ;;
	resume) all CONT ;;
	esac
done
kill -9 $!
all CONT
"$bin/pg_ctl" -D "$dir/data" -w -m immediate stop || {
	segment=$(sed -n '7s/.* //p' "$dir/data/postmaster.pid")
	all KILL
	[ -z "$segment" ] || ipcrm -m "$segment"
}
wait
rm -rf "$dir"
`
