package ownercommand

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/stack4things/s4t"
	"github.com/stack4things/s4t/plugin"
)

// The test binary is the stub of its sandbox.
func TestMain(m *testing.M) {
	if plugin.IsStub(os.Args) {
		plugin.StubMain()
	}
	code := m.Run()
	if code == 0 {
		if err := goleak.Find(); err != nil {
			fmt.Fprintln(os.Stderr, "goleak:", err)
			code = 1
		}
	}
	os.Exit(code)
}

const ping = `
description = "is a host there"
argv = ["/bin/echo", "-n", "{count}", "host={host}", "{more}", "x{y", "{}"]
timeout = "10s"
[params]
type = "object"
required = ["host"]
[params.properties]
host = { type = "string" }
count = { type = "integer" }
more = { type = "array", items = { type = "string" } }
`

func TestArguments(t *testing.T) {
	c, err := parse("ping.toml", "ping", []byte(ping))
	if err != nil {
		t.Fatal(err)
	}
	if c.Name != "ping" || c.Source != s4t.CommandOfOwner || c.Timeout != "10s" || !json.Valid(c.Params) || !c.network || c.dir != "/" {
		t.Errorf("%+v", c)
	}
	for params, want := range map[string]string{
		`{"host":"a b"}`: `-n|host=a b|x{y|{}`,
		`{"count":3,"host":"$(x)","more":["-1",";",""]}`: `-n|3|host=$(x)|-1|;||x{y|{}`,
		`{"host":null,"count":1.50}`:                     `-n|1.50|x{y|{}`,
		`{"host":true,"more":[]}`:                        `-n|host=true|x{y|{}`,
		`{"host":{}}`:                                    "the parameter host",
		`{"host":["a"]}`:                                 "the parameter host",
		`{"host":"a\u0000"}`:                             "NUL",
		`{"host":"a","more":[["b"]]}`:                    "the parameter more",
		`[]`:                                             "no object",
	} {
		argv, err := c.arguments(json.RawMessage(params))
		got := strings.TrimPrefix(strings.Join(argv, "|"), "/bin/echo|")
		if err != nil {
			got = err.Error()
		}
		if got != want && (err == nil || !strings.Contains(got, want)) {
			t.Errorf("%s: %q, want %q", params, got, want)
		}
	}
}

// TestDefaults: what is not given is what the schema says, and null is nothing.
func TestDefaults(t *testing.T) {
	text := "argv = [\"/bin/ping\", \"-c\", \"{count}\", \"-I{via}\", \"{more}\"]\n[params.properties]\ncount = { type = \"integer\", default = 3 }\nvia = { default = \"eth0\" }\nmore = true\n"
	c, err := parse("ping.toml", "ping", []byte(text))
	if err != nil {
		t.Fatal(err)
	}
	for params, want := range map[string]string{
		`{}`:                               "-c 3 -Ieth0",
		`{"count":1,"via":"lo","more":[]}`: "-c 1 -Ilo",
		`{"count":null,"more":"x"}`:        "-c -Ieth0 x",
	} {
		argv, err := c.arguments(json.RawMessage(params))
		if got := strings.Join(argv[1:], " "); err != nil || got != want {
			t.Errorf("%s: %q, %v, want %q", params, got, err, want)
		}
	}
}

// TestTextIsAString: who reads the schema of a result knows what comes.
func TestTextIsAString(t *testing.T) {
	for more, want := range map[string]string{
		"":                                 `{"type":"string"}`,
		"output = \"text\"\nstream = true": `{"type":"string"}`,
		"output = \"json\"":                "",
		"[result]\ntype = \"string\"\nmaxLength = 3": `{"maxLength":3,"type":"string"}`,
	} {
		c, err := parse("x.toml", "x", []byte("argv = [\"/bin/true\"]\n"+more))
		if err != nil || string(c.Result) != want {
			t.Errorf("%q: %s, %v, want %s", more, c.Result, err, want)
		}
	}
}

func TestMistakesHaveTheirLine(t *testing.T) {
	for text, want := range map[string]string{
		"":                                    "argv",
		"argv = []":                           "argv",
		`argv = ["uptime"]`:                   "absolute path",
		`argv = ["/bin/{x}"]`:                 "absolute path",
		`argv = ["/bin/echo", "{x}"]`:         "{x} is no property",
		"\nargs = 1":                          "line 2",
		"argv = [\"/bin/true\"]\ntimeout = 3": "line 2",
		"argv = [\"/bin/true\"]\ntimeout = \"25h\"":       "line 2",
		"argv = [\"/bin/true\"]\n\nstdin = \"x\"":         "line 3",
		"argv = [\"/bin/true\"]\noutput = \"xml\"":        "line 2",
		"argv = [\"/bin/true\"]\ndir = \"tmp\"":           "line 2",
		"argv = [\"/bin/true\"]\nuser = \"no such user\"": "line 2",
		"argv = [\"/bin/true\"]\nparams = '[]'":           "params",
		"argv = [\"/bin/true\"]\nresult = '{'":            "result",
	} {
		_, err := parse("x.toml", "x", []byte(text))
		if err == nil || !strings.Contains(err.Error(), want) || !strings.Contains(err.Error(), "x.toml") {
			t.Errorf("%q: %v, want %q", text, err, want)
		}
	}
	if _, err := parse("-x.toml", "-x", []byte(`argv = ["/bin/true"]`)); err == nil {
		t.Error("a name that is none")
	}
	c, err := parse("x.toml", "x", []byte("argv = [\"/bin/true\"]\nparams = '{ \"type\": \"object\" }'"))
	if err != nil || string(c.Params) != `{"type":"object"}` {
		t.Errorf("%+v, %v", c, err)
	}
}

// sandboxed has commands that run in a sandbox.
func sandboxed(t *testing.T, files map[string]string) (*Commands, string) {
	t.Helper()
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	s, err := plugin.NewSandbox(plugin.SandboxConfig{Name: "lightning-rod-test-" + s4t.NewID(), Stub: []string{self, "plugin-exec"}})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	})
	dir := t.TempDir()
	for name, text := range files {
		write(t, filepath.Join(dir, name+".toml"), text)
	}
	return New(Config{Dir: dir, Start: s.Start}), dir
}

func write(t *testing.T, path, text string) {
	t.Helper()
	if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
}

// shell is a command that runs a script: what the project itself never does, and an
// owner may.
func shell(script, more string) string {
	return fmt.Sprintf("argv = [\"/bin/sh\", \"-c\", '''%s''']\n%s", script, more)
}

func TestCommandsRun(t *testing.T) {
	c, _ := sandboxed(t, map[string]string{
		"text":   shell(`echo "one <two>"; echo three`, ""),
		"empty":  shell(`true`, ""),
		"json":   shell(`echo '{"a": 1}'`, `output = "json"`),
		"params": shell(`cat`, "output = \"json\"\nstdin = \"params\""),
		"deaf":   shell(`exec <&-; echo ok`, `stdin = "params"`),
		"fails":  shell(`echo nothing; echo first >&2; echo "  no luck" >&2; echo >&2; exit 3`, ""),
		"much":   shell(`yes`, ""),
		"lines":  shell(`echo 1; echo two; echo 3`, "stream = true"),
		"docs":   shell(`echo '{"n":1}'; echo not json; echo '[2]'`, "stream = true\noutput = \"json\""),
		"line":   shell(`head -c 300000 /dev/zero | tr '\0' x`, "stream = true"),
		"none":   `argv = ["/no/such/program"]`,
		"env":    shell(`echo "$S4T_COMMAND $HOME $(pwd) $1"`, `dir = "/usr"`),
	})
	if p := c.Problems(); len(p) > 0 {
		t.Fatal(p)
	}
	if list := c.Commands(); len(list) != 12 || list[0].Name != "deaf" {
		t.Fatalf("%+v", list)
	}
	for name, want := range map[string]struct{ result, output, error string }{
		"text":   {result: `"one \u003ctwo\u003e\nthree"`},
		"empty":  {result: `""`},
		"json":   {result: "{\"a\": 1}\n"},
		"params": {result: "{\"x\":1}\n"},
		"deaf":   {result: `"ok"`},
		"fails":  {error: "exit status 3: no luck"},
		"much":   {error: "longer than 262144 bytes"},
		"lines":  {result: `"3"`, output: `"1"|"two"|"3"`},
		"docs":   {result: "[2]", output: `{"n":1}|"not json"|[2]`},
		"line":   {error: "longer than 262144 bytes"},
		"none":   {error: "no such file"},
		"env":    {result: `"env  /usr "`},
		"gone":   {error: "no such command"},
	} {
		t.Run(name, func(t *testing.T) {
			var said []string
			result, err := c.Call(t.Context(), name, json.RawMessage(`{"x":1}`), func(m json.RawMessage) { said = append(said, string(m)) })
			if string(result) != want.result || strings.Join(said, "|") != want.output {
				t.Errorf("%q, said %q", result, said)
			}
			if (err == nil) != (want.error == "") || err != nil && !strings.Contains(err.Error(), want.error) {
				t.Errorf("%v, want %q", err, want.error)
			}
		})
	}
}

func TestACommandIsEnded(t *testing.T) {
	c, dir := sandboxed(t, map[string]string{
		"polite": shell(`trap 'echo bye > mark; exit 0' TERM; echo up; while :; do sleep 0.01; done`, "stream = true"),
	})
	file := filepath.Join(dir, "polite.toml")
	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	write(t, file, string(text)+"\ndir = '"+dir+"'")
	c.read()
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	_, err = c.Call(ctx, "polite", json.RawMessage(`{}`), func(json.RawMessage) { cancel() })
	if err != context.Canceled {
		t.Errorf("%v", err)
	}
	if mark, err := os.ReadFile(filepath.Join(dir, "mark")); err != nil || string(mark) != "bye\n" {
		t.Errorf("it was not told to end: %q, %v", mark, err)
	}
}

func TestWhatOthersCanWriteIsNotTaken(t *testing.T) {
	c, dir := sandboxed(t, map[string]string{"good": `argv = ["/bin/true"]`, "bad": `argv = ["/bin/true"]`, "wrong": "x = 1", ".hidden": "x"})
	if err := os.Chmod(filepath.Join(dir, "bad.toml"), 0o666); err != nil {
		t.Fatal(err)
	}
	write(t, filepath.Join(dir, "README"), "not a command")
	c.read()
	names := func() (out []string) {
		for _, cmd := range c.Commands() {
			out = append(out, cmd.Name)
		}
		return out
	}
	if got := names(); !slices.Equal(got, []string{"good"}) {
		t.Errorf("%q", got)
	}
	p := c.Problems()
	if len(p) != 2 || !strings.Contains(p[0], "bad.toml can be written by others") || !strings.Contains(p[1], "wrong.toml") || !strings.Contains(p[1], "line 1") {
		t.Errorf("%q", p)
	}
	if err := os.Chmod(dir, 0o777); err != nil {
		t.Fatal(err)
	}
	c.read()
	if got := names(); len(got) != 0 || len(c.Problems()) != 1 {
		t.Errorf("of a folder that all can write: %q, %q", got, c.Problems())
	}
}

func TestChangesAreSeen(t *testing.T) {
	c, dir := sandboxed(t, nil)
	sub := filepath.Join(dir, "etc", "commands.d")
	c.cfg.Dir = sub
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan struct{})
	go func() { defer close(done); c.Run(ctx) }()
	defer func() { cancel(); <-done }()
	until := func(what string, ok func() bool) {
		t.Helper()
		late := time.After(time.Minute)
		for {
			changed := c.Changed()
			if ok() {
				return
			}
			select {
			case <-changed:
			case <-late:
				t.Fatalf("not seen: %s: %+v %q", what, c.Commands(), c.Problems())
			}
		}
	}
	if err := os.MkdirAll(sub, 0o755); err != nil {
		t.Fatal(err)
	}
	write(t, filepath.Join(sub, "one.toml"), `argv = ["/bin/true"]`)
	until("a file in a folder that comes", func() bool { return len(c.Commands()) == 1 })
	write(t, filepath.Join(sub, "one.toml"), `argv = [`)
	until("a mistake", func() bool { return len(c.Commands()) == 0 && len(c.Problems()) == 1 })
	write(t, filepath.Join(dir, "new"), "argv = [\"/bin/true\"]\ndescription = \"x\"")
	if err := os.Rename(filepath.Join(dir, "new"), filepath.Join(sub, "one.toml")); err != nil {
		t.Fatal(err)
	}
	until("a file that is moved there", func() bool { l := c.Commands(); return len(l) == 1 && l[0].Description == "x" })
	if err := os.RemoveAll(filepath.Dir(sub)); err != nil {
		t.Fatal(err)
	}
	until("the end of the folder", func() bool { return len(c.Commands()) == 0 && len(c.Problems()) == 0 })
}

func FuzzParse(f *testing.F) {
	f.Add([]byte(ping), []byte(`{"host":"a","more":["b","c"],"count":1}`))
	f.Add([]byte(`argv = ["/bin/true"]`), []byte(`{}`))
	f.Add([]byte("argv = [\"/bin/echo\", \"{x}{x}\"]\nparams = '{\"properties\":{\"x\":{}}}'"), []byte(`{"x":"\u0001"}`))
	f.Fuzz(func(t *testing.T, text, params []byte) {
		c, err := parse("x.toml", "x", text)
		if err != nil {
			return
		}
		argv, err := c.arguments(params)
		if err != nil {
			return
		}
		if len(argv) == 0 || !filepath.IsAbs(argv[0]) || slices.ContainsFunc(argv, func(a string) bool { return strings.IndexByte(a, 0) >= 0 }) {
			t.Fatalf("%q", argv)
		}
	})
}
