package plugin

import (
	"bytes"
	"context"
	"crypto/ed25519"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stack4things/s4t"
	"github.com/stack4things/s4t/plugin/bundle"
)

// patience is how long a test waits for what must happen.
const patience = 4 * time.Minute

// lab is a manager with bundles that it can fetch.
type lab struct {
	*Manager
	t    *testing.T
	cfg  ManagerConfig
	key  ed25519.PrivateKey
	stop func()

	mu      sync.Mutex
	bundles map[string][]byte
	fetches int
}

// publicDir makes a folder that other users can come through.
func publicDir(t *testing.T) string {
	t.Helper()
	dir, err := os.MkdirTemp("", "s4t-plugin-")
	if err == nil {
		err = os.Chmod(dir, 0o755)
	}
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	return dir
}

func newLab(t *testing.T) *lab {
	t.Helper()
	key, err := bundle.GenerateKey()
	if err != nil {
		t.Fatal(err)
	}
	l := &lab{t: t, key: key, bundles: map[string][]byte{}}
	l.cfg = ManagerConfig{Dir: filepath.Join(publicDir(t), "plugins"), Sandbox: heavy(makeSandbox(t)), Self: []string{"/proc/self/exe"}, Fetch: l.fetch}
	l.open()
	return l
}

// heavy gives guests more than what is left over of the machine: what else runs on it is
// nothing to these tests.
func heavy(s *Sandbox) *Sandbox {
	if f := s.group.v1[controllerCPU]; f != "" {
		_ = writeText(filepath.Join(f, "cpu.shares"), "20480")
	} else if s.group.in2[controllerCPU] {
		_ = writeText(filepath.Join(s.group.v2, "cpu.weight"), "2000")
	}
	return s
}

// open starts a manager, as lightning-rod does when it starts.
func (l *lab) open() {
	l.t.Helper()
	m, err := NewManager(l.cfg)
	if err != nil {
		l.t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan struct{})
	go func() {
		defer close(done)
		if err := m.Run(ctx); err != nil {
			l.t.Error(err)
		}
	}()
	l.Manager = m
	l.stop = sync.OnceFunc(func() { cancel(); <-done })
	l.t.Cleanup(l.stop)
}

func (l *lab) fetch(_ context.Context, w Wanted, part *os.File, progress func(int64)) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.fetches++
	at, err := part.Seek(0, io.SeekEnd)
	if err != nil {
		return err
	}
	_, err = part.Write(l.bundles[w.Digest][at:])
	progress(w.Size)
	return err
}

// put packs a folder and returns what is wanted of it.
func (l *lab) put(id, version, dir string) Wanted {
	l.t.Helper()
	var packed bytes.Buffer
	digest, size, err := bundle.Pack(dir, &packed)
	if err != nil {
		l.t.Fatal(err)
	}
	l.mu.Lock()
	l.bundles[digest] = packed.Bytes()
	l.mu.Unlock()
	return Wanted{
		ID: id, Name: "plugin-" + id, Version: version, Digest: digest, Size: size,
		Key: l.key.Public().(ed25519.PublicKey), Signature: bundle.Sign(l.key, digest), Running: true, Start: 1,
	}
}

// script makes a bundle of a shell script.
func (l *lab) script(id, version, manifest, text string) Wanted {
	l.t.Helper()
	dir := l.t.TempDir()
	manifest = fmt.Sprintf("name = %q\nversion = %q\nruntime = \"exec\"\nentry = \"run.sh\"\n%s", id, version, manifest)
	for name, text := range map[string]string{bundle.ManifestName: manifest, "run.sh": "#!/bin/sh\n" + text} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o755); err != nil {
			l.t.Fatal(err)
		}
	}
	return l.put(id, version, dir)
}

// await waits until the state of a plugin is as it should be.
func (l *lab) await(id, what string, is func(State) bool) State {
	l.t.Helper()
	late := time.After(patience)
	for {
		changed := l.Changed()
		s := l.States()[id]
		if is(s) {
			return s
		}
		select {
		case <-changed:
		case <-late:
			lines, _, _ := l.Logs("plugin-"+id, 0, time.Time{}, 100)
			l.t.Fatalf("%s: it is not %s: %+v\n%v", id, what, s, lines)
		}
	}
}

func (l *lab) awaitState(id, state string) State {
	l.t.Helper()
	return l.await(id, state, func(s State) bool { return s.State == state && s.Settled })
}

// text is the log of a plugin.
func (l *lab) text(id string) string {
	l.t.Helper()
	lines, _, err := l.Logs("plugin-"+id, 0, time.Time{}, 10_000)
	if err != nil {
		l.t.Fatal(err)
	}
	var text strings.Builder
	for _, line := range lines {
		fmt.Fprintf(&text, "%s: %s\n", line.Stream, line.Text)
	}
	return text.String()
}

// awaitText waits until a plugin has written a line.
func (l *lab) awaitText(id, want string) {
	l.t.Helper()
	found := make(chan struct{})
	once := sync.OnceFunc(func() { close(found) })
	cancel, err := l.Follow("plugin-"+id, 0, func(lines []s4t.LogLine) {
		for _, line := range lines {
			if strings.Contains(line.Text, want) {
				once()
			}
		}
	})
	if err != nil {
		l.t.Fatal(err)
	}
	defer cancel()
	select {
	case <-found:
	case <-time.After(patience):
		l.t.Fatalf("%s: no line %q in its log:\n%s", id, want, l.text(id))
	}
}

func (l *lab) call(command, params string) (string, []string, error) {
	l.t.Helper()
	ctx, cancel := context.WithTimeout(l.t.Context(), patience)
	defer cancel()
	var outputs []string
	result, err := l.Call(ctx, Call{ID: "r1", Command: command, Params: json.RawMessage(params)}, func(o json.RawMessage) { outputs = append(outputs, string(o)) })
	return string(result), outputs, err
}

func TestServiceRunsWithWhatItGets(t *testing.T) {
	l := newLab(t)
	w := l.script("a", "1.0", "kind = \"service\"\n", `
echo "hello $S4T_PLUGIN $S4T_VERSION $S4T_PARAM_COLOUR $(cat "$S4T_PARAMS_FILE")"
echo kept > "$S4T_DATA/file" && echo "wrote as $(id -u)"
echo no > "$(dirname "$0")/file" 2>/dev/null || echo "its folder is read-only"
exec sleep 1000`)
	w.Params = map[string]string{"colour": "red"}
	l.Set([]Wanted{w})
	s := l.awaitState("a", s4t.PluginRunning)
	if !s.Up || s.PID == 0 || s.ProblemID != "" {
		t.Errorf("state: %+v", s)
	}
	l.awaitText("a", "its folder is read-only")
	if text := l.text("a"); !strings.Contains(text, `stdout: hello plugin-a 1.0 red {"colour":"red"}`) || !strings.Contains(text, "wrote as") {
		t.Error(text)
	}
	w.Running = false
	l.Set([]Wanted{w})
	if s := l.awaitState("a", s4t.PluginStopped); !s.Up || s.PID != 0 {
		t.Errorf("state: %+v", s)
	}
	l.Set(nil)
	l.await("a", "gone", func(s State) bool { return s.State == "" })
	if left, _ := os.ReadDir(l.cfg.Dir); len(left) > 0 {
		t.Errorf("left: %v", left)
	}
}

func TestUpgradeFallsBack(t *testing.T) {
	l := newLab(t)
	old := l.script("a", "1", "", "exec sleep 1000")
	l.Set([]Wanted{old})
	l.awaitState("a", s4t.PluginRunning)
	l.Set([]Wanted{l.script("a", "2", "", "exit 7")})
	s := l.await("a", "gone back", func(s State) bool { return s.ProblemID == "plugin-fell-back" })
	if s.Up || s.State != s4t.PluginRunning || s.Running != "1" || !strings.Contains(s.Problem, "exit status 7") {
		t.Errorf("state: %+v", s)
	}
	good := l.script("a", "3", "", "exec sleep 1001")
	l.Set([]Wanted{good})
	l.await("a", "upgraded", func(s State) bool { return s.Up && s.State == s4t.PluginRunning && s.Running == "" })
	folders, _ := filepath.Glob(filepath.Join(l.cfg.Dir, "a", "*-*"))
	if len(folders) != 1 || !strings.HasPrefix(filepath.Base(folders[0]), "3-") {
		t.Errorf("folders: %v", folders)
	}
}

func TestWhatIsRefused(t *testing.T) {
	l := newLab(t)
	other, _ := bundle.GenerateKey()
	for name, spoil := range map[string]func(*Wanted){
		"a signature of something else": func(w *Wanted) { w.Signature = bundle.Sign(l.key, strings.Repeat("0", 64)) },
		"a signature of somebody else":  func(w *Wanted) { w.Signature = bundle.Sign(other, w.Digest) },
		"no signature":                  func(w *Wanted) { w.Signature = nil },
		"no digest":                     func(w *Wanted) { w.Digest = "../../x" },
		"another bundle":                func(w *Wanted) { l.bundles[w.Digest] = bytes.Repeat([]byte{1}, int(w.Size)) },
	} {
		w := l.script("a", "1", "# "+name, "exec sleep 1000")
		spoil(&w)
		l.Set([]Wanted{w})
		s := l.await("a", "refused", func(s State) bool { return s.ProblemID == "plugin-refused" })
		if s.Up || s.PID != 0 {
			t.Errorf("%s: %+v", name, s)
		}
		l.Set(nil)
		l.await("a", "gone", func(s State) bool { return s.State == "" })
	}
}

func TestAfterARestart(t *testing.T) {
	l := newLab(t)
	boot, once, job := l.script("boot", "1", "", "exec sleep 1000"), l.script("once", "1", "", "exec sleep 1000"), l.script("job", "1", `kind = "job"`, "echo done once")
	boot.OnBoot, job.OnBoot = true, true
	all := []Wanted{boot, once, job}
	l.Set(all)
	l.awaitState("boot", s4t.PluginRunning)
	l.awaitState("once", s4t.PluginRunning)
	l.awaitState("job", s4t.PluginDone)
	l.stop()
	l.open()
	l.Set(all)
	l.awaitState("boot", s4t.PluginRunning)
	if s := l.awaitState("once", s4t.PluginStopped); !s.Up {
		t.Errorf("%+v", s)
	}
	l.awaitState("job", s4t.PluginDone)
	if n := strings.Count(l.text("job"), "stdout: done once"); n != 1 {
		t.Errorf("the job ran %d times", n)
	}
	all[1].Start, all[2].Start = 2, 2
	l.Set(all)
	l.awaitState("once", s4t.PluginRunning)
	l.awaitText("job", "done once")
	if l.fetches != 3 {
		t.Errorf("%d bundles were fetched, of 3", l.fetches)
	}
	l.stop()
	folders, _ := filepath.Glob(filepath.Join(l.cfg.Dir, "boot", "1-*")) // damage
	os.RemoveAll(folders[0])
	os.WriteFile(filepath.Join(l.cfg.Dir, "once", stateFile), []byte("{"), 0o600)
	l.open()
	l.Set(all)
	l.awaitState("boot", s4t.PluginRunning)
	l.awaitState("once", s4t.PluginRunning)
}

func TestPause(t *testing.T) {
	l := newLab(t)
	l.Set([]Wanted{l.script("a", "1", "", "exec sleep 1000")})
	l.awaitState("a", s4t.PluginRunning)
	l.Pause(true)
	if s := l.awaitState("a", s4t.PluginStopped); s.Up {
		t.Errorf("%+v", s)
	}
	l.Pause(false)
	l.awaitState("a", s4t.PluginRunning)
}

// TestWhatWasSaysNothingOfWhatIsWanted: how a plugin was is not told of what is wanted of it now.
func TestWhatWasSaysNothingOfWhatIsWanted(t *testing.T) {
	l := newLab(t)
	runs := l.script("a", "1", "", "sleep 1000")
	ends := l.script("b", "1", "", "exit 3")
	l.Set([]Wanted{runs, ends})
	l.await("a", "up", func(s State) bool { return s.Up })
	l.await("b", "down", func(s State) bool { return s.ProblemID != "" })
	runs.Start, ends.Start = 2, 2
	l.Set([]Wanted{runs, ends})
	g := newGuest(l.Manager, ends)
	g.shown, g.shownOf = State{Up: true, Settled: true, ProblemID: "x", PluginState: s4t.PluginState{Problem: "x"}}, ends
	if s := g.state(); !s.Up || s.Problem == "" {
		t.Errorf("of what is wanted: %+v", s)
	}
	g.set(runs)
	if s := g.state(); s.Up || s.Settled || s.ProblemID != "" || s.Problem != "" {
		t.Errorf("of what was wanted before: %+v", s)
	}
	g.log.close()
	l.await("a", "up again", func(s State) bool { return s.Up })
	l.await("b", "down again", func(s State) bool { return s.ProblemID != "" })
}

// TestWhatWasWrongWithTheVersionBeforeIsNotToldOfTheNext: while that is on its way. Who has
// injected it was told at once that it had failed.
func TestWhatWasWrongWithTheVersionBeforeIsNotToldOfTheNext(t *testing.T) {
	l := newLab(t)
	dir := t.TempDir()
	for name, text := range map[string]string{bundle.ManifestName: "name = \"a\"\nversion = \"1.0\"\nruntime = \"exec\"\nentry = \"run.sh\"\nkind = \"service\"\n", "run.sh": "#!/no/such/shell\n"} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	l.Set([]Wanted{l.put("a", "1.0", dir)})
	l.await("a", "in trouble", func(s State) bool { return strings.Contains(s.Problem, "it cannot be started") })
	next := l.script("a", "1.1", "kind = \"service\"\n", "exec sleep 1000")
	l.mu.Lock() // its bundle is on its way
	l.Set([]Wanted{next})
	g := l.list()[0]
	for shown := false; !shown; time.Sleep(time.Millisecond) {
		g.mu.Lock()
		shown = next.same(g.shownOf)
		g.mu.Unlock()
	}
	if s := l.States()["a"]; s.Up || s.Settled || s.Problem != "" || s.ProblemID != "" {
		t.Errorf("on its way it is %+v", s)
	}
	l.mu.Unlock()
	l.awaitState("a", s4t.PluginRunning)
}
