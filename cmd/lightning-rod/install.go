package main

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"slices"

	"github.com/stack4things/s4t"
	"github.com/stack4things/s4t/lightningrod"
	"github.com/stack4things/s4t/plugin/bundle"
	"github.com/stack4things/s4t/unit"
)

// install writes the unit that has this machine run lightning-rod with the flags
// given.
func install(ctx context.Context, o options) error {
	manager, err := o.serviceManager()
	if err != nil {
		return err
	}
	service, err := o.service(manager)
	if err != nil {
		return err
	}
	u, err := service.Unit(manager)
	if err != nil {
		return err
	}
	if o.print {
		_, err := fmt.Fprint(o.stdout, u.Text)
		return err
	}
	if err := u.Write("/"); err != nil {
		return err
	}
	fmt.Fprintf(o.stdout, "wrote %s\n", u.Path)
	if _, err := os.Stat(service.Needs); err != nil {
		fmt.Fprintf(o.stderr, "this board has not joined yet: `lightning-rod join JOIN-STRING --no-run --state %s` first\n", service.State)
	}
	if manager == unit.Systemd && !service.Mounts {
		fmt.Fprintln(o.stderr, "the unit keeps it from mounting: the pins are not there as files; `lightning-rod install --io "+lightningrod.DefaultIO+"` makes one that may")
	}
	if o.start {
		return u.Start(ctx)
	}
	for _, c := range u.Commands() {
		fmt.Fprintf(o.stdout, "to start it: %s\n", c)
	}
	return nil
}

// serviceManager is the one that was named, or that runs here.
func (o options) serviceManager() (unit.Manager, error) {
	if o.manager != "" {
		return unit.ParseManager(o.manager)
	}
	return unit.Detect("/")
}

// service is lightning-rod with the flags that were given.
func (o options) service(manager unit.Manager) (unit.Service, error) {
	if _, err := o.allowed(); err != nil { // a service that does not start is of no use
		return unit.Service{}, err
	}
	if _, err := o.guests(); err != nil {
		return unit.Service{}, err
	}
	if err := o.mayTerminal(); err != nil && s4t.KindOf(err) != s4t.Forbidden { // the service may more than who writes its unit
		return unit.Service{}, err
	}
	self, err := os.Executable()
	if err != nil {
		return unit.Service{}, s4t.Errorf(s4t.Internal, "find this program", "", "%w", err)
	}
	absolute := func(path string) string {
		abs, aerr := filepath.Abs(path)
		if aerr != nil {
			err = s4t.Errorf(s4t.Invalid, "find "+path, "give its absolute path", "%w", aerr)
		}
		return abs
	}
	given := func(flag string) bool { return slices.Contains(o.given, flag) }
	s := unit.Service{
		Name: "lightning-rod", Description: "Stack4Things board (lightning-rod)", Command: []string{self, "run"},
		State: manager.StateDir("lightning-rod"), Capabilities: []string{"CAP_NET_ADMIN"}, TUN: true, Guests: true, Devices: []string{"char-gpiochip", "char-iio"}, Hopeless: []string{"2", "3"},
	}
	if given("state") {
		s.State = absolute(o.state)
	}
	s.Needs = filepath.Join(s.State, lightningrod.IdentityFile)
	add := func(flag, value string) { s.Command = append(s.Command, "--"+flag, value) }
	if s.State != lightningrod.DefaultState {
		add("state", s.State)
	}
	for _, f := range []struct{ flag, path string }{{"config", o.config}, {"proxy-file", o.proxyFile}, {"io-config", o.ioConfig}, {"commands", o.commands}} {
		if given(f.flag) {
			path := absolute(f.path)
			add(f.flag, path)
			s.Reads = append(s.Reads, path)
		}
	}
	if given("allow-target") {
		for _, t := range o.allow {
			add("allow-target", t)
		}
	}
	if given("allow-bridge") {
		for _, b := range o.bridges {
			add("allow-bridge", b)
		}
	}
	if given("plugin-key") {
		for _, k := range o.pluginKeys {
			if _, err := bundle.ParsePublicKey(k); err != nil {
				k = absolute(k)
				s.Reads = append(s.Reads, k)
			}
			add("plugin-key", k)
		}
	}
	if given("allow-plugin-network") && o.pluginNetwork {
		s.Command = append(s.Command, "--allow-plugin-network")
	}
	if given("allow-terminal") {
		add("allow-terminal", o.terminal)
	}
	s.Shells = o.terminal != ""
	if given("source-per-user") {
		add("source-per-user", o.perUser)
	}
	if given("io") {
		if o.io != noIO {
			o.io = absolute(o.io)
			s.Mounts, s.Capabilities, s.Devices = true, append(s.Capabilities, "CAP_SYS_ADMIN"), append(s.Devices, "/dev/fuse")
		}
		add("io", o.io)
	}
	if o.verbose {
		s.Command = append(s.Command, "--verbose")
	}
	return s, err
}
