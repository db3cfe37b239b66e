package main

import (
	"errors"
	"io"
	"io/fs"
	"os"
	"strings"

	"github.com/spf13/pflag"

	"github.com/stack4things/s4t"
	"github.com/stack4things/s4t/internal/tomlfile"
	"github.com/stack4things/s4t/lightningrod"
)

// defaultConfig is read where it is there.
const defaultConfig = "/etc/lightning-rod/lightning-rod.toml"

// config is what the file may say: the flags of the same names, for a board
// whose service is started by something that should not be edited.
type config struct {
	AllowTargets  []string `toml:"allow_targets"`   // --allow-target
	AllowBridges  []string `toml:"allow_bridges"`   // --allow-bridge
	AllowTerminal string   `toml:"allow_terminal"`  // --allow-terminal
	SourcePerUser string   `toml:"source_per_user"` // --source-per-user
	ProxyFile     string   `toml:"proxy_file"`      // --proxy-file
	IO            string   `toml:"io"`              // --io
	IOConfig      string   `toml:"io_config"`       // --io-config
	PluginKeys    []string `toml:"plugin_keys"`     // --plugin-key

	AllowPluginNetwork bool   `toml:"allow_plugin_network"` // --allow-plugin-network
	Commands           string `toml:"commands"`             // --commands
}

// readConfig reads a file. The default one need not be there.
func readConfig(path string, named bool) (cfg config, err error) {
	op := "read the configuration " + path
	const hint = "its keys are allow_targets, allow_bridges, allow_terminal, source_per_user, proxy_file, io, io_config, plugin_keys, allow_plugin_network and commands"
	text, err := readBounded(path, tomlfile.MaxFile)
	if errors.Is(err, fs.ErrNotExist) && !named {
		return cfg, nil
	}
	if err != nil {
		return cfg, s4t.Errorf(s4t.Invalid, op, "name a file that can be read with --config", "%w", err)
	}
	return cfg, tomlfile.Decode(op, hint, text, &cfg)
}

// configure fills what no flag says from the configuration file.
func (o *options) configure(flags *pflag.FlagSet) error {
	cfg, err := readConfig(o.config, flags.Changed("config"))
	if err != nil {
		return err
	}
	if !flags.Changed("allow-target") {
		o.allow = cfg.AllowTargets
	}
	if !flags.Changed("allow-bridge") {
		o.bridges = cfg.AllowBridges
	}
	if !flags.Changed("allow-terminal") {
		o.terminal = cfg.AllowTerminal
	}
	if !flags.Changed("source-per-user") {
		o.perUser = cfg.SourcePerUser
	}
	if !flags.Changed("proxy-file") && !flags.Changed("proxy") {
		o.proxyFile = cfg.ProxyFile
	}
	if !flags.Changed("io") && cfg.IO != "" {
		o.io = cfg.IO
	}
	if !flags.Changed("io-config") {
		o.ioConfig = cfg.IOConfig
	}
	if !flags.Changed("plugin-key") {
		o.pluginKeys = cfg.PluginKeys
	}
	if !flags.Changed("commands") && cfg.Commands != "" {
		o.commands = cfg.Commands
	}
	if !flags.Changed("allow-plugin-network") {
		o.pluginNetwork = cfg.AllowPluginNetwork
	}
	if o.perUser != "" && o.perUser != "on" && o.perUser != "off" {
		return usagef("--source-per-user is on or off, not %q", o.perUser)
	}
	if o.proxyFile == "" {
		return nil
	}
	if flags.Changed("proxy") {
		return usagef("--proxy and --proxy-file say the same; give one")
	}
	text, err := readBounded(o.proxyFile, maxProxy)
	if o.runProxy = strings.TrimSpace(string(text)); err == nil && o.runProxy == "" {
		err = errors.New("it is empty")
	}
	if err != nil {
		return s4t.Errorf(s4t.Invalid, "read --proxy-file "+o.proxyFile, "name a file that holds http://USER:PASSWORD@HOST:PORT", "%w", err)
	}
	o.proxy = o.runProxy
	return nil
}

// maxProxy bounds the file of --proxy-file, in bytes.
const maxProxy = 4096

// readBounded reads a file of at most n bytes.
func readBounded(path string, n int64) ([]byte, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	b, err := io.ReadAll(io.LimitReader(f, n+1))
	if err == nil && int64(len(b)) > n {
		err = errors.New("it is too long")
	}
	return b, err
}

// perUser is what --source-per-user says.
func perUser(text string) lightningrod.SourcePerUser {
	switch text {
	case "on":
		return lightningrod.SourceAlways
	case "off":
		return lightningrod.SourceNever
	}
	return lightningrod.SourceForSSH
}
