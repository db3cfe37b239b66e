package main

import (
	"cmp"
	_ "embed"
	"net"
	"net/netip"
	"net/url"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"github.com/stack4things/s4t"
	"github.com/stack4things/s4t/cloud"
	"github.com/stack4things/s4t/internal/tomlfile"
	"github.com/stack4things/s4t/nameserver"
	"github.com/stack4things/s4t/queue/amqp"
)

// config of `iotronic serve`: the file's keys, and the flags of the same names
// over them.
type config struct {
	Data         string    `toml:"data"`          // directory; default ./iotronic-data
	Listen       string    `toml:"listen"`        // ADDR:PORT; default 127.0.0.1:8812
	URL          string    `toml:"url"`           // what others are told; default from Listen
	Role         string    `toml:"role"`          // all (default), or roles with commas between them
	Name         string    `toml:"name"`          // of this process; default with a queue the host's name
	Advertise    string    `toml:"advertise"`     // what boards are told of this process's agents; default URL
	BoardURLs    []string  `toml:"board_urls"`    // of WAMP agents, that boards are told while fewer than two are known; default: those that are
	Database     string    `toml:"database"`      // default SQLite in Data
	Queue        string    `toml:"queue"`         // default in-process
	PublicPorts  string    `toml:"public_ports"`  // FROM-TO; default 50000-60000
	Place        string    `toml:"place"`         // where this process is; boards with this label "place" prefer its agents
	PublicHost   string    `toml:"public_host"`   // host name of public ports; default that of advertise
	PublicListen string    `toml:"public_listen"` // ADDR that public ports bind to; default that of listen
	Metrics      string    `toml:"metrics"`       // ADDR:PORT of the operator's port; default none
	DNSZone      string    `toml:"dns_zone"`      // that services can have names in; default none
	DNS          string    `toml:"dns"`           // ADDR:PORT, or ADDR, that it is served on; default port 53 of the address of listen
	DNSServers   []string  `toml:"dns_servers"`   // names that the parent zone delegates it to; default the host of url, or ns.ZONE
	Traces       string    `toml:"traces"`        // URL of an OTLP receiver; default none
	LogLevel     string    `toml:"log_level"`     // debug, info (default), warn or error
	TLS          tlsConfig `toml:"tls"`
}

// tlsConfig says who ends TLS and with what certificate.
type tlsConfig struct {
	Mode         string   `toml:"mode"`          // on (default) or off: a reverse proxy ends TLS
	Cert         string   `toml:"cert"`          // PEM file, leaf first; default: issued by our own CA
	Key          string   `toml:"key"`           // PEM file
	CA           string   `toml:"ca"`            // PEM file of the CA that signed Cert; default: the system's roots know it
	NextCA       string   `toml:"next_ca"`       // announced beside the present one: PEM file, "own" or "system"
	CutOffBoards int      `toml:"-"`             // --cut-off-boards: for one start, not for every one
	TrustedProxy []string `toml:"trusted_proxy"` // CIDRs whose X-Forwarded-For is believed; with mode off, peers from elsewhere are refused
}

// defaults of every key.
func defaults() config {
	return config{
		Data:        "iotronic-data",
		Listen:      "127.0.0.1:8812",
		Role:        "all",
		PublicPorts: "50000-60000",
		LogLevel:    "info",
		TLS:         tlsConfig{Mode: "on"},
	}
}

// minimal is a commented minimal configuration.
//
//go:embed config.toml
var minimal string

// readConfig reads a file over the defaults. An unknown key is an error.
func readConfig(path string) (config, error) {
	cfg := defaults()
	op := "read the configuration " + path
	text, err := os.ReadFile(path)
	if err != nil {
		return cfg, s4t.Errorf(s4t.Invalid, op, "`iotronic config` prints one to start from", "%w", err)
	}
	return cfg, parseConfig(op, text, &cfg)
}

func parseConfig(op string, text []byte, cfg *config) error {
	return tomlfile.Decode(op, "`iotronic config` prints all keys", text, cfg)
}

// check says what is wrong with a configuration before anything is made.
func (c config) check() error {
	_, err := c.cloud()
	return err
}

// bad is what is wrong with a key.
func bad(key, hint, format string, args ...any) error {
	return s4t.Errorf(s4t.Invalid, "check the configuration", hint, key+": "+format, args...)
}

// cloud is what a configuration asks for: the only reader of its texts.
func (c config) cloud() (cloud.Config, error) {
	cfg := cloud.Config{Data: c.Data, Listen: c.Listen, URL: c.URL, Database: c.database()}
	if _, err := parseLevel(c.LogLevel); err != nil {
		return cfg, bad("log_level", "use debug, info, warn or error", "there is no level %q", c.LogLevel)
	}
	if c.Data == "" {
		return cfg, bad("data", "name a directory", "it is empty")
	}
	host, port, err := net.SplitHostPort(c.Listen)
	if err != nil {
		return cfg, bad("listen", "use ADDR:PORT, like 0.0.0.0:8812", "%q is not an address and a port", c.Listen)
	}
	if n, err := strconv.Atoi(port); err != nil || n < 0 || n > 65535 {
		return cfg, bad("listen", "use a port from 1 to 65535", "%q has no such port", c.Listen)
	}
	for _, u := range append([]string{c.URL, c.Advertise}, c.BoardURLs...) {
		if err := c.checkURL(u); err != nil {
			return cfg, err
		}
	}
	if cfg.PublicPorts, err = s4t.ParsePortRange(c.PublicPorts); err != nil || cfg.PublicPorts.Len() == 0 {
		return cfg, bad("public_ports", "use FROM-TO, like 50000-60000", "%q is not a range of ports", c.PublicPorts)
	}
	if cfg.PublicHost = c.PublicHost; c.PublicHost != "" && !publicHost.MatchString(c.PublicHost) {
		return cfg, bad("public_host", "use a DNS name or an address of the tunnel agent's host", "%q is none", c.PublicHost)
	}
	if c.PublicListen != "" {
		ip, err := netip.ParseAddr(c.PublicListen)
		if err != nil || ip.Zone() != "" {
			return cfg, bad("public_listen", "use an address of this machine, or 0.0.0.0 for all", "%q is not one", c.PublicListen)
		}
		cfg.PublicListen = ip.String()
	}
	if c.Metrics != "" {
		if _, port, err := net.SplitHostPort(c.Metrics); err != nil || port == "" {
			return cfg, bad("metrics", "use ADDR:PORT, like 127.0.0.1:9812", "%q is not an address and a port", c.Metrics)
		}
		cfg.MetricsListen = c.Metrics
	}
	if c.Traces != "" {
		u, err := url.Parse(c.Traces)
		if err != nil || u.Scheme != "https" && u.Scheme != "http" || u.Hostname() == "" || u.User != nil {
			return cfg, bad("traces", "use the URL of an OTLP receiver, like http://127.0.0.1:4318/v1/traces", "%q is not one", c.Traces)
		}
		cfg.Traces = c.Traces
	}
	if err := c.zone(&cfg, host); err != nil {
		return cfg, err
	}
	if c.Place != "" {
		if err := s4t.ValidName("place", c.Place); err != nil {
			return cfg, bad("place", "use letters, digits, dots and dashes", "%w", err)
		}
		cfg.Place = c.Place
	}
	if err := c.processes(&cfg); err != nil {
		return cfg, err
	}
	cfg.TLS, err = c.TLS.cloud(host, c.Listen)
	return cfg, err
}

// zone is what a configuration says of the zone that services have names in, where host is
// listened on.
func (c config) zone(cfg *cloud.Config, host string) (err error) {
	if c.DNSZone == "" {
		if c.DNS != "" || len(c.DNSServers) > 0 {
			return bad("dns_zone", "name the zone, like svc.example.org", "it is empty, and dns or dns_servers is given")
		}
		return nil
	}
	if cfg.DNSZone, err = nameserver.CheckZone(c.DNSZone); err != nil {
		return bad("dns_zone", "", "%w", err)
	}
	if err := nameserver.CheckServers(cfg.DNSZone, c.DNSServers); err != nil {
		return bad("dns_servers", "", "%w", err)
	}
	cfg.DNSServers, cfg.DNSListen = c.DNSServers, c.DNS
	if _, err := netip.ParseAddr(c.DNS); err == nil || c.DNS == "" {
		cfg.DNSListen = net.JoinHostPort(cmp.Or(c.DNS, host), "53")
	}
	_, port, err := net.SplitHostPort(cfg.DNSListen)
	if n, err2 := strconv.Atoi(port); err != nil || err2 != nil || n < 0 || n > 65535 {
		return bad("dns", "use an address of this machine, or ADDR:PORT", "%q is not one", c.DNS)
	}
	return nil
}

// checkURL says what is wrong with a URL that others are told; none is right.
func (c config) checkURL(text string) error {
	if text == "" {
		return nil
	}
	u, err := url.Parse(text)
	if err != nil || u.Scheme != "https" && u.Scheme != "http" || u.Hostname() == "" || u.Fragment != "" || u.RawQuery != "" || u.User != nil {
		return bad("url", "use https://NAME:PORT", "%q is not the URL of a server", text)
	}
	if !belowPath.MatchString(u.EscapedPath()) {
		return bad("url", "use https://NAME:PORT/PATH with letters, digits, '.', '_' and '-' in the path", "%q has another path", text)
	}
	if u.Scheme == "http" && c.TLS.Mode != "off" {
		return bad("url", "use https://, or --tls off", "%q is http, and TLS is on", text)
	}
	return nil
}

// belowPath is where a reverse proxy may have put the cloud.
var belowPath = regexp.MustCompile(`^(/[A-Za-z0-9_-][A-Za-z0-9._-]{0,62}){0,8}/?$`)

// publicHost is a DNS name or an IPv4 address.
var publicHost = regexp.MustCompile(`^[A-Za-z0-9]([A-Za-z0-9.-]{0,251}[A-Za-z0-9])?$`)

// names are what a process may be called.
var names = regexp.MustCompile(`^[a-z0-9]([a-z0-9.-]{0,61}[a-z0-9])?$`)

// processes is what a configuration says of this process among others.
func (c config) processes(cfg *cloud.Config) (err error) {
	if cfg.Roles, err = cloud.ParseRoles(c.Role); err != nil {
		return bad("role", "", "%w", err)
	}
	has := func(r cloud.Role) bool { return slices.Contains(cfg.Roles, r) }
	cfg.QueueURL, cfg.Advertise, cfg.BoardURLs, cfg.Name = c.Queue, c.Advertise, c.BoardURLs, c.Name
	if c.Queue == "" {
		if err := cloud.CheckAlone(cfg.Roles); err != nil {
			return bad("role", "", "%w", err)
		}
	} else if err := amqp.Check(c.Queue); err != nil {
		return bad("queue", "", "%w", err)
	}
	if cfg.Name == "" && c.Queue != "" {
		host, err := os.Hostname()
		if cfg.Name = strings.ToLower(host); err != nil || !names.MatchString(cfg.Name) {
			return bad("name", "give this process a name of its own with --name", "this host's name, %q, cannot be one", s4t.Line(host, 80))
		}
	}
	if cfg.Name != "" && !names.MatchString(cfg.Name) {
		return bad("name", "use up to 63 of a-z, 0-9, - and .", "%q is not a name", cfg.Name)
	}
	if cfg.Name != "" {
		cfg.WAMPAgent, cfg.TunnelAgent = s4t.AgentID(string(cloud.WAMPAgent)+"-"+cfg.Name), s4t.AgentID(string(cloud.TunnelAgent)+"-"+cfg.Name)
	}
	if len(cfg.Roles) == 1 && has(cloud.Conductor) && c.URL == "" && len(c.BoardURLs) == 0 {
		return bad("url", "say with --url where the API is", "this process has no port, and users need to be told where to go")
	}
	if !has(cloud.API) && cfg.DNSZone != "" {
		return bad("dns_zone", "leave it out, or add the role api", "the zone is served by the processes with the API")
	}
	if !has(cloud.Conductor) {
		if c.Database != "" {
			return bad("database", "leave it out, or add the role conductor", "only a conductor has a database")
		}
		cfg.Data, cfg.Database = "", "" // a conductor has the CA, too
	}
	return nil
}

// cloud is what the keys of a table tls ask for, where host is listened on.
func (t tlsConfig) cloud(host, listen string) (cloud.TLS, error) {
	cfg := cloud.TLS{Off: t.Mode == "off", Cert: t.Cert, Key: t.Key, CA: t.CA, NextCA: t.NextCA, CutOffBoards: t.CutOffBoards}
	switch t.Mode {
	case "on":
	case "off":
		if t.Cert != "" || t.Key != "" || t.CA != "" {
			return cfg, bad("tls.mode", "leave out the certificate, or use --tls on", "there is a certificate, and TLS is off")
		}
		if ip, err := netip.ParseAddr(host); host != "localhost" && (err != nil || !ip.IsLoopback()) && len(t.TrustedProxy) == 0 {
			return cfg, bad("tls.mode", "listen on 127.0.0.1, or name the reverse proxy with --trusted-proxy CIDR", "plain HTTP on %s would show tokens to the network", listen)
		}
	default:
		return cfg, bad("tls.mode", "use on or off", "it is %q", t.Mode)
	}
	if (t.Cert == "") != (t.Key == "") || t.CA != "" && t.Cert == "" {
		return cfg, bad("tls.cert", "give tls.cert and tls.key (and tls.ca where it is your own CA), or none", "a certificate and its key belong together")
	}
	for _, p := range t.TrustedProxy {
		prefix, err := netip.ParsePrefix(p)
		if err != nil {
			return cfg, bad("tls.trusted_proxy", "use a CIDR, like 10.0.0.0/8 or 10.1.2.3/32", "%q is not one", p)
		}
		cfg.TrustedProxy = append(cfg.TrustedProxy, prefix.Masked())
	}
	return cfg, nil
}

// database is the URL of the database.
func (c config) database() string {
	if c.Database != "" {
		return c.Database
	}
	return "sqlite:" + filepath.Join(c.Data, databaseFile)
}
