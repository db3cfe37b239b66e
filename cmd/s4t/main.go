// S4t is the command line of Stack4Things: boards, access to their services,
// virtual networks among them.
package main

import (
	"context"
	"os"
	"os/signal"
	"syscall"

	"github.com/stack4things/s4t/internal/argv"
)

// version is set by the linker.
var version = "dev"

func main() {
	args := argv.Take()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	a := &app{stdin: os.Stdin, stdout: os.Stdout, stderr: os.Stderr, env: os.Getenv}
	status := a.run(ctx, args)
	stop()
	os.Exit(status)
}
