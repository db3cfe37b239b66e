package plugin

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stack4things/s4t"
)

const oneCommand = "kind = \"callable\"\n[[commands]]\nname = \"go\"\n"

func TestProtocolOfALiar(t *testing.T) {
	l := newLab(t)
	l.Set([]Wanted{l.script("a", "1", oneCommand, `
while read -r line; do
	id=$(printf '%s\n' "$line" | sed -n 's/^{"id":"\([^"]*\)".*/\1/p')
	echo "no JSON at all"
	echo '{"id":"nobody","result":1}'
	echo "{\"id\":\"$id\",\"result\":1,\"error\":\"both\"}"
	printf '\001\377binary\n'
	head -c 400000 /dev/zero | tr '\0' x; echo
	case $line in
	*fail*) echo "{\"id\":\"$id\",\"error\":\"it did not work\"}" ;;
	*die*) exit 1 ;;
	*) echo "{\"id\":\"$id\",\"result\":null}" ;;
	esac
done`)})
	l.awaitState("a", s4t.PluginRunning)
	if result, _, err := l.call("go", ""); err != nil || result != "null" {
		t.Errorf("%q, %v", result, err)
	}
	if _, _, err := l.call("go", `{"x":"fail"}`); s4t.KindOf(err) != s4t.Invalid || err.Error() != "it did not work" {
		t.Errorf("%v", err)
	}
	if _, _, err := l.call("go", `{"x":"die"}`); s4t.KindOf(err) != s4t.Unavailable || !strings.Contains(err.Error(), "the plugin ended: exit status 1") {
		t.Errorf("%v", err)
	}
	text := l.text("a")
	for _, want := range []string{"agent: not understood", "stdout: no JSON at all", "an answer to no call that runs: nobody", `\xffbinary`, "it is longer than"} {
		if !strings.Contains(text, want) {
			t.Errorf("no %q in its log:\n%s", want, text)
		}
	}
	if _, _, err := l.call("stay", ""); s4t.KindOf(err) != s4t.NotFound {
		t.Errorf("%v", err)
	}
}

func TestACallThatIsCancelledEnds(t *testing.T) {
	l := newLab(t)
	l.Set([]Wanted{
		l.script("good", "1", strings.Replace(oneCommand, `"go"`, `"good"`, 1), `
read -r line; read -r cancel
case $cancel in *'"cancel":true'*) echo '{"id":"r1","error":"cancelled"}' ;; esac
exec sleep 1000`),
		l.script("bad", "1", strings.Replace(oneCommand, `"go"`, `"bad"`, 1), `
trap "" TERM
while :; do sleep 1000; done`),
	})
	l.awaitState("good", s4t.PluginRunning)
	l.awaitState("bad", s4t.PluginRunning)
	why := errors.New("somebody cancelled it")
	var all sync.WaitGroup
	for _, command := range []string{"good", "bad"} {
		all.Go(func() {
			ctx, cancel := context.WithCancelCause(t.Context())
			cancel(why)
			if command == "good" { // it runs when it is cancelled
				ctx, cancel = context.WithCancelCause(t.Context())
				time.AfterFunc(100*time.Millisecond, func() { cancel(why) })
			}
			if _, err := l.Call(ctx, Call{ID: "r1", Command: command}, nil); !errors.Is(err, why) {
				t.Errorf("%s: %v", command, err)
			}
		})
	}
	all.Wait()
	if s := l.States()["good"]; s.State != s4t.PluginRunning {
		t.Errorf("%+v", s)
	}
	l.await("bad", "started again", func(s State) bool { return s.Restarts > 0 && s.State == s4t.PluginRunning })
}

func TestASocketIsSpokenTo(t *testing.T) {
	l := newLab(t)
	if strings.HasPrefix(l.Runtimes()["python"], "no: ") {
		t.Skip("there is no python3 for a plugin that listens")
	}
	dir := t.TempDir()
	os.WriteFile(filepath.Join(dir, "plugin.toml"), []byte(`version = "1"
runtime = "python"
entry = "p.py"
protocol = "socket"
parallel = 2
`+oneCommand), 0o644)
	os.WriteFile(filepath.Join(dir, "p.py"), []byte(`
import json, os, socket
s = socket.socket(socket.AF_UNIX); s.bind(os.environ["S4T_SOCKET"]); s.listen()
while True:
    c, _ = s.accept()
    waiting = []
    for line in c.makefile():
        waiting.append(json.loads(line)["id"])
        if len(waiting) == 2:
            for id in reversed(waiting): c.sendall(b'{"id": "%s", "result": "%s"}\n' % (id.encode(), id.encode()))
            waiting = []
`), 0o644)
	w := l.put("a", "1", dir)
	l.Set([]Wanted{w})
	l.awaitState("a", s4t.PluginRunning)
	var all sync.WaitGroup
	for _, id := range []string{"x", "y"} {
		all.Go(func() {
			result, err := l.Call(t.Context(), Call{ID: id, Command: "go"}, nil)
			if err != nil || string(result) != `"`+id+`"` {
				t.Errorf("%s: %s, %v", id, result, err)
			}
		})
	}
	all.Wait()
}

func TestAFloodIsBounded(t *testing.T) {
	l := newLab(t)
	l.Set([]Wanted{l.script("a", "1", `kind = "job"`, `head -c 3000000 /dev/zero | tr '\0' 'x' | fold -w 100
head -c 1000000 /dev/zero; echo; echo last words`)})
	l.awaitState("a", s4t.PluginDone)
	var size int64
	for _, name := range []string{"log", "log.1"} {
		if info, err := os.Stat(filepath.Join(l.cfg.Dir, "a", name)); err == nil {
			size += info.Size()
		}
	}
	if size > 2*logFile {
		t.Errorf("its log is %d bytes", size)
	}
	if text := l.text("a"); !strings.Contains(text, "lost ") || !strings.Contains(text, "ended: exit status 0") {
		t.Error(text)
	}
}

func TestOneThatEndsAtOnceWaits(t *testing.T) {
	l := newLab(t)
	l.Set([]Wanted{l.script("a", "1", "", "exit 3")})
	s := l.await("a", "started again", func(s State) bool { return s.Restarts >= 2 && s.State == s4t.PluginWaiting })
	if s.Up || s.Exit != "exit status 3" || s.ProblemID != "plugin-failed" {
		t.Errorf("%+v", s)
	}
}

// TestOneThatFillsItsDiskIsStopped, also where it goes on when it is started to tidy up.
func TestOneThatFillsItsDiskIsStopped(t *testing.T) {
	l := newLab(t)
	w := l.script("a", "1", "[resources]\ndisk = \"1M\"\n", `
i=0; while [ $i -lt 1000 ]; do head -c 100000 /dev/zero > "$S4T_DATA/$$-$i"; i=$((i+1)); sleep 0.01; done
exec sleep 1000`)
	for n := range 2 {
		w.Start = int64(n)
		l.Set([]Wanted{w})
		s := l.await("a", "stopped", func(s State) bool {
			return s.State == s4t.PluginFailed && strings.Count(l.text("a"), "stopped: it has filled") > n
		})
		if !strings.Contains(s.Problem, "filled its disk") || s.PID != 0 {
			t.Errorf("%+v", s)
		}
	}
	if n := used(0, true, l.cfg.Dir); n > 50<<20 {
		t.Errorf("it keeps %d bytes", n)
	}
}

func TestHealth(t *testing.T) {
	l := newLab(t)
	const health = "[health]\ncommand = [\"test\", \"-f\", \"%\"]\ninterval = \"100ms\"\nretries = 2\ngrace = \"1m\"\n"
	l.Set([]Wanted{l.script("a", "1", strings.Replace(health, "%", "/etc/passwd", 1), "exec sleep 1000")})
	if s := l.awaitState("a", s4t.PluginRunning); s.Health != "well" {
		t.Errorf("%+v", s)
	}
	sick := strings.Replace(strings.Replace(health, "%", "/nowhere", 1), "1m", "1s", 1)
	l.Set([]Wanted{l.script("a", "2", sick, "exec sleep 1000")})
	l.await("a", "gone back", func(s State) bool { return s.ProblemID == "plugin-fell-back" && s.Running == "1" })
}

func TestOneThatIsNoProgramSaysSo(t *testing.T) {
	l := newLab(t)
	for _, tt := range []struct{ id, program, want string }{
		{"a", "\x7fELF no more", `start "plugin-a": exec run.sh: exec format error; it is for another processor`},
		{"b", "#!/bin/there-is-none\n", `start "plugin-b": exec run.sh: no such file or directory; the program itself is there`},
	} {
		dir := t.TempDir()
		os.WriteFile(filepath.Join(dir, "plugin.toml"), []byte("version = \"1\"\nruntime = \"exec\"\nentry = \"run.sh\"\n"), 0o644)
		os.WriteFile(filepath.Join(dir, "run.sh"), []byte(tt.program), 0o755)
		l.Set([]Wanted{l.put(tt.id, "1", dir)})
		if s := l.awaitState(tt.id, s4t.PluginWaiting); !strings.Contains(s.Problem, tt.want) {
			t.Errorf("%q", s.Problem)
		}
	}
}
