//go:build !nowasi

package wasihost

import (
	"context"
	"crypto/rand"
	"errors"
	"os"
	"path/filepath"
	"strings"

	"github.com/tetratelabs/wazero"
	"github.com/tetratelabs/wazero/imports/wasi_snapshot_preview1"
	"github.com/tetratelabs/wazero/sys"

	"github.com/stack4things/s4t"
)

// Version of what runs modules.
const Version = "wazero 1.12.0, WASI preview 1"

// Run runs a module with the standard streams of this process, and returns its exit
// status. It does not return before the module ends: a process that should end sooner
// is killed. So it need not look at ctx in loops, which would cost a module most of
// its speed.
func Run(ctx context.Context, cfg Config) (int, error) {
	op := "run the WASI module " + filepath.Base(cfg.Module)
	code, err := os.ReadFile(cfg.Module)
	if err != nil {
		return 0, s4t.Errorf(s4t.Invalid, op, "", "%w", err)
	}
	r := wazero.NewRuntimeWithConfig(ctx, wazero.NewRuntimeConfig())
	defer r.Close(ctx)
	if _, err := wasi_snapshot_preview1.Instantiate(ctx, r); err != nil {
		return 0, s4t.Errorf(s4t.Internal, op, "", "%w", err)
	}
	module, err := r.CompileModule(ctx, code)
	if err != nil {
		return 0, s4t.Errorf(s4t.Invalid, op, "build it for WASI preview 1: GOOS=wasip1 GOARCH=wasm, or wasm32-wasip1", "%w", err)
	}
	c := wazero.NewModuleConfig().
		WithName("").
		WithArgs(append([]string{filepath.Base(cfg.Module)}, cfg.Args...)...).
		WithStdin(os.Stdin).WithStdout(os.Stdout).WithStderr(os.Stderr). // files: a module that polls them waits
		WithSysNanosleep().WithSysNanotime().WithSysWalltime().          // the defaults are fake, and a sleep is a spin
		WithRandSource(rand.Reader).
		WithFSConfig(wazero.NewFSConfig().
			WithReadOnlyDirMount(cfg.Plugin, "/plugin").
			WithDirMount(cfg.Data, "/data").
			WithReadOnlyDirMount(cfg.Board, "/board"))
	seen := strings.NewReplacer(cfg.Plugin+"/", "/plugin/", cfg.Data+"/", "/data/", cfg.Board+"/", "/board/")
	for _, e := range cfg.Env {
		name, value, _ := strings.Cut(e, "=")
		if value = strings.TrimSuffix(seen.Replace(value+"/"), "/"); name != "" && name != "PATH" {
			c = c.WithEnv(name, value)
		}
	}
	_, err = r.InstantiateModule(ctx, module, c)
	if exit, ok := errors.AsType[*sys.ExitError](err); ok {
		return int(exit.ExitCode()), nil
	}
	if err != nil { // it trapped
		return 0, s4t.Errorf(s4t.Invalid, op, "", "%w", err)
	}
	return 0, nil
}
