package main

import (
	"io"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"

	"github.com/stack4things/s4t"
)

func TestTheMinimalConfigurationIsTheDefaults(t *testing.T) {
	cfg := defaults()
	if err := parseConfig("test", []byte(minimal), &cfg); err != nil {
		t.Fatal(err)
	}
	if !reflect.DeepEqual(cfg, defaults()) {
		t.Errorf("it changes something: %+v", cfg)
	}
	if err := cfg.check(); err != nil {
		t.Error(err)
	}
	// And with every key that it shows as a comment.
	var all []string
	for line := range strings.Lines(minimal) {
		if rest, ok := strings.CutPrefix(line, "# "); ok && strings.Contains(rest, " = ") {
			line = rest
		}
		all = append(all, line)
	}
	if err := parseConfig("test", []byte(strings.Join(all, "")), &cfg); err != nil {
		t.Errorf("a key that is shown is not known: %v", err)
	}
}

func TestCheckSaysWhichKeyIsWrongAndWhatToDo(t *testing.T) {
	tests := []struct{ name, toml, says string }{
		{"nothing", ``, ""},
		{"an address of the world", `listen = "0.0.0.0:8812"`, ""},
		{"IPv6", `listen = "[::]:8812"`, ""},
		{"a name", `url = "https://cloud.example.org:8812/"`, ""},
		{"an own database", `database = "postgres://u@h/x"`, ""},
		{"an unknown key", "data = \"x\"\nlisten_on = \"y\"", "line 2: there is no key listen_on"},
		{"an unknown key in a table", "[tls]\ncertificate = \"y\"", "there is no key tls.certificate"},
		{"a wrong type", `listen = 8812`, "line 1"},
		{"no TOML", `listen: x`, "line 1"},
		{"no data", `data = ""`, "data: it is empty"},
		{"no port", `listen = "127.0.0.1"`, "listen: "},
		{"no number", `listen = "127.0.0.1:http"`, "listen: "},
		{"a URL below a path", `url = "https://h/path"`, ""},
		{"a URL with a query", `url = "https://h/path?x=1"`, "url: "},
		{"a URL of another kind", `url = "ftp://h"`, "url: "},
		{"http while TLS is on", `url = "http://h:1"`, "--tls off"},
		{"no role", `role = "boss"`, "there is no role"},
		{"one role alone", `role = "api"`, "needs --queue"},
		{"the conductor alone", `role = "conductor"`, "without the role api it needs --queue"},
		{"an agent alone", `role = "wamp-agent"`, "without the role conductor it needs --queue"},
		{"agents without the API", `role = "conductor,wamp-agent,tunnel-agent"`, "without the role api"},
		{"the API and the conductor", `role = "api,conductor"`, ""},
		{"all but one", `role = "conductor,api,tunnel-agent"`, ""},
		{"a role twice", `role = "api,conductor,api"`, "api is named twice"},
		{"all and more", `role = "all,api"`, `there is no role "all"`},
		{"a queue", `queue = "amqp://h/"`, ""},
		{"a queue and a name", "queue = \"amqp://h/\"\nname = \"a.b\"", ""},
		{"a name that is none", `name = "A b"`, "name: "},
		{"another queue", `queue = "nats://h/"`, "amqps://"},
		{"an agent of several", "role = \"wamp-agent\"\nqueue = \"amqps://h/\"", ""},
		{"an agent with a database", "role = \"wamp-agent\"\nqueue = \"amqps://h/\"\ndatabase = \"postgres://u@h/x\"", "only a conductor"},
		{"a conductor that learns where boards go", "role = \"api,conductor\"\nqueue = \"amqps://h/\"", ""},
		{"a conductor and nowhere for users", "role = \"conductor\"\nqueue = \"amqps://h/\"", "--url"},
		{"a conductor and where boards go", "role = \"api,conductor\"\nqueue = \"amqps://h/\"\nboard_urls = [\"https://a:1\"]", ""},
		{"no URL for boards", `board_urls = ["a:1"]`, "url: "},
		{"no port for the operator", `metrics = "9812"`, "metrics: "},
		{"a zone", `dns_zone = "svc.example.org"`, ""},
		{"a zone on an address", "dns_zone = \"svc.example.org\"\ndns = \"192.0.2.1\"\ndns_servers = [\"ns1.example.org\"]", ""},
		{"a zone that is none", `dns_zone = "svc_1"`, "dns_zone: "},
		{"an address for no zone", `dns = "192.0.2.1"`, "dns_zone: "},
		{"a zone on no address", "dns_zone = \"svc.example.org\"\ndns = \"53\"", "dns: "},
		{"a server in the zone", "dns_zone = \"svc.example.org\"\ndns_servers = [\"a.svc.example.org\"]", "dns_servers: "},
		{"a zone without the API", "role = \"wamp-agent\"\nqueue = \"amqps://h/\"\ndns_zone = \"svc.example.org\"", "add the role api"},
		{"a bad URL of agents", `advertise = "ftp://a"`, "url: "},
		{"a range the wrong way round", `public_ports = "60000-50000"`, "public_ports: "},
		{"a range out of range", `public_ports = "1-65536"`, "public_ports: "},
		{"a range with spaces", `public_ports = "50000 - 60000"`, "public_ports: "},
		{"a range and more", `public_ports = "50000-60000x"`, "public_ports: "},
		{"no range", `public_ports = ""`, "public_ports: "},
		{"one public port", `public_ports = "50000"`, ""},
		{"TLS off at home", "[tls]\nmode = \"off\"", ""},
		{"TLS off on localhost", "listen = \"localhost:80\"\n[tls]\nmode = \"off\"", ""},
		{"TLS off for the world", "listen = \"0.0.0.0:80\"\n[tls]\nmode = \"off\"", "--trusted-proxy"},
		{"TLS off behind a proxy", "listen = \"0.0.0.0:80\"\n[tls]\nmode = \"off\"\ntrusted_proxy = [\"10.0.0.0/8\"]", ""},
		{"a proxy that is no network", "[tls]\nmode = \"off\"\ntrusted_proxy = [\"proxy\"]", "use a CIDR"},
		{"a proxy that encrypts anew", "[tls]\ntrusted_proxy = [\"10.0.0.0/8\"]", ""},
		{"public ports for the world", `public_listen = "0.0.0.0"`, ""},
		{"public ports on a name", `public_listen = "eth0"`, "public_listen: "},
		{"a mode that is none", "[tls]\nmode = \"maybe\"", "use on or off"},
		{"a certificate without a key", "[tls]\ncert = \"x\"", "tls.cert"},
		{"a certificate while TLS is off", "[tls]\nmode = \"off\"\ncert = \"x\"\nkey = \"y\"", "tls.mode"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			path := filepath.Join(t.TempDir(), "c.toml")
			if err := os.WriteFile(path, []byte(tt.toml), 0o600); err != nil {
				t.Fatal(err)
			}
			cfg, err := readConfig(path)
			if err == nil {
				err = cfg.check()
			}
			switch {
			case tt.says == "" && err != nil:
				t.Errorf("refused: %v", err)
			case tt.says != "" && (s4t.KindOf(err) != s4t.Invalid || !strings.Contains(err.Error(), tt.says)):
				t.Errorf("got %v, want %q", err, tt.says)
			}
			if tt.says == "" || cfg.Data == "" { // --data wins over the file
				return
			}
			// serve refuses what --check refuses, before it makes anything.
			data := filepath.Join(t.TempDir(), "data")
			if status := run(t.Context(), []string{"serve", "--config", path, "--data", data}, io.Discard, io.Discard); status != exitUsage {
				t.Errorf("serve: status %d", status)
			}
			if _, err := os.Stat(data); err == nil {
				t.Error("serve made its data directory")
			}
		})
	}
	if _, err := readConfig(filepath.Join(t.TempDir(), "none")); s4t.KindOf(err) != s4t.Invalid {
		t.Errorf("no file: %v", err)
	}
}

func FuzzParseConfig(f *testing.F) {
	f.Add([]byte(minimal))
	f.Add([]byte("listen = \"x\"\n[tls]\nmode = 1"))
	f.Fuzz(func(t *testing.T, text []byte) {
		cfg := defaults()
		if err := parseConfig("test", text, &cfg); err == nil {
			cfg.check()
		} else if strings.Contains(err.Error(), "\n") {
			t.Errorf("an error of more than one line: %v", err)
		}
	})
}
