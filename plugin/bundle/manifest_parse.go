package bundle

import (
	"encoding/json"
	"fmt"
	"path"
	"slices"
	"sort"
	"strconv"
	"strings"
	"time"

	"github.com/stack4things/s4t"
	"github.com/stack4things/s4t/internal/tomlfile"
)

// ManifestName is the file of a bundle that says what it is.
const ManifestName = "plugin.toml"

// Bounds and defaults of a manifest.
const (
	maxArgs     = 64               // of an entry, or of a health command
	maxPins     = 64               // that a plugin asks for
	maxText     = 4096             // bytes of an argument, of a description
	maxParallel = 64               // commands that a callable takes at a time
	maxProcess  = 4096             // processes
	maxCPU      = 1024             // processors
	maxPeriod   = 24 * time.Hour   // of a health check
	minPeriod   = time.Millisecond //
)

const (
	parseOp   = "read " + ManifestName
	parseHint = "the page on plugins shows all its keys"
)

// file is plugin.toml as it is written. What is any may be written in two ways.
type file struct {
	Name        string   `toml:"name"`
	Version     string   `toml:"version"`
	Description string   `toml:"description"`
	Runtime     string   `toml:"runtime"`
	Kind        string   `toml:"kind"`
	Entry       any      `toml:"entry"` // "run.sh", or ["run.sh", "argument"]
	Protocol    string   `toml:"protocol"`
	Parallel    int      `toml:"parallel"`
	Network     bool     `toml:"network"`
	API         string   `toml:"api"`
	Pins        []string `toml:"pins"`
	Resources   struct {
		CPU       any `toml:"cpu"`    // 0.25, or "25%"
		Memory    any `toml:"memory"` // bytes, or "64M"
		Disk      any `toml:"disk"`
		Processes int `toml:"processes"`
	} `toml:"resources"`
	Health struct {
		Command  any    `toml:"command"`
		Interval string `toml:"interval"`
		Timeout  string `toml:"timeout"`
		Retries  int    `toml:"retries"`
		Grace    string `toml:"grace"`
	} `toml:"health"`
	Commands []struct {
		Name        string `toml:"name"`
		Description string `toml:"description"`
		Params      any    `toml:"params"` // JSON Schema, as a table or as text
		Result      any    `toml:"result"`
		Timeout     string `toml:"timeout"`
		Stream      bool   `toml:"stream"`
	} `toml:"commands"`
}

// ParseManifest reads plugin.toml, fills in what it leaves out, and checks it. The
// schemas of commands are bounded here, and not compiled: the cloud does.
func ParseManifest(text []byte) (Manifest, error) {
	var f file
	if err := tomlfile.Decode(parseOp, parseHint, text, &f); err != nil {
		return Manifest{}, err
	}
	m := Manifest{
		Name: f.Name, Version: f.Version, Description: f.Description,
		Runtime: s4t.Runtime(f.Runtime), Kind: s4t.PluginKind(f.Kind),
		Protocol: f.Protocol, Parallel: f.Parallel, Network: f.Network, API: s4t.Role(f.API), Pins: f.Pins,
	}
	if m.Kind == "" {
		if m.Kind = s4t.PluginService; len(f.Commands) > 0 {
			m.Kind = s4t.PluginCallable
		}
	}
	if m.Kind == s4t.PluginCallable && m.Protocol == "" {
		m.Protocol = ProtocolStdio
	}
	if m.Parallel == 0 {
		m.Parallel = 1
	}
	c := collector{lines: tomlfile.TableLines(text)["commands"]}
	m.Entry = c.args("entry", f.Entry)
	m.Resources = Resources{
		CPU:    c.processors("cpu", f.Resources.CPU),
		Memory: c.bytes("memory", f.Resources.Memory), Disk: c.bytes("disk", f.Resources.Disk),
		Processes: f.Resources.Processes,
	}
	if m.Resources.Processes == 0 {
		m.Resources.Processes = DefaultProcesses
	}
	m.Health.Command = c.args("health.command", f.Health.Command)
	grace := time.Second
	if len(m.Health.Command) > 0 {
		grace = 30 * time.Second
	}
	m.Health.Interval = c.duration("health.interval", f.Health.Interval, 10*time.Second)
	m.Health.Timeout = c.duration("health.timeout", f.Health.Timeout, 5*time.Second)
	m.Health.Grace = c.duration("health.grace", f.Health.Grace, grace)
	if m.Health.Retries = f.Health.Retries; m.Health.Retries == 0 {
		m.Health.Retries = 3
	}
	for i, fc := range f.Commands {
		c.command = i
		m.Commands = append(m.Commands, s4t.Command{
			Name: fc.Name, Description: fc.Description, Stream: fc.Stream,
			Params:  c.schema("params", fc.Params),
			Result:  c.schema("result", fc.Result),
			Timeout: c.duration("timeout", fc.Timeout, s4t.CommandTimeout).String(),
		})
		if err := validateCommand(m.Commands[i]); err != nil {
			c.fail("%w", err)
		}
	}
	if c.err != nil {
		return Manifest{}, c.err
	}
	sort.Slice(m.Commands, func(i, j int) bool { return m.Commands[i].Name < m.Commands[j].Name })
	return m, m.Validate()
}

// collector turns what may be written in two ways into one, and keeps the first
// mistake.
type collector struct {
	lines   []int // at which the tables [[commands]] begin
	command int   // that is read; lines has it where there is one
	err     error
}

func (c *collector) fail(format string, args ...any) {
	if c.err != nil {
		return
	}
	err := fmt.Errorf(format, args...)
	if c.command < len(c.lines) {
		c.err = s4t.Errorf(s4t.Invalid, parseOp, parseHint, "the command in line %d: %w", c.lines[c.command], err)
		return
	}
	c.err = s4t.Errorf(s4t.Invalid, parseOp, parseHint, "%w", err)
}

// top reports a mistake that is in no command.
func (c *collector) top(key, format string, args ...any) {
	if c.err == nil {
		c.err = s4t.Errorf(s4t.Invalid, parseOp, parseHint, "%s: %w", key, fmt.Errorf(format, args...))
	}
}

func (c *collector) args(key string, v any) []string {
	switch v := v.(type) {
	case nil:
		return nil
	case string:
		return []string{v}
	case []any:
		args := make([]string, 0, len(v))
		for _, a := range v {
			s, ok := a.(string)
			if !ok {
				break
			}
			args = append(args, s)
		}
		if len(args) == len(v) {
			return args
		}
	}
	c.top(key, `write "program", or ["program", "argument"]`)
	return nil
}

func (c *collector) processors(key string, v any) float64 {
	switch v := v.(type) {
	case nil:
		return 0
	case int64:
		return float64(v)
	case float64:
		return v
	case string:
		if s, ok := strings.CutSuffix(v, "%"); ok {
			if n, err := strconv.ParseFloat(s, 64); err == nil {
				return n / 100
			}
		}
	}
	c.top(key, `write processors, as 0.25 or "25%%"`)
	return 0
}

func (c *collector) bytes(key string, v any) int64 {
	switch v := v.(type) {
	case nil:
		return 0
	case int64:
		return v
	case string:
		if n, err := parseBytes(v); err == nil {
			return n
		}
	}
	c.top(key, `write bytes, as 67108864 or "64M"`)
	return 0
}

func (c *collector) duration(key, text string, otherwise time.Duration) time.Duration {
	if text == "" {
		return otherwise
	}
	d, err := time.ParseDuration(text)
	if err != nil || d < minPeriod || d > maxPeriod {
		if key == "timeout" {
			c.fail(`timeout: write a time of up to 24h, as "30s"`)
		} else {
			c.top(key, `write a time of up to 24h, as "30s"`)
		}
	}
	return d
}

// schema returns a JSON Schema as JSON, whichever way it is written.
func (c *collector) schema(key string, v any) json.RawMessage {
	text, err := tomlfile.Object(v)
	if err != nil {
		c.fail("%s, a JSON Schema: %w", key, err)
	}
	return text
}

// Validate checks a manifest whose defaults are filled in.
func (m Manifest) Validate() error {
	wrong := func(format string, args ...any) error {
		return s4t.Errorf(s4t.Invalid, parseOp, parseHint, format, args...)
	}
	r, h := m.Resources, m.Health
	switch {
	case m.Name != "" && s4t.ValidCommandName(m.Name) != nil:
		return wrong("name: %q is no name of a plugin: use letters, digits, and . _ - within", s4t.Line(m.Name, s4t.MaxName))
	case !ValidVersion(m.Version):
		return wrong("version: %q is no version: use letters, digits, and . _ + - within", s4t.Line(m.Version, s4t.MaxName))
	case len(m.Description) > maxText || m.Description != s4t.Line(m.Description, maxText):
		return wrong("description: write one line of at most %d bytes", maxText)
	case !slices.Contains([]s4t.Runtime{s4t.RuntimeExec, s4t.RuntimePython, s4t.RuntimeWASI}, m.Runtime):
		return wrong("runtime: %q is none of exec, python, wasi", s4t.Line(string(m.Runtime), s4t.MaxName))
	case !slices.Contains([]s4t.PluginKind{s4t.PluginService, s4t.PluginJob, s4t.PluginCallable}, m.Kind):
		return wrong("kind: %q is none of service, job, callable", s4t.Line(string(m.Kind), s4t.MaxName))
	case len(m.Entry) == 0 || !validPath(m.Entry[0]):
		return wrong("entry: name a file of the bundle")
	case !validArgs(m.Entry) || !validArgs(h.Command):
		return wrong("entry, health.command: at most %d arguments of %d bytes each, without NUL", maxArgs, maxText)
	case m.Kind == s4t.PluginCallable && m.Protocol != ProtocolStdio && m.Protocol != ProtocolSocket:
		return wrong("protocol: %q is none of stdio, socket", s4t.Line(m.Protocol, s4t.MaxName))
	case m.Kind != s4t.PluginCallable && m.Protocol != "":
		return wrong("protocol: only a callable has one")
	case m.Kind == s4t.PluginCallable && len(m.Commands) == 0:
		return wrong("commands: a callable has one at least")
	case m.Kind != s4t.PluginCallable && len(m.Commands) > 0:
		return wrong("commands: only a callable has them")
	case m.Runtime == s4t.RuntimeWASI && m.Protocol == ProtocolSocket:
		return wrong("protocol: a WASI module has no sockets: use stdio")
	case m.Parallel < 1 || m.Parallel > maxParallel:
		return wrong("parallel: from 1 to %d", maxParallel)
	case m.API != "" && m.API != s4t.RoleReader && m.API != s4t.RoleMember:
		return wrong("api: %q is none of reader, member", s4t.Line(string(m.API), s4t.MaxName))
	case len(m.Pins) > maxPins || slices.ContainsFunc(m.Pins, badPin):
		return wrong("pins: at most %d names, each as gpio/*/17 or by-name/door", maxPins)
	case !(r.CPU >= 0 && r.CPU <= maxCPU): // not a number, too
		return wrong("cpu: from 0 to %d processors", maxCPU)
	case r.CPU > 0 && r.CPU < 0.01:
		return wrong("cpu: at least 1%% of a processor")
	case r.Memory < 0 || r.Disk < 0:
		return wrong("memory, disk: not below 0")
	case r.Processes < 1 || r.Processes > maxProcess:
		return wrong("processes: from 1 to %d", maxProcess)
	case h.Retries < 1 || h.Retries > 1000:
		return wrong("health.retries: from 1 to 1000")
	case len(m.Commands) > s4t.MaxCommands:
		return wrong("commands: at most %d", s4t.MaxCommands)
	}
	for i, c := range m.Commands {
		if err := validateCommand(c); err != nil {
			return wrong("the command %s: %w", s4t.Line(c.Name, s4t.MaxName), err)
		}
		if i > 0 && m.Commands[i-1].Name == c.Name {
			return wrong("commands: there are two of the name %s", c.Name)
		}
	}
	return nil
}

func validateCommand(c s4t.Command) error {
	if err := s4t.ValidCommandName(c.Name); err != nil {
		return err
	}
	if len(c.Description) > maxText || c.Description != s4t.Line(c.Description, maxText) {
		return fmt.Errorf("description: write one line of at most %d bytes", maxText)
	}
	if len(c.Params) > s4t.MaxCommandSchema || len(c.Result) > s4t.MaxCommandSchema {
		return fmt.Errorf("a schema is at most %d bytes", s4t.MaxCommandSchema)
	}
	return nil
}

// ValidVersion reports whether text may be the version of a bundle.
func ValidVersion(text string) bool {
	if text == "" || len(text) > s4t.MaxName || strings.IndexByte("._+-", text[0]) >= 0 {
		return false
	}
	for i := range len(text) {
		c := text[i]
		if !(c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= '0' && c <= '9' || strings.IndexByte("._+-", c) >= 0) {
			return false
		}
	}
	return true
}

func badPin(pin string) bool {
	_, err := path.Match(pin, "")
	return err != nil || !validPath(pin) || pin != s4t.Line(pin, s4t.MaxName*3)
}

func validArgs(args []string) bool {
	return len(args) <= maxArgs && !slices.ContainsFunc(args, func(a string) bool {
		return len(a) > maxText || strings.IndexByte(a, 0) >= 0
	})
}

// parseBytes reads bytes, with K, M or G of 1024.
func parseBytes(text string) (int64, error) {
	digits := strings.TrimRight(text, "KMG")
	shift := map[string]uint{"": 0, "K": 10, "M": 20, "G": 30}
	by, ok := shift[text[len(digits):]]
	n, err := strconv.ParseInt(digits, 10, 64)
	if err != nil || !ok || n < 0 || n > 1<<62>>by {
		return 0, fmt.Errorf("%q is no number of bytes", text)
	}
	return n << by, nil
}
