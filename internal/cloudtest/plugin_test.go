package cloudtest

import (
	"bytes"
	"context"
	"crypto/ed25519"
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stack4things/s4t"
	"github.com/stack4things/s4t/apiclient"
	"github.com/stack4things/s4t/fuse"
	"github.com/stack4things/s4t/lightningrod"
	"github.com/stack4things/s4t/plugin/bundle"
)

// pluginLab is a cloud with a board that runs plugins.
type pluginLab struct {
	t      *testing.T
	client *apiclient.Client
	board  *Board
	key    ed25519.PrivateKey
}

func newPluginLab(t *testing.T, cfg Config) *pluginLab {
	t.Helper()
	dir, err := os.MkdirTemp("", "s4t") // short: sockets are in it
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	if err := os.Chmod(dir, 0o711); err != nil { // guests have users of their own
		t.Fatal(err)
	}
	cfg.Dir = dir
	c, err := New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	if err := c.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.Stop)
	client, err := c.Client()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(client.Close)
	made, err := client.CreateBoard(t.Context(), apiclient.BoardCreate{Name: "kitchen"})
	if err != nil {
		t.Fatal(err)
	}
	b, err := c.Enrol(t.Context(), made)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(b.Close)
	b.IOConfig = filepath.Join(t.TempDir(), "io.toml")
	if err := os.WriteFile(b.IOConfig, []byte(loopIO), 0o600); err != nil {
		t.Fatal(err)
	}
	b.Guests = &lightningrod.GuestsConfig{Stub: []string{"/proc/self/exe", "plugin-exec"}}
	if err := b.Start(); err != nil {
		t.Fatal(err)
	}
	key, err := bundle.GenerateKey()
	if err != nil {
		t.Fatal(err)
	}
	l := &pluginLab{t: t, client: client, board: b, key: key}
	l.boardIs(s4t.BoardOnline)
	return l
}

// create makes a version of a plugin of files by name.
func (l *pluginLab) create(name string, files map[string]string) {
	l.t.Helper()
	dir := l.t.TempDir()
	for file, text := range files {
		if err := os.WriteFile(filepath.Join(dir, file), []byte(text), 0o755); err != nil {
			l.t.Fatal(err)
		}
	}
	var packed bytes.Buffer
	digest, size, err := bundle.Pack(dir, &packed)
	if err != nil {
		l.t.Fatal(err)
	}
	l.put(name, packed.Bytes(), digest, size)
}

// put uploads a packed bundle and makes a version of it.
func (l *pluginLab) put(name string, packed []byte, digest string, size int64) {
	l.t.Helper()
	if _, err := l.client.PutBundle(l.t.Context(), bytes.NewReader(packed), size, nil); err != nil {
		l.t.Fatal(err)
	}
	if _, err := l.client.CreatePlugin(l.t.Context(), name, digest, l.key.Public().(ed25519.PublicKey), bundle.Sign(l.key, digest)); err != nil {
		l.t.Fatal(err)
	}
}

// ended waits for the end of an operation.
func (l *pluginLab) ended(op s4t.Operation, err error) s4t.Operation {
	l.t.Helper()
	if err != nil {
		l.t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(l.t.Context(), 4*patience)
	defer cancel()
	if op, err = l.client.WaitOperation(ctx, op.ID, nil); err != nil {
		l.t.Fatal(err)
	}
	return op
}

// done waits for the good end of an operation.
func (l *pluginLab) done(op s4t.Operation, err error) {
	l.t.Helper()
	if op = l.ended(op, err); op.Status != s4t.OperationSucceeded {
		lines, _ := l.client.PluginLogs(l.t.Context(), "kitchen", "greeter", 0)
		l.t.Fatalf("%s: %s %s\n%+v", op.Kind, op.Status, op.Error, lines)
	}
}

// run runs a command, which the cloud may not know yet.
func (l *pluginLab) run(name, params string) string {
	l.t.Helper()
	ctx, cancel := context.WithTimeout(l.t.Context(), 2*patience)
	defer cancel()
	for {
		r, err := l.client.RunCommand(ctx, "kitchen", name, apiclient.RunOptions{Params: json.RawMessage(params)})
		if err == nil && r.Pending != nil {
			op := l.ended(*r.Pending, nil)
			if op.Run != nil {
				r.Result = op.Run.Result
			}
			err = apiclient.Failed(op)
		}
		switch {
		case err == nil:
			return string(r.Result)
		case s4t.KindOf(err) != s4t.NotFound && s4t.KindOf(err) != s4t.Unavailable || ctx.Err() != nil:
			l.t.Fatalf("run %s: %v", name, err)
		}
		time.Sleep(20 * time.Millisecond)
	}
}

// has is a plugin of the board.
func (l *pluginLab) has(plugin string) s4t.BoardPlugin {
	l.t.Helper()
	p, err := l.client.BoardPlugin(l.t.Context(), "kitchen", plugin)
	if err != nil {
		l.t.Fatal(err)
	}
	return p
}

const greeterManifest = `
name = "greeter"
version = "VERSION"
runtime = "exec"
entry = "run.sh"
kind = "callable"
api = "reader"
pins = ["sim/b/out"]
[[commands]]
name = "greet"
[[commands]]
name = "boards"
[[commands]]
name = "light"
`

// greeterScript answers with what it is given.
const greeterScript = `#!/bin/sh
while IFS= read -r line; do
	id=$(printf '%s\n' "$line" | sed -n 's/.*"id":"\([^"]*\)".*/\1/p')
	case $line in
	*'"command":"greet"'*) printf '{"id":"%s","result":"hello from %s"}\n' "$id" "$S4T_VERSION" ;;
	*'"command":"light"'*)
		echo 1 >"$S4T_IO/sim/b/out/value" 2>&2
		printf '{"id":"%s","result":"%s %s"}\n' "$id" "$(cat "$S4T_IO/sim/b/out/value")" "$(ls "$S4T_IO/sim/b" | tr '\n' ' ')" ;;
	*'"command":"boards"'*)
		status=$(python3 -c 'API' 2>&1 | tr '\n"' '  ')
		printf '{"id":"%s","result":"%s"}\n' "$id" "$status" ;;
	esac
done
`

// apiProgram asks the API through the socket that a plugin has.
const apiProgram = `
import http.client, json, os, socket
c = http.client.HTTPConnection("cloud")
c.sock = socket.socket(socket.AF_UNIX)
c.sock.connect(os.environ["S4T_API"])
c.request("GET", "/v1/boards", headers={"Authorization": "Bearer " + open(os.environ["S4T_TOKEN_FILE"]).read().strip()})
r = c.getresponse()
print(r.status, [b["name"] for b in json.load(r)][0])
`

func greeter(version, script string) map[string]string {
	api := strings.ReplaceAll(strings.TrimSpace(apiProgram), "'", `'"'"'`)
	return map[string]string{
		"plugin.toml": strings.Replace(greeterManifest, "VERSION", version, 1),
		"run.sh":      strings.Replace(script, "API", "\n"+api+"\n", 1),
	}
}

// TestAPluginFromTheCloud: it is injected and answers, has its pins and the API, is
// upgraded to a version that fails and falls back, stopped, started, and taken away.
func TestAPluginFromTheCloud(t *testing.T) {
	l := newPluginLab(t, Config{APIs: 1}) // which is elsewhere than where the board has its session
	l.create("greeter", greeter("1", greeterScript))
	l.done(l.client.InjectPlugin(t.Context(), "kitchen", "greeter", apiclient.PluginInject{OnBoot: new(true)}))
	if got := l.run("greet", "{}"); got != `"hello from 1"` {
		t.Errorf("greet: %s", got)
	}
	if got := l.run("boards", "{}"); got != `"200 kitchen "` {
		t.Errorf("the API says %s", got)
	}
	if err := fuse.CanMount(); err == nil {
		if got := l.run("light", "{}"); got != `"1 out "` {
			t.Errorf("its pins: %s", got)
		}
	}

	l.create("greeter", greeter("2", "#!/bin/sh\nexit 3\n"))
	op := l.ended(l.client.UpgradePlugin(t.Context(), "kitchen", "greeter", apiclient.PluginInject{}))
	if op.Status != s4t.OperationFailed || !strings.Contains(op.Error, "1") {
		t.Errorf("the upgrade to a broken version: %s %q", op.Status, op.Error)
	}
	if err := l.wait(func() bool { return l.has("greeter").State == s4t.PluginRunning }); err != nil {
		t.Fatalf("after it fell back: %v, %+v", err, l.has("greeter"))
	}
	if got := l.run("greet", "{}"); got != `"hello from 1"` {
		t.Errorf("after it fell back: %s", got)
	}
	if p := l.has("greeter"); p.Version != "1" {
		t.Errorf("it is wanted in version %s, %+v", p.Version, p.PluginState)
	}

	l.board.Stop() // guests end with it, and come back with it
	l.boardIs(s4t.BoardOffline)
	if p := l.has("greeter"); p.State != s4t.PluginPending {
		t.Errorf("of a board that is away it is %s", p.State)
	}
	if err := l.board.Start(); err != nil {
		t.Fatal(err)
	}
	if err := l.wait(func() bool { return l.has("greeter").State == s4t.PluginRunning }); err != nil {
		t.Fatalf("after a restart: %v, %+v", err, l.has("greeter"))
	}
	l.done(l.client.ActPlugin(t.Context(), "kitchen", "greeter", "stop"))
	if p := l.has("greeter"); p.State != s4t.PluginStopped {
		t.Errorf("stopped it is %s", p.State)
	}
	l.done(l.client.RemovePlugin(t.Context(), "kitchen", "greeter"))
	if err := l.wait(func() bool { list, _ := os.ReadDir(filepath.Join(l.board.state, "plugins")); return len(list) == 0 }); err != nil {
		list, _ := os.ReadDir(filepath.Join(l.board.state, "plugins"))
		t.Errorf("removed, but there is %v", list)
	}
}

// boardIs waits until the cloud knows the board as such.
func (l *pluginLab) boardIs(status s4t.BoardStatus) {
	l.t.Helper()
	ctx, cancel := context.WithTimeout(l.t.Context(), 2*patience)
	defer cancel()
	if _, err := l.client.WaitBoard(ctx, "kitchen", status); err != nil {
		l.t.Fatal(err)
	}
}

// wait waits until something is so.
func (l *pluginLab) wait(so func() bool) error {
	ctx, cancel := context.WithTimeout(l.t.Context(), 2*patience)
	defer cancel()
	for !so() {
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(50 * time.Millisecond):
		}
	}
	return nil
}

// TestAPluginThatWantsMoreThanTheOwnerGives is ended by the kernel, and its user reads why.
func TestAPluginThatWantsMoreThanTheOwnerGives(t *testing.T) {
	l := newPluginLab(t, Config{})
	l.board.Stop()
	if _, err := lightningrod.SetProfile(t.Context(), l.board.state, func(p *s4t.Profile) { p.CPU, p.Memory = "25%", "64M" }); err != nil {
		t.Fatal(err)
	}
	if err := l.board.Start(); err != nil {
		t.Fatal(err)
	}
	var p s4t.BoardProfile
	if err := l.wait(func() bool {
		p, _ = l.client.BoardProfile(t.Context(), "kitchen")
		return p.Memory == "64M" && p.CPU == "25%"
	}); err != nil {
		t.Fatalf("%v: the cloud's copy of the profile: %+v", err, p)
	}
	if by := p.Enforced["memory"]; !strings.HasPrefix(by, "cgroup") {
		t.Skip("the kernel does not bound all memory of a plugin here: " + by)
	}
	l.create("hog", map[string]string{
		"plugin.toml": "name = \"hog\"\nversion = \"1\"\nruntime = \"python\"\nentry = \"hog.py\"\nkind = \"job\"\n",
		"hog.py":      "import mmap\nm = mmap.mmap(-1, 256 << 20)\nfor at in range(0, len(m), 4096):\n    m[at] = 1\n", // shared: RLIMIT_DATA does not count it
	})
	l.ended(l.client.InjectPlugin(t.Context(), "kitchen", "hog", apiclient.PluginInject{})) // it may have begun well
	if err := l.wait(func() bool { return l.has("hog").State == s4t.PluginFailed }); err != nil {
		t.Fatalf("%v: %+v", err, l.has("hog"))
	}
	if now := l.has("hog"); now.Exit != "killed: out of memory, it may have 64 MB" || !strings.Contains(now.Problem, "out of memory") {
		t.Errorf("it ended: %+v", now.PluginState)
	}
}

// TestAPluginForABoardThatIsAway: it comes with the board; a job has ended then.
func TestAPluginForABoardThatIsAway(t *testing.T) {
	l := newPluginLab(t, Config{})
	l.board.Stop()
	l.create("once", map[string]string{
		"plugin.toml": "name = \"once\"\nversion = \"1\"\nruntime = \"exec\"\nentry = \"run.sh\"\nkind = \"job\"\n",
		"run.sh":      "#!/bin/sh\necho done >&2\n",
	})
	if _, err := l.client.InjectPlugin(t.Context(), "kitchen", "once", apiclient.PluginInject{}); err != nil {
		t.Fatal(err)
	}
	if err := l.board.Start(); err != nil {
		t.Fatal(err)
	}
	if err := l.wait(func() bool { return l.has("once").State == s4t.PluginDone }); err != nil {
		t.Fatalf("%v: %+v", err, l.has("once"))
	}
	lines, err := l.client.PluginLogs(t.Context(), "kitchen", "once", 0)
	if err != nil || len(lines) == 0 {
		t.Errorf("its log: %+v, %v", lines, err)
	}
}
