package ownercommand

import (
	"encoding/json"
	"os/user"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"github.com/stack4things/s4t"
	"github.com/stack4things/s4t/internal/tomlfile"
)

// Bounds of a file.
const (
	maxArgs = 256
	maxText = 4096 // bytes of an argument, of a description
	hint    = "see docs/commands.md"
)

// command is one file.
type command struct {
	s4t.Command
	argv      []template
	stdin     bool // the parameters go to the standard input
	json      bool // the standard output is the result, else the text of it
	dir       string
	network   bool
	uid, gid  int
	groups    []int
	time      time.Duration
	parameter map[string]json.RawMessage // those that the schema names, with their defaults; nil: it has none
}

// file is what is written.
type file struct {
	Description description `toml:"description"`
	Argv        []template  `toml:"argv"`
	Stdin       stdin       `toml:"stdin"`  // "", "params"
	Output      output      `toml:"output"` // "text", "json"
	User        account     `toml:"user"`   // name or number
	Timeout     timeout     `toml:"timeout"`
	Stream      bool        `toml:"stream"`
	Network     *bool       `toml:"network"`
	Dir         folder      `toml:"dir"`
	Params      any         `toml:"params"` // JSON Schema, as a table or as text
	Result      any         `toml:"result"`
}

// Texts of the file, checked where they are read, so that an error has its line.
type (
	description string
	stdin       string
	output      string
	timeout     time.Duration
	folder      string
	account     struct {
		uid, gid int
		groups   []int
	}
)

func wrong(what, do string, b []byte) error {
	return s4t.Errorf(s4t.Invalid, "", do, "%q is %s", s4t.Line(string(b), s4t.MaxName), what)
}

// UnmarshalText reads one line for people.
func (t *description) UnmarshalText(b []byte) error {
	if *t = description(b); len(b) > maxText || string(b) != s4t.Line(string(b), maxText) {
		return wrong("no description", "write one line of at most 4096 bytes", b)
	}
	return nil
}

// UnmarshalText reads what the standard input is.
func (t *stdin) UnmarshalText(b []byte) error {
	if *t = stdin(b); *t != "" && *t != "params" {
		return wrong("nothing that can be given to the standard input", `write "params" or ""`, b)
	}
	return nil
}

// UnmarshalText reads what the standard output is.
func (t *output) UnmarshalText(b []byte) error {
	if *t = output(b); *t != "text" && *t != "json" {
		return wrong("no form of a result", "write text or json", b)
	}
	return nil
}

// UnmarshalText reads a time.
func (t *timeout) UnmarshalText(b []byte) error {
	d, err := time.ParseDuration(string(b))
	if *t = timeout(d); err != nil || d <= 0 || d > s4t.MaxCommandTimeout {
		return wrong("no timeout", `write a time of at most 24h as "30s"`, b)
	}
	return nil
}

// UnmarshalText reads an absolute path.
func (t *folder) UnmarshalText(b []byte) error {
	if *t = folder(b); !filepath.IsAbs(string(b)) || len(b) > maxText || strings.IndexByte(string(b), 0) >= 0 {
		return wrong("no absolute path", "", b)
	}
	return nil
}

// UnmarshalText looks up a user, with its groups.
func (t *account) UnmarshalText(b []byte) error {
	u, err := user.Lookup(string(b))
	if err != nil {
		u, err = user.LookupId(string(b))
	}
	if err != nil {
		return wrong("no user of this board", "make it, or name another", b)
	}
	t.uid, _ = strconv.Atoi(u.Uid) // a number on Unix (os/user)
	t.gid, _ = strconv.Atoi(u.Gid)
	groups, _ := u.GroupIds() // none where /etc/group cannot be read
	for _, g := range groups {
		if n, err := strconv.Atoi(g); err == nil {
			t.groups = append(t.groups, n)
		}
	}
	return nil
}

// parse reads a file; name is that of the command.
func parse(path, name string, text []byte) (*command, error) {
	op := "read " + path
	if err := s4t.ValidCommandName(name); err != nil {
		return nil, err
	}
	var f file
	if err := tomlfile.Decode(op, hint, text, &f); err != nil {
		return nil, err
	}
	bad := func(format string, args ...any) (*command, error) {
		return nil, s4t.Errorf(s4t.Invalid, op, hint, format, args...)
	}
	c := &command{
		argv: f.Argv, stdin: f.Stdin == "params", json: f.Output == "json", dir: string(f.Dir), network: f.Network == nil || *f.Network,
		uid: f.User.uid, gid: f.User.gid, groups: f.User.groups, time: time.Duration(f.Timeout),
	}
	if c.time == 0 {
		c.time = s4t.CommandTimeout
	}
	if c.dir == "" {
		c.dir = "/"
	}
	c.Command = s4t.Command{Name: name, Source: s4t.CommandOfOwner, Description: string(f.Description), Timeout: c.time.String(), Stream: f.Stream}
	var err error
	if c.Params, err = schemaOf(f.Params); err != nil {
		return bad("params: %w", err)
	}
	if c.Result, err = schemaOf(f.Result); err != nil {
		return bad("result: %w", err)
	}
	if len(c.Result) == 0 && !c.json {
		c.Result = json.RawMessage(textResult)
	}
	var params struct {
		Properties map[string]json.RawMessage `json:"properties"`
	}
	if len(c.Params) > 0 {
		if err := json.Unmarshal(c.Params, &params); err != nil {
			return bad("params: its properties are no object")
		}
	}
	c.parameter = map[string]json.RawMessage{}
	for name, schema := range params.Properties {
		var of struct {
			Default json.RawMessage `json:"default"`
		}
		json.Unmarshal(schema, &of) // true and false are schemas, too
		c.parameter[name] = of.Default
	}
	if len(c.argv) == 0 || len(c.argv) > maxArgs || len(c.argv[0].parts) != 1 || c.argv[0].parts[0].param || !filepath.IsAbs(c.argv[0].parts[0].text) {
		return bad("argv: write the absolute path of a program, and its arguments")
	}
	for _, arg := range c.argv {
		for _, p := range arg.parts {
			if _, there := c.parameter[p.text]; p.param && !there {
				return bad("argv: {%s} is no property of params", p.text)
			}
		}
	}
	return c, nil
}

// textResult is the schema of the result of a command that prints text and promises
// nothing more.
const textResult = `{"type":"string"}`

func schemaOf(v any) (json.RawMessage, error) {
	text, err := tomlfile.Object(v)
	if err == nil && len(text) > s4t.MaxCommandSchema {
		err = s4t.Errorf(s4t.Invalid, "", "", "a schema is at most %d bytes", s4t.MaxCommandSchema)
	}
	return text, err
}

// template is an argument; parts of it may stand for parameters.
type template struct{ parts []part }

type part struct {
	text  string // or the name of a parameter
	param bool
}

// UnmarshalText reads an argument: {NAME} stands for a parameter.
func (t *template) UnmarshalText(b []byte) error {
	if len(b) > maxText || strings.IndexByte(string(b), 0) >= 0 {
		return wrong("no argument", "write at most 4096 bytes, without NUL", b)
	}
	t.parts = nil
	rest, plain := string(b), ""
	for {
		before, behind, found := strings.Cut(rest, "{")
		name, after, closed := strings.Cut(behind, "}")
		if !found || !closed {
			t.parts = append(t.parts, part{text: plain + rest})
			break
		}
		if s4t.ValidCommandName(name) != nil {
			plain, rest = plain+before+"{", behind
			continue
		}
		if plain += before; plain != "" {
			t.parts = append(t.parts, part{text: plain})
		}
		t.parts = append(t.parts, part{text: name, param: true})
		if plain, rest = "", after; rest == "" {
			break
		}
	}
	return nil
}

// arguments returns the argument list for parameters, which are those of the schema.
// One that is not there is its default; an argument that names one without is left out; one that is nothing but a
// parameter is repeated for each of a list.
func (c *command) arguments(params json.RawMessage) ([]string, error) {
	var given map[string]json.RawMessage
	if err := json.Unmarshal(params, &given); err != nil {
		return nil, s4t.Errorf(s4t.Invalid, "", "", "the parameters are no object")
	}
	value := func(name string) json.RawMessage {
		if v, there := given[name]; there {
			return v
		}
		return c.parameter[name]
	}
	var argv []string
	for _, t := range c.argv {
		if len(t.parts) == 1 && t.parts[0].param {
			list, err := values(t.parts[0].text, value(t.parts[0].text))
			if err != nil {
				return nil, err
			}
			argv = append(argv, list...)
			continue
		}
		arg, absent := "", false
		for _, p := range t.parts {
			if !p.param {
				arg += p.text
				continue
			}
			text, there, err := scalar(p.text, value(p.text))
			if err != nil {
				return nil, err
			}
			arg, absent = arg+text, absent || !there
		}
		if !absent {
			argv = append(argv, arg)
		}
	}
	return argv, nil
}

// values are the arguments that a parameter makes.
func values(name string, v json.RawMessage) (list []string, err error) {
	var many []json.RawMessage
	if json.Unmarshal(v, &many) != nil {
		many = []json.RawMessage{v}
	}
	for _, one := range many {
		text, there, err := scalar(name, one)
		if err != nil {
			return nil, err
		}
		if there {
			list = append(list, text)
		}
	}
	return list, nil
}

// scalar is a value within an argument; there is false for none, and for null.
func scalar(name string, v json.RawMessage) (text string, there bool, err error) {
	switch {
	case len(v) == 0 || string(v) == "null":
		return "", false, nil
	case v[0] == '"':
		if err := json.Unmarshal(v, &text); err != nil || strings.IndexByte(text, 0) >= 0 {
			return "", false, s4t.Errorf(s4t.Invalid, "", "", "the parameter %s has a NUL, which no argument can", name)
		}
		return text, true, nil
	case v[0] == '{' || v[0] == '[':
		return "", false, s4t.Errorf(s4t.Invalid, "", `stdin = "params" takes anything`, "the parameter %s is no single value", name)
	}
	return string(v), true, nil
}
