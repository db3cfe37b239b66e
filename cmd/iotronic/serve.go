package main

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"os"
	"os/signal"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"syscall"

	"github.com/spf13/cobra"

	"github.com/stack4things/s4t"
	"github.com/stack4things/s4t/cloud"
	"github.com/stack4things/s4t/identity"
	"github.com/stack4things/s4t/wire"
)

func newServeCommand() *cobra.Command {
	var file string
	def := defaults()
	flags := def
	c := &cobra.Command{
		Use:   "serve",
		Short: "Run the cloud until SIGTERM",
		Long: "Run the cloud until SIGTERM. When everything is up, one line `ready URL` is printed on standard output;\n" +
			"the log goes to standard error. The first start makes DIR/ca.pem, the project default, and the user admin\n" +
			"with the context DIR/admin.toml for s4t.\n\n" +
			"With --queue it is one of several processes: see docs/operators.md. Only those with the role conductor have a\n" +
			"database and a data directory.\n\n" +
			"SIGHUP has it read the configuration and the certificates again: the keys of [tls] but tls.mode and\n" +
			"tls.trusted_proxy, and log_level. Sessions go on. The log says what needs a restart.",
		Example: "  iotronic serve\n" +
			"  iotronic serve --data /var/lib/iotronic --listen 0.0.0.0:8812 --url https://cloud.example.org:8812\n" +
			"  iotronic serve --role wamp-agent --name a --queue amqps://mq.example.org/ --listen 0.0.0.0:8812 --url https://a.example.org:8812\n" +
			"  s4t --context-file iotronic-data/admin.toml board list",
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			read := func() (config, error) {
				cfg := def
				if file != "" {
					var err error
					if cfg, err = readConfig(file); err != nil {
						return cfg, err
					}
				}
				set := func(flag string, to *string, value string) {
					if cmd.Flags().Changed(flag) {
						*to = value
					}
				}
				set("data", &cfg.Data, flags.Data)
				set("listen", &cfg.Listen, flags.Listen)
				set("url", &cfg.URL, flags.URL)
				set("role", &cfg.Role, flags.Role)
				set("name", &cfg.Name, flags.Name)
				set("advertise", &cfg.Advertise, flags.Advertise)
				if cmd.Flags().Changed("board-url") {
					cfg.BoardURLs = flags.BoardURLs
				}
				set("database", &cfg.Database, flags.Database)
				set("queue", &cfg.Queue, flags.Queue)
				set("public-ports", &cfg.PublicPorts, flags.PublicPorts)
				set("public-host", &cfg.PublicHost, flags.PublicHost)
				set("public-listen", &cfg.PublicListen, flags.PublicListen)
				set("place", &cfg.Place, flags.Place)
				set("tls", &cfg.TLS.Mode, flags.TLS.Mode)
				set("metrics", &cfg.Metrics, flags.Metrics)
				set("dns-zone", &cfg.DNSZone, flags.DNSZone)
				set("dns", &cfg.DNS, flags.DNS)
				if cmd.Flags().Changed("dns-server") {
					cfg.DNSServers = flags.DNSServers
				}
				set("traces", &cfg.Traces, flags.Traces)
				set("log-level", &cfg.LogLevel, flags.LogLevel)
				if cmd.Flags().Changed("trusted-proxy") {
					cfg.TLS.TrustedProxy = flags.TLS.TrustedProxy
				}
				cfg.TLS.CutOffBoards = flags.TLS.CutOffBoards
				return cfg, cfg.check()
			}
			cfg, err := read()
			if err != nil {
				return err
			}
			var level slog.LevelVar
			hup := make(chan os.Signal, 1)
			signal.Notify(hup, syscall.SIGHUP)
			defer signal.Stop(hup)
			return serve(cmd.Context(), cfg, cmd.OutOrStdout(), newLog(cmd.ErrOrStderr(), &level), &reloading{signal: hup, read: read, level: &level})
		},
	}
	f := c.Flags()
	f.StringVar(&file, "config", "", "read `FILE` (see iotronic config); flags win over it")
	f.StringVar(&flags.Data, "data", def.Data, "data directory `DIR`")
	f.StringVar(&flags.Listen, "listen", def.Listen, "`ADDR:PORT` of the one HTTPS port; public ports bind to ADDR too")
	f.StringVar(&flags.URL, "url", "", "what others are told: https://NAME:PORT, or https://NAME/PATH behind a reverse proxy (default: made from --listen)")
	f.StringVar(&flags.Role, "role", def.Role, "`ROLES` of this process: all, or some of api, conductor, wamp-agent and tunnel-agent with commas between them")
	f.StringVar(&flags.Name, "name", "", "`NAME` of this process, which no other with the same role has (default with --queue: the host's)")
	f.StringVar(&flags.Advertise, "advertise", "", "`URL` that boards reach the agents of this process at (default: --url)")
	f.StringArrayVar(&flags.BoardURLs, "board-url", nil, "`URL` of a WAMP agent that boards are told while no two are known; repeatable, of a conductor (default: those that are online)")
	f.StringVar(&flags.Database, "database", "", "`URL` of the database, of a conductor (default: SQLite in the data directory)")
	f.StringVar(&flags.Queue, "queue", "", "`URL` of RabbitMQ, amqps://USER:PASSWORD@HOST/VHOST?cacertfile=FILE, that all processes share (default: inside the process)")
	f.StringVar(&flags.PublicPorts, "public-ports", def.PublicPorts, "`FROM-TO` for exposed services")
	f.StringVar(&flags.Place, "place", "", "`PLACE` of this process: boards with the label place=PLACE prefer its agents")
	f.StringVar(&flags.PublicHost, "public-host", "", "host `NAME` of public ports, another than the dashboard's (default: that of --advertise)")
	f.StringVar(&flags.PublicListen, "public-listen", "", "`ADDR` that public ports bind to (default: that of --listen)")
	f.StringVar(&flags.TLS.Mode, "tls", def.TLS.Mode, "`MODE`: on, or off; off serves plain HTTP for a reverse proxy that ends TLS")
	f.StringArrayVar(&flags.TLS.TrustedProxy, "trusted-proxy", nil, "`CIDR` of a reverse proxy whose X-Forwarded-For is believed; repeatable; with --tls off others are refused")
	f.IntVar(&flags.TLS.CutOffBoards, "cut-off-boards", 0, "show a certificate although up to `N` boards do not trust it, and will have to be joined again")
	f.StringVar(&flags.Metrics, "metrics", "", "`ADDR:PORT` for the operator, in plain HTTP: /metrics for Prometheus, /healthz and /readyz (default: none)")
	f.StringVar(&flags.DNSZone, "dns-zone", "", "DNS `ZONE` that services can have names in, of an API: its parent delegates it to this process (default: none)")
	f.StringVar(&flags.DNS, "dns", "", "`ADDR` or ADDR:PORT that the zone is served on, by UDP and TCP (default: port 53 of the address of --listen)")
	f.StringArrayVar(&flags.DNSServers, "dns-server", nil, "`NAME` of a host that the zone is delegated to; repeatable (default: the host of --url, or ns.ZONE where that is an address)")
	f.StringVar(&flags.Traces, "traces", "", "`URL` of an OpenTelemetry collector, http://HOST:4318/v1/traces, that is told what became of users' requests (default: none is)")
	f.StringVar(&flags.LogLevel, "log-level", def.LogLevel, "`LEVEL`: debug, info, warn or error")
	return c
}

// parseLevel reads the name of a level.
func parseLevel(name string) (slog.Level, error) {
	var l slog.Level
	if err := l.UnmarshalText([]byte(name)); err != nil {
		return l, s4t.Errorf(s4t.Invalid, "choose what to log", "use debug, info, warn or error", "there is no level %q", name)
	}
	return l, nil
}

// newLog is the process's log: text on w, from level on.
func newLog(w io.Writer, level slog.Leveler) *slog.Logger {
	return slog.New(slog.NewTextHandler(w, &slog.HandlerOptions{Level: level}))
}

// reloading is what SIGHUP does.
type reloading struct {
	signal <-chan os.Signal
	read   func() (config, error) // the configuration as it is now
	level  *slog.LevelVar
}

// serve runs the cloud until ctx ends. It prints one line `ready URL` on out
// when everything is up. r is optional.
func serve(ctx context.Context, cfg config, out io.Writer, log *slog.Logger, r *reloading) error {
	if r == nil {
		r = &reloading{level: new(slog.LevelVar)}
	}
	level, err := parseLevel(cfg.LogLevel)
	if err != nil {
		return err
	}
	r.level.Set(level)
	data, err := filepath.Abs(cfg.Data)
	if err != nil {
		return s4t.Errorf(s4t.Invalid, "use the data directory "+cfg.Data, "", "%w", err)
	}
	was := cfg
	cfg.Data = data
	settings, err := cfg.cloud()
	if err != nil {
		return err
	}
	conducts := slices.Contains(settings.Roles, cloud.Conductor)
	settings.Version, settings.Log = version, log
	settings.Bootstrap = func(ctx context.Context, id *identity.Identity, url string, trust wire.Trust) error {
		return admitAdmin(ctx, id, filepath.Join(cfg.Data, "admin.toml"), url, trust)
	}
	c, err := cloud.New(settings)
	if err != nil {
		return err
	}
	if conducts { // nobody else keeps anything
		unlock, err := openDataDir(cfg.Data)
		if err != nil {
			return err
		}
		defer unlock()
		// A file of SQLite has one process, wherever it is.
		if path, isFile := strings.CutPrefix(settings.Database, "sqlite:"); isFile && !sameDir(filepath.Dir(path), cfg.Data) {
			unlock, err := openDataDir(filepath.Dir(path))
			if err != nil {
				return err
			}
			defer unlock()
		}
	}
	ctx, cancel := context.WithCancel(ctx)
	ended := make(chan struct{})
	close(ended)
	defer func() { cancel(); <-ended }()
	return c.Run(ctx, func() {
		fmt.Fprintln(out, "ready", c.URL())
		log.Info("ready", "url", c.URL(), "data", settings.Data, "version", version)
		ended = make(chan struct{})
		go func() {
			defer close(ended)
			r.run(ctx, c, was, log)
		}()
	})
}

// run reads the configuration again at each signal until ctx ends.
func (r *reloading) run(ctx context.Context, c *cloud.Cloud, was config, log *slog.Logger) {
	for {
		select {
		case <-ctx.Done():
			return
		case <-r.signal:
		}
		now, err := r.read()
		var settings cloud.Config
		if err == nil {
			settings, err = now.cloud()
		}
		if err == nil {
			err = c.Reload(ctx, settings.TLS)
		}
		if err != nil {
			log.Error("the configuration is not taken; all stays as it was", "err", err)
			continue
		}
		if level, err := parseLevel(now.LogLevel); err == nil { // now.cloud looked at it
			r.level.Set(level)
		}
		if keys := restartFor(was, now); len(keys) > 0 {
			log.Warn("these have changed, and need a restart", "keys", strings.Join(keys, ", "))
		}
		log.Info("configuration and certificates were read again")
	}
}

// restartFor names the keys that differ and that a process which runs does not
// take.
func restartFor(was, now config) (keys []string) {
	was.LogLevel = now.LogLevel
	old, new := reflect.ValueOf(was), reflect.ValueOf(now)
	for i := range old.NumField() {
		if key := old.Type().Field(i).Tag.Get("toml"); key != "tls" && !reflect.DeepEqual(old.Field(i).Interface(), new.Field(i).Interface()) {
			keys = append(keys, key)
		}
	}
	if !reflect.DeepEqual(was.TLS.TrustedProxy, now.TLS.TrustedProxy) {
		keys = append(keys, "tls.trusted_proxy")
	}
	return keys
}
