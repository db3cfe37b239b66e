// Package unit writes what the service manager of a machine needs to run one of
// our programs as a service: a systemd unit, an OpenRC script or a procd script.
// `lightning-rod install` and `iotronic install` say what is to run; how each
// manager is told so, and what it should take away from the program, is here.
package unit

import (
	"context"
	"errors"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"unicode"

	"github.com/stack4things/s4t"
)

// Manager is a service manager.
type Manager string

// The managers that units are written for.
const (
	Systemd Manager = "systemd"
	OpenRC  Manager = "openrc"
	Procd   Manager = "procd" // OpenWrt
)

// Managers are all of them.
func Managers() []Manager { return []Manager{Systemd, OpenRC, Procd} }

// ParseManager reads the name of one.
func ParseManager(name string) (Manager, error) {
	for _, m := range Managers() {
		if string(m) == name {
			return m, nil
		}
	}
	return "", s4t.Errorf(s4t.Invalid, "choose a service manager", "use systemd, openrc or procd", "there is none named %q", name)
}

// Detect finds the manager that runs under the directory root, "/" but for
// tests.
func Detect(root string) (Manager, error) {
	for _, sign := range []struct {
		path string
		is   Manager
	}{
		{"run/systemd/system", Systemd}, // sd_booted(3)
		{"sbin/procd", Procd},
		{"run/openrc", OpenRC},
	} {
		if _, err := os.Stat(filepath.Join(root, sign.path)); err == nil {
			return sign.is, nil
		}
	}
	return "", s4t.Errorf(s4t.NotFound, "find the service manager", "name one with --manager, or start the program with what this machine has",
		"neither systemd nor OpenRC nor procd runs here")
}

// StateDir is where a service keeps what must survive a restart: under /var/lib,
// but on OpenWrt, where /var is in memory.
func (m Manager) StateDir(name string) string {
	if m == Procd {
		return "/etc/" + name
	}
	return "/var/lib/" + name
}

// Service is what is to run.
type Service struct {
	Name        string   // required: of the unit, and of its directory under StateDir
	Description string   // required: one line
	Command     []string // required: the program's absolute path, and its arguments

	// State is the directory that the service writes to, absolute. Required. All
	// else is read-only where the manager can do that.
	State string

	Needs        string   // optional: a path without which the service is not started
	Writes       []string // optional: other directories that it writes to, absolute
	Reads        []string // optional: files that it reads and that may be under /home, absolute
	Capabilities []string // optional: that it keeps, like CAP_NET_ADMIN; none: none
	TUN          bool     // it makes TUN and TAP devices
	Devices      []string // optional: other devices that it opens, as DeviceAllow= of systemd.resource-control(5) names them
	Mounts       bool     // it mounts file systems that others see: it cannot have a mount namespace of its own
	Guests       bool     // it runs code of others, and gives it a user, a cgroup and namespaces of its own, as root
	Shells       bool     // it begins shells of users, which are to be as they are elsewhere on the machine: nothing is taken away from it
	Reload       bool     // SIGHUP has it read its configuration again
	Files        int      // optional: descriptors that it may have open; default what the manager gives
	Hopeless     []string // optional: exit statuses after which trying again does not help
}

// Unit is the file of a service for one manager.
type Unit struct {
	Path     string // where the manager looks for it
	Mode     fs.FileMode
	Text     string
	commands [][]string // that have it run, now and after a boot
}

// Unit writes the service down for a manager.
func (s Service) Unit(m Manager) (Unit, error) {
	if err := s.check(); err != nil {
		return Unit{}, err
	}
	switch m {
	case Systemd:
		return Unit{
			Path: "/etc/systemd/system/" + s.Name + ".service", Mode: 0o644, Text: s.systemd(),
			commands: [][]string{{"systemctl", "daemon-reload"}, {"systemctl", "enable", s.Name}, {"systemctl", "restart", s.Name}},
		}, nil
	case OpenRC:
		return Unit{
			Path: "/etc/init.d/" + s.Name, Mode: 0o755, Text: s.openRC(),
			commands: [][]string{{"rc-update", "add", s.Name, "default"}, {"rc-service", s.Name, "restart"}},
		}, nil
	case Procd:
		return Unit{
			Path: "/etc/init.d/" + s.Name, Mode: 0o755, Text: s.procd(),
			commands: [][]string{{"/etc/init.d/" + s.Name, "enable"}, {"/etc/init.d/" + s.Name, "restart"}},
		}, nil
	}
	return Unit{}, s4t.Errorf(s4t.Invalid, "write the unit of "+s.Name, "use systemd, openrc or procd", "there is no manager %q", string(m))
}

// check refuses what no manager could run, and text that would end a line.
func (s Service) check() error {
	op := "write the unit of " + s.Name
	bad := func(format string, args ...any) error { return s4t.Errorf(s4t.Invalid, op, "", format, args...) }
	if err := s4t.ValidName("unit", s.Name); err != nil {
		return err
	}
	if len(s.Command) == 0 || !filepath.IsAbs(s.Command[0]) {
		return bad("the program needs its absolute path")
	}
	paths := append([]string{s.State}, append(s.Writes, s.Reads...)...)
	if s.Needs != "" {
		paths = append(paths, s.Needs)
	}
	for _, p := range paths {
		if !filepath.IsAbs(p) {
			return bad("%q is not an absolute path", p)
		}
	}
	for _, text := range append(append(paths, s.Description), s.Command...) {
		if strings.ContainsFunc(text, unicode.IsControl) {
			return bad("%q has characters that do not print", text)
		}
	}
	return nil
}

// Write replaces the unit's file, under the directory root, "/" but for tests.
func (u Unit) Write(root string) error {
	path := filepath.Join(root, u.Path)
	fail := func(err error) error {
		hint := "check the directory; --print shows the unit, to be put where it belongs by hand"
		if errors.Is(err, fs.ErrPermission) {
			hint = "run this as root; --print shows the unit"
		}
		return s4t.Errorf(s4t.Unavailable, "write "+path, hint, "%w", err)
	}
	f, err := os.CreateTemp(filepath.Dir(path), "."+filepath.Base(path)+".*")
	if err != nil {
		return fail(err)
	}
	defer os.Remove(f.Name()) // there is nothing to remove after the rename
	_, err = f.WriteString(u.Text)
	if err == nil {
		err = f.Chmod(u.Mode)
	}
	if err == nil {
		err = f.Sync()
	}
	if cerr := f.Close(); err == nil {
		err = cerr
	}
	if err == nil {
		err = os.Rename(f.Name(), path)
	}
	if err != nil {
		return fail(err)
	}
	return nil
}

// Commands are those that [Unit.Start] runs, as a person would type them.
func (u Unit) Commands() []string {
	var lines []string
	for _, c := range u.commands {
		lines = append(lines, strings.Join(c, " "))
	}
	return lines
}

// Start has the manager run the unit now, and after each boot. A service that
// runs already is started anew.
func (u Unit) Start(ctx context.Context) error {
	for _, c := range u.commands {
		out, err := exec.CommandContext(ctx, c[0], c[1:]...).CombinedOutput()
		if err != nil {
			return s4t.Errorf(s4t.Unavailable, "run "+strings.Join(c, " "), "the unit is at "+u.Path, "%w: %s", err, s4t.Line(string(out), 300))
		}
	}
	return nil
}
