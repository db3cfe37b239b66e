package hal

import (
	"os/user"
	"path"
	"strconv"
	"strings"

	"github.com/stack4things/s4t"
	"github.com/stack4things/s4t/internal/tomlfile"
)

// config is an io-config. What Pin.Set sets wins over it, also after a restart.
type config struct {
	Defaults struct {
		Period   period   `toml:"period"` // of sensors and converters
		Fallback fallback `toml:"fallback"`
	} `toml:"defaults"`
	Pin []rule   `toml:"pin"`
	Sim []simPin `toml:"sim"`
}

// rule is a [[pin]]: what the owner says of the pins that a name, or a glob, names.
// Of several for one pin a later one adds to an earlier one.
type rule struct {
	Name      pattern   `toml:"name"`
	Label     label     `toml:"label"`
	Direction direction `toml:"direction"`
	Edge      edge      `toml:"edge"`
	Bias      bias      `toml:"bias"`
	Debounce  debounce  `toml:"debounce"`
	Period    period    `toml:"period"`
	Threshold threshold `toml:"threshold"`
	Deadband  deadband  `toml:"deadband"`
	Scale     scale     `toml:"scale"`
	Fallback  fallback  `toml:"fallback"`
	Value     value     `toml:"value"` // of an output at start
	Mode      mode      `toml:"mode"`
	Owner     owner     `toml:"owner"` // name or number
	Group     group     `toml:"group"`
	Hide      bool      `toml:"hide"`
	Cloud     cloud     `toml:"cloud"`
}

// Texts of the file, checked where they are read, so that an error has its line.
type (
	pattern   string
	label     string
	direction string
	edge      string
	bias      string
	debounce  string
	period    string
	threshold string
	deadband  string
	scale     string
	fallback  string
	cloud     string
	value     struct{ set *float64 }
	mode      struct{ bits uint32 }
	owner     struct{ id *uint32 }
	group     struct{ id *uint32 }
)

func checked[T ~string](to *T, key string, text []byte) error {
	s, err := checkSetting(key, string(text))
	*to = T(s)
	return err
}

// UnmarshalText reads the name of a pin, or a pattern that can match one.
func (t *pattern) UnmarshalText(b []byte) error {
	*t = pattern(b)
	parts := strings.Split(string(b), "/")
	ok := len(parts) == 3
	for _, part := range parts {
		_, err := path.Match(part, "")
		ok = ok && err == nil && (strings.ContainsAny(part, `*?[\`) || s4t.ValidPinPart(part) == nil)
	}
	if !ok {
		return s4t.Errorf(s4t.Invalid, "", "write name as DRIVER/DEVICE/PIN or a pattern of it", "%q names no pin", s4t.Line(string(b), 3*s4t.MaxName))
	}
	return nil
}

// UnmarshalText reads a setting.
func (t *label) UnmarshalText(b []byte) error     { return checked(t, s4t.PinKeyLabel, b) }
func (t *direction) UnmarshalText(b []byte) error { return checked(t, s4t.PinKeyDirection, b) }
func (t *edge) UnmarshalText(b []byte) error      { return checked(t, s4t.PinKeyEdge, b) }
func (t *bias) UnmarshalText(b []byte) error      { return checked(t, s4t.PinKeyBias, b) }
func (t *debounce) UnmarshalText(b []byte) error  { return checked(t, s4t.PinKeyDebounce, b) }
func (t *period) UnmarshalText(b []byte) error    { return checked(t, s4t.PinKeyPeriod, b) }
func (t *threshold) UnmarshalText(b []byte) error { return checked(t, s4t.PinKeyThreshold, b) }
func (t *deadband) UnmarshalText(b []byte) error  { return checked(t, s4t.PinKeyDeadband, b) }
func (t *scale) UnmarshalText(b []byte) error     { return checked(t, s4t.PinKeyScale, b) }
func (t *fallback) UnmarshalText(b []byte) error  { return checked(t, s4t.PinKeyFallback, b) }

// UnmarshalText reads what the cloud may do.
func (t *cloud) UnmarshalText(b []byte) error {
	switch *t = cloud(b); *t {
	case CloudNone, CloudRead, CloudWrite:
		return nil
	}
	return s4t.Errorf(s4t.Invalid, "", "write none, read or write", "%q is nothing that the cloud may do", s4t.Line(string(b), s4t.MaxName))
}

// UnmarshalText reads a value, as people write it.
func (t *value) UnmarshalText(b []byte) error {
	v, err := s4t.ParsePinValue(string(b))
	t.set = &v
	return err
}

// UnmarshalText reads an octal mode. A mode of 0 would be none: it is refused.
func (t *mode) UnmarshalText(b []byte) error {
	n, err := strconv.ParseUint(string(b), 8, 32)
	if err != nil || n == 0 || n > 0o666 || n&0o111 != 0 {
		return s4t.Errorf(s4t.Invalid, "", `write one as "0660"`, "%q is no mode of a file", s4t.Line(string(b), s4t.MaxName))
	}
	t.bits = uint32(n)
	return nil
}

// UnmarshalText looks up a user.
func (t *owner) UnmarshalText(b []byte) error {
	u, err := user.Lookup(string(b))
	if err == nil {
		b = []byte(u.Uid)
	}
	return parseID(&t.id, "user", b)
}

// UnmarshalText looks up a group.
func (t *group) UnmarshalText(b []byte) error {
	g, err := user.LookupGroup(string(b))
	if err == nil {
		b = []byte(g.Gid)
	}
	return parseID(&t.id, "group", b)
}

// parseID reads an id that is, or was found as, a number.
func parseID(to **uint32, what string, b []byte) error {
	n, err := strconv.ParseUint(string(b), 10, 32)
	if err != nil {
		return s4t.Errorf(s4t.Invalid, "", "make it, or write a number", "this board has no %s %q", what, s4t.Line(string(b), s4t.MaxName))
	}
	id := uint32(n)
	*to = &id
	return nil
}

// parseConfig reads an io-config.
func parseConfig(file string, text []byte) (config, error) {
	const hint = "see docs/pins.md"
	op := "read the io-config " + file
	var c config
	if err := tomlfile.Decode(op, hint, text, &c); err != nil {
		return config{}, err
	}
	lines := tomlfile.TableLines(text)
	for i, r := range c.Pin {
		if r.Name == "" {
			return config{}, s4t.Errorf(s4t.Invalid, op, hint, "[[pin]] %d%s: it has no name: write DRIVER/DEVICE/PIN or a pattern of it", i+1, lineOf(lines["pin"], i))
		}
	}
	for i := range c.Sim {
		c.Sim[i].line = lineOf(lines["sim"], i)
		if c.Sim[i].Period == "" && c.Defaults.Period != "0s" {
			c.Sim[i].Period = c.Defaults.Period
		}
	}
	return c, checkWaves(op, c.Sim)
}

// lineOf is where table i begins, for people; "": it is written in another way.
func lineOf(lines []int, i int) string {
	if i >= len(lines) {
		return ""
	}
	return " (line " + itoa(lines[i]) + ")"
}

// settings are those that a rule sets.
func (r *rule) settings() map[string]string {
	out := map[string]string{}
	for k, v := range map[string]string{
		s4t.PinKeyLabel: string(r.Label), s4t.PinKeyDirection: string(r.Direction), s4t.PinKeyEdge: string(r.Edge), s4t.PinKeyBias: string(r.Bias),
		s4t.PinKeyDebounce: string(r.Debounce), s4t.PinKeyPeriod: string(r.Period), s4t.PinKeyThreshold: string(r.Threshold),
		s4t.PinKeyDeadband: string(r.Deadband), s4t.PinKeyScale: string(r.Scale), s4t.PinKeyFallback: string(r.Fallback),
	} {
		if v != "" {
			out[k] = v
		}
	}
	return out
}

// of returns what the file says of a pin, and the settings, those of all its rules together.
func (c *config) of(pin s4t.Pin) (all rule, settings map[string]string) {
	settings = map[string]string{}
	if c.Defaults.Period != "" && pin.Kind != s4t.PinDigital && pin.Direction == s4t.PinIn && !strings.HasPrefix(pin.Name, "sim/") {
		settings[s4t.PinKeyPeriod] = string(c.Defaults.Period)
	}
	if c.Defaults.Fallback != "" {
		settings[s4t.PinKeyFallback] = string(c.Defaults.Fallback)
	}
	for i := range c.Pin {
		r := &c.Pin[i]
		if match, _ := path.Match(string(r.Name), pin.Name); !match && string(r.Name) != pin.Name {
			continue
		}
		for k, v := range r.settings() {
			settings[k] = v
		}
		if r.Value.set != nil {
			all.Value = r.Value
		}
		if r.Mode.bits != 0 {
			all.Mode = r.Mode
		}
		if r.Owner.id != nil {
			all.Owner = r.Owner
		}
		if r.Group.id != nil {
			all.Group = r.Group
		}
		if r.Cloud != "" {
			all.Cloud = r.Cloud
		}
		all.Hide = all.Hide || r.Hide
	}
	return all, settings
}
