package main

import (
	"bytes"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/stack4things/s4t"
)

// configured reads a command line over a configuration file.
func configured(t *testing.T, text string, args ...string) (options, error) {
	t.Helper()
	file := filepath.Join(t.TempDir(), "lightning-rod.toml")
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	var o options
	flags := flagSet(&o)
	if err := flags.Parse(append(args, "--config", file)); err != nil {
		t.Fatal(err)
	}
	return o, o.configure(flags)
}

func TestFlagsWinOverTheConfigurationFile(t *testing.T) {
	secret := filepath.Join(t.TempDir(), "proxy")
	os.WriteFile(secret, []byte("http://maria:pass@proxy:3128\n"), 0o600)
	text := "allow_targets = [\"192.168.1.0/24\"]\nallow_bridges = [\"eth1\", \"eth2\"]\nsource_per_user = \"on\"\nproxy_file = '" + secret + "'\nio = \"/mnt/io\"\nio_config = \"/etc/io.toml\"\nplugin_keys = [\"k1\"]\nallow_plugin_network = true\n"
	o, err := configured(t, text)
	if err != nil || !slices.Equal(o.allow, []string{"192.168.1.0/24"}) || !slices.Equal(o.bridges, []string{"eth1", "eth2"}) || o.perUser != "on" || o.proxy != "http://maria:pass@proxy:3128" || o.ioDir() != "/mnt/io" || o.ioConfig != "/etc/io.toml" || !slices.Equal(o.pluginKeys, []string{"k1"}) || !o.pluginNetwork {
		t.Errorf("%+v, %v", o, err)
	}
	o, err = configured(t, text, "--allow-target", "10.0.0.0/8", "--allow-bridge", "eth3", "--source-per-user", "off", "--proxy", "http://other:3128", "--io", "none", "--io-config", "x", "--plugin-key", "k2", "--allow-plugin-network=false")
	if err != nil || !slices.Equal(o.allow, []string{"10.0.0.0/8"}) || !slices.Equal(o.bridges, []string{"eth3"}) || o.perUser != "off" || o.proxy != "http://other:3128" || o.ioDir() != "" || o.ioConfig != "x" || !slices.Equal(o.pluginKeys, []string{"k2"}) || o.pluginNetwork {
		t.Errorf("%+v, %v", o, err)
	}
}

func TestAConfigurationThatIsWrongIsNotTaken(t *testing.T) {
	for text, says := range map[string]string{
		"allow_target = []":           "allow_target",
		"source_per_user = \"maybe\"": "maybe",
		"proxy_file = \"/none\"":      "/none",
		"allow_targets = 3":           "line 1",
		"a = \"\x1b[31m\"":            "line 1",
	} {
		if _, err := configured(t, text); err == nil || !strings.Contains(err.Error(), says) || strings.ContainsRune(err.Error(), '\x1b') {
			t.Errorf("%q: %v", text, err)
		}
	}
	var errs bytes.Buffer
	if status := run(t.Context(), []string{"run", "--config", "/none/such.toml", "--state", t.TempDir()}, &errs, &errs); status != exitUsage || !strings.Contains(errs.String(), "/none/such.toml") {
		t.Errorf("a file that is not there: %d, %s", status, errs.String())
	}
}

func FuzzReadConfig(f *testing.F) {
	f.Add([]byte("allow_targets = [\"192.168.1.0/24\"]\nallow_bridges = [\"eth1\"]\nsource_per_user = \"on\"\nproxy_file = \"/etc/lightning-rod/proxy\"\n"))
	f.Add([]byte("allow_target = []"))
	f.Add([]byte("[a.b]\nc = 1"))
	dir := f.TempDir()
	f.Fuzz(func(t *testing.T, text []byte) {
		file := filepath.Join(dir, "c.toml")
		if os.WriteFile(file, text, 0o600) != nil {
			t.Skip()
		}
		if _, err := readConfig(file, true); err != nil && (s4t.KindOf(err) != s4t.Invalid || strings.Contains(err.Error(), "\n")) {
			t.Errorf("%v", err)
		}
	})
}
