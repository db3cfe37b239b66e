package e2e

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stack4things/s4t"
	"github.com/stack4things/s4t/internal/cloudlab"
)

// codeLimit is for what takes a moment: generous, as the machine may be busy.
const codeLimit = time.Minute

// newCodeBoard is a cloud with a board that has the commands of its owner: files of commands.d
// by name. The lab's folder is opened to guests, who have users of their own.
func newCodeBoard(t *testing.T, commands map[string]string) (*cloudlab.Cloud, *cloudlab.Board) {
	t.Helper()
	c := startCloud(t, newLab(t, 1))
	must(t, os.Chmod(c.Lab.Dir, 0o711))
	dir := t.TempDir()
	for name, text := range commands {
		must(t, os.WriteFile(filepath.Join(dir, name+".toml"), []byte(text), 0o644))
	}
	b := c.Adopt(&cloudlab.Board{
		Board: c.Lab.Boards()[0], Name: "board1", State: filepath.Join(c.Lab.Dir, "board1"), Args: []string{"--commands", dir, "--io", "none"},
	})
	var made s4t.Board
	s4tJSON(t, c, &made, "board", "create", b.Name)
	must(t, b.Join(made.Join))
	must(t, b.WaitReady(0, codeLimit))
	return c, b
}

// TestPluginsInEachLanguage: the examples of the documentation, from their folder to
// their end: their commands are there when the injection has ended, and gone with them.
func TestPluginsInEachLanguage(t *testing.T) {
	c, _ := newCodeBoard(t, nil)
	examples := filepath.Join("..", "docs", "examples", "plugins")
	for _, language := range []string{"shell", "python", "go"} {
		dir := filepath.Join(t.TempDir(), language)
		must(t, os.CopyFS(dir, os.DirFS(filepath.Join(examples, language))))
		if language == "go" {
			build := exec.CommandContext(t.Context(), "go", "build", "-o", "plugin", ".")
			build.Dir, build.Env = dir, append(os.Environ(), "CGO_ENABLED=0", "GOFLAGS=", "GOWORK=off")
			if out, err := build.CombinedOutput(); err != nil {
				t.Fatalf("%v: %s", err, out)
			}
		}
		runS4T(t, c, "plugin", "create", language, dir)
		runS4T(t, c, "plugin", "inject", language, "--board", "board1", "--onboot", "--timeout", "1m")
		if got := runS4T(t, c, "command", "list", "board1", "-o", "name"); got != "count\ngreet\n" {
			t.Errorf("%s: the commands are %q", language, got)
		}
		if got := runS4T(t, c, "command", "run", "board1", "greet", "name=Ada", "-o", "json"); !strings.Contains(got, "hello Ada") {
			t.Errorf("%s: greet says %s", language, got)
		}
		if got := runS4T(t, c, "command", "run", "board1", "count", "n=3", "--stream"); got != "1\n2\n3\n" { // the result is what it said last
			t.Errorf("%s: count says %q", language, got)
		}
		s4tFails(t, c, 2, "command", "run", "board1", "count", "n=-1")
		if got := runS4T(t, c, "plugin", "logs", "board1", language); !strings.Contains(got, "ready") {
			t.Errorf("%s: its log is %s", language, got)
		}
		if language == "shell" {
			fallsBack(t, c, language, dir)
		}
		runS4T(t, c, "plugin", "remove", language, "--board", "board1")
		if got := runS4T(t, c, "command", "list", "board1", "-o", "name"); strings.TrimSpace(got) != "" {
			t.Errorf("%s: after its end the commands are %q", language, got)
		}
	}
}

// fallsBack upgrades a plugin to a version that ends at once.
func fallsBack(t *testing.T, c *cloudlab.Cloud, name, dir string) {
	t.Helper()
	manifest, err := os.ReadFile(filepath.Join(dir, "plugin.toml"))
	must(t, err)
	must(t, os.WriteFile(filepath.Join(dir, "plugin.toml"), []byte(strings.Replace(string(manifest), "1.0.0", "2.0.0", 1)), 0o644))
	must(t, os.WriteFile(filepath.Join(dir, "run.sh"), []byte("#!/bin/sh\nexit 7\n"), 0o755))
	runS4T(t, c, "plugin", "create", name, dir)
	if _, err := c.S4T(t.Context(), "plugin", "upgrade", name, "--board", "board1"); err == nil || !strings.Contains(err.Error(), "exit status 7") {
		t.Errorf("an upgrade to what does not run: %v", err)
	}
	within(t, codeLimit, "the version before answers", func() error {
		_, err := c.S4T(t.Context(), "command", "run", "board1", "greet", "name=Ada")
		return err
	})
	var now []s4t.BoardPlugin
	s4tJSON(t, c, &now, "plugin", "status", "board1")
	if len(now) != 1 || now[0].Version != "1.0.0" {
		t.Errorf("after it fell back: %+v", now)
	}
}

// TestAPluginThatCannotBeStarted says so, and a new try is not judged by the last one.
func TestAPluginThatCannotBeStarted(t *testing.T) {
	c, _ := newCodeBoard(t, nil)
	dir := t.TempDir()
	write := func(version, shebang string) {
		manifest := fmt.Sprintf("name = \"x\"\nversion = %q\nruntime = \"exec\"\nentry = \"run.sh\"\nkind = \"service\"\n", version)
		must(t, os.WriteFile(filepath.Join(dir, "plugin.toml"), []byte(manifest), 0o644))
		must(t, os.WriteFile(filepath.Join(dir, "run.sh"), []byte("#!"+shebang+"\nsleep 1000\n"), 0o755))
		runS4T(t, c, "plugin", "create", "x", dir)
	}
	write("1", "/no/such/shell")
	if _, err := c.S4T(t.Context(), "plugin", "inject", "x", "--board", "board1"); err == nil || !strings.Contains(err.Error(), "it cannot be started") {
		t.Errorf("inject: %v", err)
	}
	write("2", "/bin/sh")
	runS4T(t, c, "plugin", "inject", "x", "--board", "board1")
	runS4T(t, c, "plugin", "stop", "x", "--board", "board1")
	runS4T(t, c, "plugin", "start", "x", "--board", "board1")
}

// TestAPluginKeepsToTheOwnersProfile: one that wants more memory than the owner gives does
// not get it, and its user sees what became of it.
func TestAPluginKeepsToTheOwnersProfile(t *testing.T) {
	c, b := newCodeBoard(t, nil)
	if out, err := b.Host.Run(t.Context(), filepath.Join(bin, "lightning-rod"), "profile", "set", "--state", b.State, "--cpu", "25%", "--memory", "64M"); err != nil {
		t.Fatal(out, err)
	}
	within(t, codeLimit, "the cloud knows the profile", func() error {
		var p s4t.BoardProfile
		if err := c.JSON(t.Context(), &p, "board", "profile", "board1"); err != nil || p.CPU != "25%" || p.Memory != "64M" || p.Enforced["memory"] == "" {
			return fmt.Errorf("it says %+v: %w", p, err)
		}
		return nil
	})
	dir := t.TempDir()
	must(t, os.WriteFile(filepath.Join(dir, "plugin.toml"), []byte("name = \"hog\"\nversion = \"1\"\nruntime = \"exec\"\nentry = \"run.sh\"\nkind = \"job\"\n"), 0o644))
	must(t, os.WriteFile(filepath.Join(dir, "run.sh"), []byte("#!/bin/sh\nexec tail /dev/zero\n"), 0o755)) // which looks for the end of a line
	runS4T(t, c, "plugin", "create", "hog", dir)
	c.S4T(t.Context(), "plugin", "inject", "hog", "--board", "board1") // it may have begun well
	var now s4t.BoardPlugin
	within(t, codeLimit, "it is ended", func() error {
		if err := c.JSON(t.Context(), &now, "plugin", "status", "board1", "hog"); err != nil || now.State != s4t.PluginFailed {
			return fmt.Errorf("it is %s: %w", now.State, err)
		}
		return nil
	})
	log := runS4T(t, c, "plugin", "logs", "board1", "hog") // by the board's cgroup, or, where there is none, by a limit that it hears of itself
	if !strings.Contains(now.Exit, "out of memory") && !(now.Exit == "exit status 1" && strings.Contains(log, "memory exhausted")) {
		t.Errorf("it ended: %+v\n%s", now.PluginState, log)
	}
	if text := runS4T(t, c, "plugin", "status", "board1"); now.Exit == "" || !strings.Contains(text, now.Exit) {
		t.Errorf("its user reads\n%s", text)
	}
}

// operation returns an operation when it is as wanted.
func operation(t *testing.T, c *cloudlab.Cloud, id s4t.OperationID, want s4t.OperationStatus) (op s4t.Operation) {
	t.Helper()
	within(t, codeLimit, fmt.Sprintf("the operation is %s", want), func() error {
		if err := c.JSON(t.Context(), &op, "operation", "show", string(id)); err != nil || op.Status != want {
			return fmt.Errorf("it is %s: %w", op.Status, err)
		}
		return nil
	})
	return op
}

// TestRunsAreTruthful: kill -9 of the board while a command runs, and a board that
// is away.
func TestRunsAreTruthful(t *testing.T) {
	ran := filepath.Join(t.TempDir(), "ran")
	c, b := newCodeBoard(t, map[string]string{
		"hello": "argv = [\"/bin/echo\", \"hello\"]\n",
		"long":  fmt.Sprintf("argv = [\"/bin/sh\", \"-c\", \"echo once >> %s; exec sleep 1000\"]\ntimeout = \"1h\"\n", ran),
	})
	if got := runS4T(t, c, "command", "run", "board1", "hello"); got != "hello\n" {
		t.Errorf("hello says %q", got)
	}
	var op, queued, late s4t.Operation
	s4tJSON(t, c, &op, "command", "run", "board1", "long", "--key", "k", "--no-wait")
	operation(t, c, op.ID, s4t.OperationStarted)
	within(t, codeLimit, "it runs", func() error { _, err := os.Stat(ran); return err })
	b.Process.Kill()
	must(t, b.Run())
	must(t, b.WaitReady(0, codeLimit))
	if op = operation(t, c, op.ID, s4t.OperationFailed); !strings.Contains(op.Error, "may have been done in part") {
		t.Errorf("it failed: %s", op.Error)
	}
	if said := s4tFails(t, c, 1, "command", "run", "board1", "long", "--key", "k"); !strings.Contains(said, "may have been done in part") {
		t.Errorf("with the same key: %s", said)
	}
	if text, err := os.ReadFile(ran); string(text) != "once\n" {
		t.Errorf("it ran %q, %v", text, err)
	}

	must(t, b.Process.Stop())
	within(t, codeLimit, "the board is away", func() error { return status(t, c, "board1", s4t.BoardOffline) })
	s4tFails(t, c, 5, "command", "run", "board1", "hello")
	s4tJSON(t, c, &late, "command", "run", "board1", "hello", "--queue", "1s", "--no-wait")
	s4tJSON(t, c, &queued, "command", "run", "board1", "hello", "--queue", "1h", "--no-wait")
	operation(t, c, late.ID, s4t.OperationExpired)
	must(t, b.Run())
	operation(t, c, queued.ID, s4t.OperationSucceeded)
	operation(t, c, late.ID, s4t.OperationExpired)

	if out, err := b.Host.Run(t.Context(), filepath.Join(bin, "lightning-rod"), "leave", "--state", b.State); err != nil {
		t.Fatal(out, err)
	}
	if left, _ := filepath.Glob("/sys/fs/cgroup/*/lightning-rod-" + string(op.Run.BoardID)); len(left) > 0 {
		t.Errorf("cgroups after leave: %v", left)
	}
}
