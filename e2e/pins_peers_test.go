package e2e

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/stack4things/s4t"
)

// labelled gives the output of a board without pins a name.
const labelled = "[[pin]]\nname = \"sim/demo/out\"\nlabel = \"lamp\"\n"

// TestProgramsThatKnowNothingOfPins: cat, tee, dash, busybox and Python do with pins
// what they do with any file, on the board and on `s4t mount`.
func TestProgramsThatKnowNothingOfPins(t *testing.T) {
	l := newPinLab(t)
	b := l.board("kitchen", labelled)
	mount, _ := l.userMount("boards", "kitchen")
	for where, tree := range map[string]string{"on the board": b.io, "mounted": filepath.Join(mount, "kitchen")} {
		t.Run(where, func(t *testing.T) {
			l := *l
			l.t = t
			out, in := filepath.Join(tree, "sim/demo/out/value"), filepath.Join(tree, "sim/demo/in/value")
			l.wants("ok", "write", out, "0")
			l.is(in, "0")

			if got := l.must("cat", out); got != "0" {
				t.Errorf("cat: %q", got)
			}
			l.must("dash", "-c", "echo 1 > "+out)
			l.is(in, "1")
			if got := l.must("busybox", "cat", in); got != "1" {
				t.Errorf("busybox cat: %q", got)
			}
			l.must("busybox", "sh", "-c", "echo off > "+out)
			l.is(in, "0")
			if got := l.must("sh", "-c", "echo on | tee "+out); got != "on" {
				t.Errorf("tee: %q", got)
			}
			l.is(in, "1")
			l.must("sh", "-c", "echo 0 | dd of="+out+" conv=notrunc status=none")
			l.is(in, "0")
			if got := l.must("sh", "-c", "head -n 1 "+in+" | wc -l"); got != "1" {
				t.Errorf("head: %q", got)
			}

			for _, want := range []string{"in", "noise", "out", "ramp", "sine", "step"} {
				if got := l.must("ls", filepath.Join(tree, "sim/demo")); !strings.Contains("\n"+got+"\n", "\n"+want+"\n") {
					t.Errorf("ls: no %s in %q", want, got)
				}
			}
			if got := l.must("cat", filepath.Join(tree, "by-name/lamp/value")); got != "0" {
				t.Errorf("by-name: %q", got)
			}
			if got := l.must("cat", filepath.Join(tree, "sim/demo/in/direction")); got != "in" {
				t.Errorf("direction: %q", got)
			}
			if got := l.must("sh", "-c", "find "+tree+" -name value | wc -l"); got == "0" {
				t.Error("find sees no values")
			}

			l.wants("EINVAL", "write", out, "purple")
			l.wants("EINVAL", "write", out, "nan")
			l.wants("EACCES", "write", in, "1")
			if _, err := l.sh("touch " + filepath.Join(tree, "sim/demo/new")); err == nil {
				t.Error("a file could be made")
			}
			if _, err := l.sh("rm -f " + out); err == nil {
				t.Error("a pin could be removed")
			}

			w := l.watching(in, 4)
			for i, v := range []string{"1", "0", "1", "0"} {
				l.must("sh", "-c", "echo "+v+" > "+out)
				l.waitFor(w, "woke ", i+1)
			}
			if got := strings.Join(regexp.MustCompile(`woke (\S+)`).FindAllString(w.log.String(), -1), ","); got != "woke 1,woke 0,woke 1,woke 0" {
				t.Errorf("poll saw %s", got)
			}
			for i, by := range []string{"select", "epoll"} {
				script, err := filepath.Abs("testdata/files.py")
				if err != nil {
					t.Fatal(err)
				}
				w := l.start("python3", "-u", script, by, in)
				l.waitFor(w, "waits", 1)
				l.must("sh", "-c", fmt.Sprintf("echo %d > %s", 1-i, out))
				l.waitFor(w, fmt.Sprintf("woke %d", 1-i), 1)
			}
		})
	}
}

// TestNoReaderTakesAnothersEdge: each of many that poll one pin is woken by each
// edge.
func TestNoReaderTakesAnothersEdge(t *testing.T) {
	l := newPinLab(t)
	b := l.board("kitchen", "")
	var readers []*pinProcess
	for range 8 {
		readers = append(readers, l.watching(b.value("sim/demo/in"), 3))
	}
	for i, v := range []string{"1", "0", "1"} {
		l.wants("ok", "write", b.value("sim/demo/out"), v)
		for _, r := range readers {
			l.waitFor(r, "woke "+v, (i+2)/2)
		}
	}
}

// TestAShellScriptBlinksAnLED: a plugin that is nothing but a shell script; not one
// of its writes is lost to who watches.
func TestAShellScriptBlinksAnLED(t *testing.T) {
	l := newPinLab(t)
	b := l.board("kitchen", labelled)
	watch := l.start(filepath.Join(bin, "s4t"), "pin", "watch", "kitchen", "lamp", "-o", "json")
	l.waitFor(watch, `"value"`, 1) // the newest one comes first
	l.must("sh", "-c", `led=$1; n=0
		while [ $n -lt 10 ]; do
			echo 1 > "$led"
			echo 0 > "$led"
			n=$((n + 1))
		done`, "blink", filepath.Join(b.io, "by-name/lamp/value"))
	l.waitFor(watch, `"value"`, 21)
	want := "0" + strings.Repeat("10", 10)
	var got strings.Builder
	for _, m := range regexp.MustCompile(`"value": ?(\d)`).FindAllStringSubmatch(watch.log.String(), -1) {
		got.WriteString(m[1])
	}
	if got.String() != want {
		t.Errorf("the lamp was %s, want %s:\n%s", got.String(), want, watch.log)
	}
}

// TestInotifySeesWhatGoesThroughTheMountOnly is what docs/pins.md says of inotify:
// it tells of writes by programs and not of samples. poll(2) tells of both.
func TestInotifySeesWhatGoesThroughTheMountOnly(t *testing.T) {
	if _, err := exec.LookPath("inotifywait"); err != nil {
		t.Skip(err)
	}
	l := newPinLab(t)
	b := l.board("kitchen", "")
	out, in := b.value("sim/demo/out"), b.value("sim/demo/in")
	p := l.start("inotifywait", "--monitor", "--event", "modify", "--format", "%w %e", out, in)
	l.waitFor(p, "Watches established", 1)
	l.wants("ok", "write", out, "1")
	l.is(in, "1") // it had its sample
	l.wants("ok", "write", out, "0")
	l.is(in, "0")
	l.waitFor(p, out+" MODIFY", 2)
	if strings.Contains(p.log.String(), in+" ") {
		t.Errorf("inotify now sees samples, and docs/pins.md says that it does not:\n%s", p.log)
	}
}

// TestAnEdgeAtOneBoardWakesAPollAtAnother, which has the first one mounted; and what
// it writes there acts here.
func TestAnEdgeAtOneBoardWakesAPollAtAnother(t *testing.T) {
	l := newPinLab(t)
	a, b := l.board("kitchen", ""), l.board("garden", "")
	dir, _ := b.boardMount("kitchen")
	far := func(pin string) string { return filepath.Join(dir, "kitchen", pin, "value") }
	w := l.watching(far("sim/demo/in"), 4)
	for i, v := range []string{"1", "0", "1", "0"} {
		l.wants("ok", "write", a.value("sim/demo/out"), v)
		l.waitFor(w, "woke "+v, i/2+1)
	}
	l.wants("ok", "write", far("sim/demo/out"), "1")
	l.is(a.value("sim/demo/in"), "1")
	l.is(far("sim/demo/in"), "1")
	if got, err := l.sh("ls " + filepath.Join(dir, "garden")); err == nil {
		t.Errorf("a board mounts itself: %s", got)
	}
}

// TestEKuiperReadsAMountedTree: a CEP engine's file source, unchanged, sees the edges
// of a board that is far away, and its file sink drives an output there.
func TestEKuiperReadsAMountedTree(t *testing.T) {
	dir := os.Getenv("S4T_EKUIPER")
	if dir == "" {
		t.Skip("S4T_EKUIPER is not the folder of `scripts/ekuiper`: see make test-peers")
	}
	kuiper, err := filepath.Glob(filepath.Join(dir, "kuiperd-*"))
	if err != nil || len(kuiper) == 0 {
		t.Skip("there is no eKuiper in ", dir)
	}
	l := newPinLab(t)
	b := l.board("kitchen", "")
	mount, _ := l.userMount("boards", "kitchen")
	home := filepath.Join(l.dir, "kuiper")
	l.must("sh", "-c", "mkdir -p "+home+"/data "+home+"/log "+home+"/plugins && cp -r "+dir+"/etc "+home)
	for file, text := range map[string]string{
		"etc/kuiper.yaml":       "basic: {logLevel: info, consoleLog: true, fileLog: false, ip: 127.0.0.1, port: 0, restIp: 127.0.0.1, restPort: 0, pprof: false}\nstore: {type: sqlite, extStateType: sqlite}\n",
		"etc/sources/file.yaml": "default: {fileType: csv, path: " + filepath.Join(mount, "kitchen/sim/demo/in") + ", interval: 50ms, hasHeader: false, columns: [value], delimiter: \",\"}\n",
		"data/init.json": `{"streams": {"pin": "CREATE STREAM pin (value STRING) WITH (TYPE=\"file\", DATASOURCE=\"value\", FORMAT=\"delimited\", DELIMITER=\",\")"}, "tables": {},
			"rules": {"edges": "{\"id\": \"edges\", \"sql\": \"SELECT value FROM pin WHERE had_changed(true, value)\", \"actions\": [{\"log\": {}}]}"}}`,
	} {
		if err := os.WriteFile(filepath.Join(home, file), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	p := l.start("env", "KuiperBaseKey="+home, kuiper[0])
	result := func(v string) string { return `sink result for rule edges: [{\"value\":\"` + v + `\"}]` }
	l.waitFor(p, result("0"), 1)
	for i := range 3 {
		l.wants("ok", "write", b.value("sim/demo/out"), "1")
		l.waitFor(p, result("1"), i+1)
		l.wants("ok", "write", b.value("sim/demo/out"), "0")
		l.waitFor(p, result("0"), i+2)
	}
}

// TestManyPinsAreListedAsTheContractSays: the fields of `s4t pin list -o json` and
// its names.
func TestManyPinsAreListedAsTheContractSays(t *testing.T) {
	l := newPinLab(t)
	l.board("kitchen", labelled)
	var pins []map[string]any
	l.json(&pins, "pin", "list", "kitchen")
	if len(pins) < 6 {
		t.Fatalf("%d pins: %v", len(pins), pins)
	}
	for _, p := range pins {
		for _, key := range []string{"name", "driver", "device", "kind", "writable", "direction", "value", "unit", "at", "period_ms", "lease"} {
			if _, ok := p[key]; !ok {
				t.Errorf("%v has no %s", p["name"], key)
			}
		}
	}
	names, err := l.s4t("pin", "list", "kitchen", "-o", "name")
	if err != nil || !strings.Contains(names, "sim/demo/sine") {
		t.Errorf("%q %v", names, err)
	}
	var read []s4t.Pin
	l.json(&read, "pin", "read", "kitchen", "lamp", "sim/demo/sine")
	if len(read) != 2 || read[0].Name != "sim/demo/out" || read[1].Value == nil || time.Since(*read[1].At) > time.Hour {
		t.Errorf("%+v", read)
	}
	l.fails(3, "pin", "read", "kitchen", "sim/demo/nothing")
	l.fails(3, "pin", "list", "cellar")
}
