// Package rabbittest gives tests a real RabbitMQ. The first test of a process
// that asks starts a node of its own: its files in a temporary directory, its
// ports on loopback, its names those of nobody else. A keeper process kills it,
// and the port mapper that Erlang wants beside it, and removes the directory when
// the process that runs the tests has ended, however it ended.
//
// S4T_AMQP_URL names another broker, as a user who may do everything in its vhost.
// S4T_RABBIT_ROOT is the root of another system that has one, as scripts/debian13
// makes it: the node runs in it (as root). Where none is to be had, tests are
// skipped, and fail if S4T_NO_SKIPS is set.
package rabbittest

import (
	"bytes"
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/stack4things/s4t"
)

const (
	serverVariable = "S4T_AMQP_URL"
	rootVariable   = "S4T_RABBIT_ROOT"
)

// URL is that of the broker which the tests of this process share, with a prefix
// of names that no other test has.
func URL(t testing.TB) string {
	t.Helper()
	if text := os.Getenv(serverVariable); text != "" {
		return withPrefix(t, text)
	}
	n, err := shared()
	if err != nil {
		none(t, err)
	}
	return withPrefix(t, n.url())
}

// Server is the URL of the broker of this process, for a program that is no test and
// runs processes of a cloud.
func Server() (string, error) {
	if text := os.Getenv(serverVariable); text != "" {
		return text, nil
	}
	n, err := shared()
	if err != nil {
		return "", err
	}
	return n.url(), nil
}

func withPrefix(t testing.TB, text string) string {
	u, err := url.Parse(text)
	if err != nil {
		t.Fatalf("%s is not a URL", serverVariable)
	}
	q := u.Query()
	q.Set("prefix", "test-"+s4t.NewID())
	u.RawQuery = q.Encode()
	return u.String()
}

// none is for a test that finds no RabbitMQ.
func none(t testing.TB, err error) {
	if os.Getenv("S4T_NO_SKIPS") != "" {
		t.Fatalf("no RabbitMQ, and S4T_NO_SKIPS is set: %v", err)
	}
	t.Skipf("no RabbitMQ: %v", err)
}

// shared is the node that the tests of this process have; it ends with the process.
var shared = sync.OnceValues(start)

// Node is a broker of our own, which may be killed. Its methods are for one
// goroutine.
type Node struct {
	port   int
	dir    string
	keeper *os.File // commands to it; its end is the node's
}

// Own is the node of this process, for a test that may kill it: one that runs alone.
func Own(t testing.TB) *Node {
	t.Helper()
	n, err := shared()
	if err != nil {
		none(t, err)
	}
	return n
}

// URL is that of the node, with a prefix of names that no other test has.
func (n *Node) URL(t testing.TB) string { return withPrefix(t, n.url()) }

func (n *Node) url() string { return "amqp://guest:guest@" + n.Addr() + "/" }

// Addr is where it listens, as long as it runs.
func (n *Node) Addr() string { return net.JoinHostPort("127.0.0.1", strconv.Itoa(n.port)) }

// Kill ends the node as a power cut does, and returns when it has.
func (n *Node) Kill(t testing.TB) {
	t.Helper()
	n.say(t, "kill")
	for end := time.Now().Add(patience); ; {
		c, err := net.Dial("tcp", n.Addr())
		if err != nil {
			return
		}
		c.Close()
		if time.Now().After(end) {
			t.Fatal("RabbitMQ was killed, and still listens")
		}
	}
}

// Restart starts a node that was killed, on the same port and with what it had
// written, and returns when it listens.
func (n *Node) Restart(t testing.TB) {
	t.Helper()
	n.say(t, "start")
	if err := n.listens(); err != nil {
		t.Fatal(err)
	}
}

// Pause has the node stand still, as a machine that is out of memory does, until Resume.
func (n *Node) Pause(t testing.TB) { t.Helper(); n.say(t, "pause") }

// Resume has it go on.
func (n *Node) Resume(t testing.TB) { t.Helper(); n.say(t, "resume") }

func (n *Node) say(t testing.TB, command string) {
	t.Helper()
	if _, err := n.keeper.WriteString(command + "\n"); err != nil {
		t.Fatalf("the keeper of RabbitMQ has ended: %v", err)
	}
}

// Ctl runs rabbitmqctl, with arguments that are words.
func (n *Node) Ctl(t testing.TB, args ...string) {
	t.Helper()
	status := filepath.Join(n.dir, "status")
	os.Remove(status)
	n.say(t, "ctl "+strings.Join(args, " "))
	for end := time.Now().Add(patience); ; time.Sleep(20 * time.Millisecond) {
		switch text, err := os.ReadFile(status); {
		case err == nil && string(text) == "0\n":
			return
		case err == nil && len(text) > 0, time.Now().After(end):
			out, _ := os.ReadFile(filepath.Join(n.dir, "ctl"))
			t.Fatalf("rabbitmqctl %v ends with %s: %s", args, bytes.TrimSpace(text), out)
		}
	}
}

// patience is for a node on a busy machine: one starts within 3 to 11 s.
const patience = 2 * time.Minute

// keep runs the port mapper and the node, kills and starts the node as it is told
// on its standard input, and ends both when that ends: which is when the last
// process that has the other end of the pipe has ended. The node and all that it
// starts are a process group of their own. With a root of another system they run
// in that, and what is mounted for them ends with the keeper.
const keep = `
exec >"$DIR/log" 2>&1
set -f
in=
if [ -n "$ROOT" ]; then
	mkdir -p "$ROOT$DIR" && mount --rbind /dev "$ROOT/dev" && mount -t proc proc "$ROOT/proc" && mount --bind "$DIR" "$ROOT$DIR"
	in="chroot $ROOT"
fi
$in "$EPMD" -port "$ERL_EPMD_PORT" -address 127.0.0.1 </dev/null & epmd=$!
start() { setsid $in "$SBIN/rabbitmq-server" </dev/null & node=$!; }
stop() { kill -9 "-$node"; wait "$node"; }
start
while read -r command words; do
	case $command in
	kill) stop ;;
	start) start ;;
	pause) kill -STOP "-$node" ;;
	resume) kill -CONT "-$node" ;;
	ctl) $in "$SBIN/rabbitmqctl" $words >"$DIR/ctl" 2>&1 </dev/null; echo $? >"$DIR/status" ;;
	esac
done
stop
kill "$epmd"
wait "$epmd"
cd /
[ -z "$ROOT" ] || { umount "$ROOT$DIR"; rmdir "$ROOT$DIR"; }
rm -rf "$DIR"
`

func start() (*Node, error) {
	root := os.Getenv(rootVariable)
	bins, _ := filepath.Glob(root + "/usr/lib/rabbitmq/lib/rabbitmq_server-*/sbin")
	mappers, _ := filepath.Glob(root + "/usr/lib/erlang/erts-*/bin/epmd")
	if len(bins) == 0 || len(mappers) == 0 {
		return nil, errors.New("it is not installed; on Debian: apt install rabbitmq-server")
	}
	dir, err := os.MkdirTemp("", "s4t-rabbit-")
	if err != nil {
		return nil, err
	}
	n := &Node{dir: dir}
	within := func(path string) string { return strings.TrimPrefix(path, root) }
	if err = n.start(root, within(bins[len(bins)-1]), within(mappers[len(mappers)-1])); err != nil {
		if n.keeper != nil {
			n.keeper.Close() // it removes the directory
		} else {
			os.RemoveAll(dir)
		}
		return nil, err
	}
	return n, nil
}

// files of a node: what is not of the machine's own configuration.
var files = map[string]string{
	"plugins":             "[].\n",
	".erlang.cookie":      "", // see start
	"rabbitmq.conf":       "log.file = false\nlog.console = true\nlog.console.level = warning\n",
	"rabbitmq-env.conf":   "",
	"advanced.config":     "[].\n",
	"conf.d/.placeholder": "",
}

func (n *Node) start(root, sbin, epmd string) error {
	ports, err := freePorts(3)
	if err != nil {
		return err
	}
	n.port = ports[0]
	for name, text := range files {
		if name == ".erlang.cookie" {
			text = s4t.NewID() // nobody else's node speaks with it
		}
		path := filepath.Join(n.dir, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
			return err
		}
		if err := os.WriteFile(path, []byte(text), 0o400); err != nil {
			return err
		}
	}
	at := func(name string) string { return filepath.Join(n.dir, name) }
	env := []string{
		"PATH=/usr/sbin:/usr/bin:/sbin:/bin", "LC_ALL=C.UTF-8", "HOME=" + n.dir, "DIR=" + n.dir,
		"ROOT=" + root, "EPMD=" + epmd, "SBIN=" + sbin,
		"ERL_EPMD_PORT=" + strconv.Itoa(ports[1]), "ERL_EPMD_ADDRESS=127.0.0.1",
		"RABBITMQ_NODENAME=s4t" + strconv.Itoa(n.port) + "@localhost",
		"RABBITMQ_NODE_IP_ADDRESS=127.0.0.1", "RABBITMQ_NODE_PORT=" + strconv.Itoa(n.port), "RABBITMQ_DIST_PORT=" + strconv.Itoa(ports[2]),
		"RABBITMQ_MNESIA_BASE=" + at("data"), "RABBITMQ_LOG_BASE=" + at("logs"),
		"RABBITMQ_CONFIG_FILE=" + at("rabbitmq.conf"), "RABBITMQ_ADVANCED_CONFIG_FILE=" + at("advanced.config"),
		"RABBITMQ_CONFIG_FILES=" + at("conf.d"), "RABBITMQ_CONF_ENV_FILE=" + at("rabbitmq-env.conf"),
		"RABBITMQ_ENABLED_PLUGINS_FILE=" + at("plugins"), "RABBITMQ_GENERATED_CONFIG_DIR=" + at("generated"),
	}
	stdin, w, err := os.Pipe()
	if err != nil {
		return err
	}
	defer stdin.Close()
	argv := []string{"/bin/sh", "-c", keep}
	if root != "" {
		argv = append([]string{"unshare", "-m"}, argv...)
	}
	cmd := exec.Command(argv[0], argv[1:]...)
	cmd.Env, cmd.Dir, cmd.Stdin = env, n.dir, stdin
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true} // what is typed at the terminal is not for the keeper
	if err := cmd.Start(); err != nil {
		w.Close()
		return err
	}
	cmd.Process.Release() // it outlives us
	n.keeper = w
	return n.listens()
}

// listens returns when a client is greeted.
func (n *Node) listens() error {
	for end := time.Now().Add(patience); ; time.Sleep(20 * time.Millisecond) {
		c, err := net.Dial("tcp", n.Addr())
		if err == nil {
			c.SetDeadline(time.Now().Add(time.Second))
			c.Write([]byte("AMQP\x00\x00\x09\x01"))
			got := make([]byte, 1)
			_, err = c.Read(got)
			c.Close()
			if err == nil && got[0] == 1 { // a method: Connection.Start
				return nil
			}
		}
		if time.Now().After(end) {
			log, _ := os.ReadFile(filepath.Join(n.dir, "log"))
			return fmt.Errorf("RabbitMQ does not start within %v: %s", patience, bytes.TrimSpace(log))
		}
	}
}

// freePorts finds TCP ports of loopback that are free, below those that the
// kernel gives to connections: a node that is started again finds its port free.
func freePorts(n int) ([]int, error) {
	var ports []int
	for range 1000 {
		p := 10000 + rand.IntN(11000)
		l, err := net.Listen("tcp", net.JoinHostPort("127.0.0.1", strconv.Itoa(p)))
		if err != nil {
			continue
		}
		defer l.Close()
		if ports = append(ports, p); len(ports) == n {
			return ports, nil
		}
	}
	return nil, errors.New("no free ports")
}
