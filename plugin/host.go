package plugin

import (
	"context"
	"fmt"
	"os"

	"github.com/stack4things/s4t/plugin/wasihost"
)

// hostName is the hidden subcommand of lightning-rod that runs a WASI module. Its
// arguments are the folder of the bundle, that of the plugin's data, that of what the
// board gives it, the module, and the module's arguments.
const hostName = "plugin-host"

// exitTrap is the exit status of a module that could not be run, or trapped.
const exitTrap = 126

// IsHost reports whether a command line is one of a host of WASI modules.
func IsHost(args []string) bool { return len(args) >= 6 && args[1] == hostName }

// HostMain is the main function of a host of WASI modules. A signal ends it as it ends
// any process that does not look.
func HostMain() {
	a := os.Args[2:]
	exit, err := wasihost.Run(context.Background(), wasihost.Config{
		Plugin: a[0], Data: a[1], Board: a[2], Module: a[3], Args: a[4:], Env: os.Environ(),
	})
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		exit = exitTrap
	}
	os.Exit(exit)
}
