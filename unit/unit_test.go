package unit_test

import (
	"flag"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/stack4things/s4t"
	"github.com/stack4things/s4t/unit"
)

var update = flag.Bool("update", false, "write testdata")

func board() unit.Service {
	return unit.Service{
		Name: "lightning-rod", Description: "Stack4Things board (lightning-rod)",
		Command: []string{"/usr/bin/lightning-rod", "run"}, State: "/var/lib/lightning-rod", Needs: "/var/lib/lightning-rod/identity.json",
		Capabilities: []string{"CAP_NET_ADMIN"}, TUN: true, Guests: true, Hopeless: []string{"2", "3"},
	}
}

func cloud() unit.Service {
	return unit.Service{
		Name: "iotronic", Description: "Stack4Things cloud (iotronic)",
		Command: []string{"/opt/s4t bin/iotronic", "serve", "--config", "/home/o'neil/100% \"$HOME\".toml"}, State: "/srv/iotronic", Reads: []string{"/home/o'neil/100% \"$HOME\".toml"},
		Capabilities: []string{"CAP_NET_ADMIN", "CAP_NET_RAW", "CAP_NET_BIND_SERVICE"}, TUN: true, Reload: true, Files: 65536, Hopeless: []string{"2"},
	}
}

// made is the unit of s for m.
func made(t *testing.T, s unit.Service, m unit.Manager) unit.Unit {
	t.Helper()
	u, err := s.Unit(m)
	if err != nil {
		t.Fatal(err)
	}
	return u
}

func TestUnitsAreAsWritten(t *testing.T) {
	shells := board()
	shells.Name, shells.Shells = "lightning-rod-shells", true
	for _, s := range []unit.Service{board(), cloud(), shells} {
		for _, m := range unit.Managers() {
			u := made(t, s, m)
			path := filepath.Join("testdata", s.Name+"."+string(m))
			if *update {
				if err := os.WriteFile(path, []byte(u.Text), 0o644); err != nil {
					t.Fatal(err)
				}
			}
			want, err := os.ReadFile(path)
			if err != nil {
				t.Fatal(err)
			}
			if u.Text != string(want) {
				t.Errorf("%s differs (go test ./unit -update):\n%s", path, u.Text)
			}
		}
	}
}

// TestScriptsRunTheCommand has a shell read the scripts as the managers do, and
// looks at the arguments that come out of every quoting.
func TestScriptsRunTheCommand(t *testing.T) {
	for _, s := range []unit.Service{board(), cloud()} {
		for m, run := range map[unit.Manager]string{
			unit.OpenRC: `. "$0"; eval show "\"$command\"" $command_args`, // as supervise-daemon.sh does
			unit.Procd:  `procd_open_instance() { :; }; procd_close_instance() { :; }; mkdir() { :; }; procd_set_param() { [ "$1" != command ] || { shift; show "$@"; }; }; . "$0"; start_service`,
		} {
			u := made(t, s, m)
			path := filepath.Join(t.TempDir(), "script")
			if err := os.WriteFile(path, []byte(strings.ReplaceAll(u.Text, "[ -e ", "true || [ -e ")), 0o755); err != nil {
				t.Fatal(err)
			}
			out, err := exec.Command("sh", "-c", `show() { for a; do printf '%s\n' "$a"; done; }; `+run, path).CombinedOutput()
			if got := strings.Split(strings.TrimSuffix(string(out), "\n"), "\n"); err != nil || !slices.Equal(got, s.Command) {
				t.Errorf("%s, %s: %q, %v; want %q\n%s", s.Name, m, got, err, s.Command, u.Text)
			}
		}
	}
}

func TestSystemdTakesTheUnits(t *testing.T) {
	if _, err := exec.LookPath("systemd-analyze"); err != nil {
		t.Skip("this machine has no systemd-analyze")
	}
	program, err := os.Executable() // it must be there to be taken
	if err != nil {
		t.Fatal(err)
	}
	for _, s := range []unit.Service{board(), cloud()} {
		s.Command[0] = program
		u := made(t, s, unit.Systemd)
		path := filepath.Join(t.TempDir(), s.Name+".service")
		if err := os.WriteFile(path, []byte(u.Text), 0o644); err != nil {
			t.Fatal(err)
		}
		out, _ := exec.Command("systemd-analyze", "verify", "--man=no", path).CombinedOutput()
		for line := range strings.Lines(string(out)) { // it speaks of the machine's other units too
			if strings.Contains(line, s.Name) {
				t.Errorf("systemd-analyze: %s", line)
			}
		}
	}
}

func TestAUnitIsWrittenWholeAndRefusedWhenWrong(t *testing.T) {
	root := t.TempDir()
	if _, err := unit.Detect(root); s4t.KindOf(err) != s4t.NotFound {
		t.Errorf("no manager: %v", err)
	}
	for m, sign := range map[unit.Manager]string{unit.Systemd: "run/systemd/system", unit.OpenRC: "run/openrc", unit.Procd: "sbin/procd"} {
		machine := t.TempDir()
		if err := os.MkdirAll(filepath.Join(machine, sign), 0o755); err != nil {
			t.Fatal(err)
		}
		if found, err := unit.Detect(machine); found != m || err != nil {
			t.Errorf("%s: found %q, %v", m, found, err)
		}
		u := made(t, board(), m)
		if err := u.Write(machine); s4t.KindOf(err) != s4t.Unavailable {
			t.Errorf("%s, without its directory: %v", m, err)
		}
		if err := os.MkdirAll(filepath.Dir(filepath.Join(machine, u.Path)), 0o755); err != nil {
			t.Fatal(err)
		}
		for range 2 { // again over the first
			if err := u.Write(machine); err != nil {
				t.Fatal(err)
			}
		}
		st, err := os.Stat(filepath.Join(machine, u.Path))
		if err != nil || st.Mode().Perm() != u.Mode || len(u.Commands()) == 0 {
			t.Errorf("%s: %v, %v", m, st, err)
		}
	}
	for name, spoil := range map[string]func(*unit.Service){
		"a relative program":   func(s *unit.Service) { s.Command = []string{"iotronic"} },
		"a relative directory": func(s *unit.Service) { s.State = "data" },
		"a line break":         func(s *unit.Service) { s.Command = append(s.Command, "a\nExecStart=/bin/sh") },
		"no name":              func(s *unit.Service) { s.Name = "" },
	} {
		s := cloud()
		spoil(&s)
		if _, err := s.Unit(unit.Systemd); s4t.KindOf(err) != s4t.Invalid {
			t.Errorf("%s: %v", name, err)
		}
	}
	if _, err := unit.ParseManager("upstart"); s4t.KindOf(err) != s4t.Invalid {
		t.Errorf("another manager: %v", err)
	}
}
