package main

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"path/filepath"

	"github.com/stack4things/s4t"
	"github.com/stack4things/s4t/cloud"
	"github.com/stack4things/s4t/identity"
)

// newLog is the process's log: text on w.
func newLog(w io.Writer, level string) (*slog.Logger, error) {
	var l slog.Level
	if err := l.UnmarshalText([]byte(level)); err != nil {
		return nil, s4t.Errorf(s4t.Invalid, "choose what to log", "use debug, info, warn or error", "there is no level %q", level)
	}
	return slog.New(slog.NewTextHandler(w, &slog.HandlerOptions{Level: l})), nil
}

// serve runs the cloud until ctx ends. It prints one line `ready URL` on out
// when everything is up.
func serve(ctx context.Context, cfg config, out io.Writer, log *slog.Logger) error {
	data, err := filepath.Abs(cfg.Data)
	if err != nil {
		return s4t.Errorf(s4t.Invalid, "use the data directory "+cfg.Data, "", "%w", err)
	}
	cfg.Data = data
	settings, err := cfg.cloud()
	if err != nil {
		return err
	}
	settings.Version, settings.Log = version, log
	settings.Bootstrap = func(ctx context.Context, id *identity.Identity, url, ca string) error {
		return admitAdmin(ctx, id, filepath.Join(cfg.Data, "admin.toml"), url, ca)
	}
	c, err := cloud.New(settings)
	if err != nil {
		return err
	}
	unlock, err := openDataDir(cfg.Data)
	if err != nil {
		return err
	}
	defer unlock()
	return c.Run(ctx, func() {
		fmt.Fprintln(out, "ready", c.URL())
		log.Info("ready", "url", c.URL(), "data", cfg.Data, "version", version)
	})
}
