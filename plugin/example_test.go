package plugin

import (
	"bytes"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stack4things/s4t"
	"github.com/stack4things/s4t/plugin/wasihost"
)

const examples = "../docs/examples/plugins"

// copyExample copies the files of an example into a folder of the test.
func copyExample(t *testing.T, name string) string {
	t.Helper()
	dir := t.TempDir()
	files, err := os.ReadDir(filepath.Join(examples, name))
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range files {
		text, err := os.ReadFile(filepath.Join(examples, name, f.Name()))
		if err == nil {
			err = os.WriteFile(filepath.Join(dir, f.Name()), text, 0o755)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

func build(t *testing.T, dir string, env []string, args ...string) {
	t.Helper()
	cmd := exec.Command(args[0], args[1:]...)
	cmd.Dir, cmd.Env = dir, append(os.Environ(), env...)
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("%v: %v\n%s", args, err, out)
	}
}

// TestExamples runs the documented examples in each runtime that is here.
func TestExamples(t *testing.T) {
	l := newLab(t)
	want := map[string]string{"shell": copyExample(t, "shell")}
	if !strings.HasPrefix(l.Runtimes()["python"], "no: ") {
		want["python"] = copyExample(t, "python")
	}
	want["go"] = copyExample(t, "go")
	build(t, want["go"], []string{"CGO_ENABLED=0"}, "go", "build", "-o", "plugin", ".")
	if !strings.HasPrefix(wasihost.Version, "no: ") {
		want["wasi-go"] = copyExample(t, "go") // the same program as a module
		text, _ := os.ReadFile(filepath.Join(examples, "wasi", "plugin.toml"))
		text = bytes.Replace(text, []byte("128M"), []byte("1G"), 1) // a host that looks for races takes more
		if err := os.WriteFile(filepath.Join(want["wasi-go"], "plugin.toml"), text, 0o644); err != nil {
			t.Fatal(err)
		}
		build(t, want["wasi-go"], []string{"GOOS=wasip1", "GOARCH=wasm"}, "go", "build", "-o", "plugin.wasm", ".")
		if rustc, target := rust(); rustc != "" {
			want["wasi-rust"] = copyExample(t, "wasi")
			build(t, want["wasi-rust"], nil, rustc, "--target", target, "-O", "-C", "strip=symbols", "-o", "plugin.wasm", "plugin.rs")
		}
	}
	for name, dir := range want {
		t.Run(name, func(t *testing.T) {
			l.t = t
			l.Set([]Wanted{l.put(name, "1.0.0", dir)})
			l.awaitState(name, s4t.PluginRunning)
			if commands := l.Commands(); len(commands) != 2 || commands[0].Name != "count" || commands[0].Plugin != "plugin-"+name {
				t.Errorf("commands: %+v", commands)
			}
			result, _, err := l.call("greet", `{"name":"Ada \"L\" é"}`)
			if err != nil || result != `{"greeting":"hello Ada \"L\" é"}` && result != `{"greeting": "hello Ada \"L\" \u00e9"}` {
				t.Errorf("greet: %s, %v", result, err)
			}
			result, outputs, err := l.call("count", `{"n":3}`)
			if err != nil || result != "3" || strings.Join(outputs, " ") != "1 2 3" {
				t.Errorf("count: %s, %v, %v", result, outputs, err)
			}
			l.awaitText(name, "ready")
			l.Set(nil)
			l.await(name, "gone", func(s State) bool { return s.State == "" })
		})
	}
}

// rust finds a compiler that makes WASI modules, and its name for them.
func rust() (rustc, target string) {
	for _, rustc := range []string{"rustc", "/usr/bin/rustc"} {
		for _, target := range []string{"wasm32-wasip1", "wasm32-wasi"} {
			out, err := exec.Command(rustc, "--print", "target-libdir", "--target", target).Output()
			if found, _ := filepath.Glob(filepath.Join(strings.TrimSpace(string(out)), "libstd-*.rlib")); err == nil && len(found) > 0 {
				return rustc, target
			}
		}
	}
	return "", ""
}
