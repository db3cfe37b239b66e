// Command lightning-rod is the board of Stack4Things: it joins a cloud, runs as
// the board's service, and leaves again. It holds flags and construction; the
// engine is package lightningrod.
package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"runtime/debug"
	"syscall"

	"github.com/stack4things/s4t"
	"github.com/stack4things/s4t/internal/argv"
	"github.com/stack4things/s4t/plugin"
)

// version is set by the linker.
var version = "dev"

// Exit statuses, the same as those of s4t.
const (
	exitDone     = 0
	exitFailed   = 1
	exitUsage    = 2
	exitNotFound = 3 // this board has not joined
	exitDenied   = 4
	exitOffline  = 5
	exitConflict = 6 // joined already, or another one runs
)

func main() {
	if plugin.IsStub(os.Args) { // not a command of users: what a guest is before it is one
		plugin.StubMain()
	}
	if plugin.IsHost(os.Args) { // nor is this: a guest that is a WASI module
		plugin.HostMain()
	}
	args := argv.Take()
	bound()
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM, syscall.SIGINT)
	defer stop()
	os.Exit(run(ctx, args, os.Stdout, os.Stderr))
}

// bound keeps the process small: a board may have 64 MB in all. The usual
// variables GOGC and GOMEMLIMIT win.
func bound() {
	if os.Getenv("GOGC") == "" {
		debug.SetGCPercent(50)
	}
	if os.Getenv("GOMEMLIMIT") == "" {
		debug.SetMemoryLimit(48 << 20)
	}
}

// maxLine is the longest line that is printed of one text, in bytes.
const maxLine = 1 << 16

// run executes one command line and returns the exit status.
func run(ctx context.Context, args []string, stdout, stderr io.Writer) int {
	err := dispatch(ctx, args, stdout, stderr)
	if err == nil {
		return exitDone
	}
	fmt.Fprintln(stderr, "lightning-rod:", s4t.Line(err.Error(), maxLine))
	if _, ok := errors.AsType[usageError](err); ok {
		return exitUsage
	}
	switch s4t.KindOf(err) {
	case s4t.Invalid:
		return exitUsage
	case s4t.NotFound:
		return exitNotFound
	case s4t.Unauthenticated, s4t.Forbidden:
		return exitDenied
	case s4t.Offline:
		return exitOffline
	case s4t.Conflict:
		return exitConflict
	}
	return exitFailed
}
